"""What is stored with a visit, and read again."""

from __future__ import annotations

import json

import pytest
from pydantic import BaseModel

from flask_squidmesh import Approval, Exponential, Fixed, Manual, Retry, Step, Workflow
from flask_squidmesh.definition.spec import VisitSettings, WorkflowSpec


class Sum(BaseModel):
    total: int


class Order(BaseModel):
    order: Sum


def work() -> None:
    """Some step."""


def pay(total: int) -> None:
    """A step whose input is called otherwise in the state."""


class Many(Workflow):
    place = Manual(Order)
    plain = Step(work)
    spaced = Step(work, retry=Retry(3, backoff=Exponential(1, 30), jitter=0.5), compensate=work)
    undone = Step(work, compensate=work, compensate_retry=Retry(2, backoff=Fixed(2)))
    lasting = Step(work, irreversible=True, aliases=("old",), transaction=True)
    given = Step(pay, input={"total": "order.total"}, output="paid")
    review = Approval("Good?", permission="boss")
    end = Step(work)
    flow = [plain >> spaced >> undone >> lasting >> given >> review >> end, review.on_reject >> end]


MANY: WorkflowSpec = Many.__squidmesh__


@pytest.mark.parametrize("settings", [*MANY.visit_settings.values(), VisitSettings(kind="wait", entered_as="before")])
def test_what_is_stored_is_read_as_it_was(settings: VisitSettings) -> None:
    assert VisitSettings.read(json.loads(json.dumps(settings.stored()))) == settings


def test_a_compensation_keeps_what_it_undoes_and_its_turn() -> None:
    settings = VisitSettings(kind="compensation", compensate="work", of="visit-1", order=0)
    assert settings.stored() == {"kind": "compensation", "compensate": "work", "of": "visit-1", "order": 0}
    assert VisitSettings.read(settings.stored()) == settings


def test_what_is_usual_is_not_stored() -> None:
    assert MANY.visit_settings["plain"].stored() == {"kind": "function"}


def test_what_a_later_version_has_stored_besides_is_left_out() -> None:
    assert VisitSettings.read({"kind": "function", "colour": "red"}) == VisitSettings(kind="function")
