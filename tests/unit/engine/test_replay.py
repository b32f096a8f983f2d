from __future__ import annotations

from typing import Any

import pytest

from flask_squidmesh.definition.spec import VisitSettings
from flask_squidmesh.engine.facts import StepFact
from flask_squidmesh.engine.replay_rules import unsafe_steps

IRREVERSIBLE = {"irreversible": True, "compensatable": False}
NOT_COMPENSATABLE = {"irreversible": False, "compensatable": False}
SAFE = {"irreversible": False, "compensatable": True}


def fact(step: str = "capture", **columns: Any) -> StepFact:
    values: dict[str, Any] = {
        "id": "1",
        "run_id": "r",
        "kind": "step",
        "step": step,
        "visit": 1,
        "status": "completed",
        "sees": 0,
        "position": None,
        "missing": 0,
        "attempts": 1,
        "abandoned": 0,
        "settings": IRREVERSIBLE,
        "failure": None,
        "decision": None,
        "due_at": None,
        "decide_by": None,
        "started_at": None,
    }
    values |= columns
    return StepFact(**{**values, "settings": VisitSettings.read(values["settings"])})


@pytest.mark.rule("interrupted-cancelled", "replaying-unsafe")
@pytest.mark.parametrize(
    ("settings", "status", "attempts", "reason"),
    [
        (IRREVERSIBLE, "completed", 1, "completed"),
        (NOT_COMPENSATABLE, "completed", 1, "completed"),
        (IRREVERSIBLE, "completed", 0, "completed"),
        (IRREVERSIBLE, "failed", 1, None),
        (IRREVERSIBLE, "cancelled", 1, "may_have_taken_effect"),
        (IRREVERSIBLE, "paused", 1, "may_have_taken_effect"),
        (IRREVERSIBLE, "running", 1, "may_have_taken_effect"),
        (NOT_COMPENSATABLE, "failed", 2, "may_have_taken_effect"),
        (IRREVERSIBLE, "pending", 0, None),
        (IRREVERSIBLE, "cancelled", 0, None),
        (SAFE, "completed", 1, None),
        (SAFE, "failed", 3, None),
        ({}, "completed", 1, None),
    ],
)
def test_a_step_blocks_when_its_lasting_effect_may_have_happened(
    settings: dict[str, Any], status: str, attempts: int, reason: str | None
) -> None:
    found = unsafe_steps([fact(settings=settings, status=status, attempts=attempts)])

    assert [step["reason"] for step in found] == ([reason] if reason else [])


def test_each_step_stands_there_once_and_its_completed_visit_counts() -> None:
    visits = [fact(visit=1, status="cancelled"), fact(visit=2), fact(visit=3, status="cancelled")]

    (step,) = unsafe_steps(visits)

    assert step == {
        "step": "capture",
        "irreversible": True,
        "compensatable": False,
        "status": "completed",
        "reason": "completed",
    }


@pytest.mark.rule("irreversible")
def test_an_irreversible_step_is_never_compensatable() -> None:
    (step,) = unsafe_steps([fact(settings={"irreversible": True, "compensatable": True})])

    assert step["compensatable"] is False


@pytest.mark.rule("replaying-compensated")
def test_being_compensated_does_not_make_a_step_safe() -> None:
    undone = fact(kind="compensation", settings={"kind": "compensation", "compensate": "refund"})

    assert len(unsafe_steps([fact(settings=NOT_COMPENSATABLE), undone])) == 1


def test_a_compensation_itself_blocks_nothing() -> None:
    assert unsafe_steps([fact(kind="compensation")]) == ()
