"""Starting a run from a form that is made from its payload's schema."""

from __future__ import annotations

import datetime as dt
from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field

from flask_squidmesh import Approval, Manual, Step, Workflow
from flask_squidmesh.dashboard import payload_form
from tests.web.shop import CANARY, Checkout, mesh_of, start
from tests.web.visiting import Visitor, text_of


def note() -> None:
    pass


class Address(BaseModel):
    street: str


class Parcel(BaseModel):
    name: str = Field(title="To whom", description="As it stands on the bell")
    weight: float = 1.5
    pieces: int
    day: dt.date | None = None
    express: bool = True
    size: Literal["s", "m", 3] = "m"
    address: Address
    tags: list[str] = []
    api_key: str = "none"
    gateway: dict[str, str] = {"url": "https://gateway.test", "api_key": "sk-live"}


class Parcels(Workflow):
    post = Manual(Parcel)
    sort = Step(note)


class Mixed(Workflow):
    by_hand = Manual()
    again = Manual(Address)
    ask = Approval("Go on?", not_starter=True)
    go = Step(note)
    stop = Step(note)
    flow = [ask >> go, ask.on_reject >> stop]


@pytest.fixture
def parcels(visitor: Visitor) -> Visitor:
    with visitor.app.app_context():
        mesh_of(visitor.app).register(Parcels, Mixed)
    return visitor


TYPED: dict[str, Any] = {
    "payload.name": "Kim",
    "payload.weight": "2.5",
    "payload.pieces": "3",
    "payload.express": "true",
    "payload.size": "3",
    "payload.address": '{"street": "Quay 1"}',
}


def run_of(visitor: Visitor, location: str):
    with visitor.app.app_context():
        return mesh_of(visitor.app).inspect_run(location.rpartition("/")[2])


def test_a_run_is_started_with_what_was_typed(parcels: Visitor) -> None:
    answer = parcels.send("/workflows/parcels/start", **TYPED)
    assert answer.status_code == 303
    run = run_of(parcels, answer.location)
    assert run.actor == "dana"
    typed = {"name": "Kim", "weight": 2.5, "pieces": 3, "express": True, "size": 3, "address": {"street": "Quay 1"}}
    assert run.payload == {
        **typed,
        "day": None,
        "tags": [],
        "api_key": "none",
        "gateway": Parcel.model_fields["gateway"].default,
    }


def test_the_form_asks_for_each_field_in_its_kind() -> None:
    kinds = {field.name: (field.kind, field.required) for field in payload_form.fields(Parcel)}
    assert kinds == {
        "name": ("text", True),
        "weight": ("number", False),
        "pieces": ("number", True),
        "day": ("date", False),
        "express": ("checkbox", False),
        "size": ("choice", False),
        "address": ("json", True),
        "tags": ("lines", False),
        "api_key": ("text", False),
        "gateway": ("json", False),
    }


def test_the_page_names_and_explains_the_fields(parcels: Visitor) -> None:
    page = parcels.read("/workflows/parcels/start")
    assert "To whom" in page
    assert "As it stands on the bell" in page
    assert "Day (may be left out)" in page
    assert "sk-live" not in page


def test_what_is_wrong_stands_with_its_field_and_the_rest_is_kept(parcels: Visitor) -> None:
    typed: dict[str, Any] = {**TYPED, "payload.pieces": "many", "payload.name": "", "payload.address": '{"street": 7}'}
    answer = parcels.send("/workflows/parcels/start", **typed)
    assert answer.status_code == 422
    page = answer.text
    assert 'id="payload.pieces-problem" role="alert">Input should be a valid integer' in page
    assert 'id="payload.address-problem" role="alert">street: Input should be a valid string' in page
    assert 'value="2.5"' in page
    with parcels.app.app_context():
        assert mesh_of(parcels.app).list_runs().runs == ()


def test_a_field_that_is_needed_says_so(parcels: Visitor) -> None:
    for name in ("pieces", "name"):
        answer = parcels.send("/workflows/parcels/start", **{**TYPED, f"payload.{name}": " "})
        assert (answer.status_code, f'{name}-problem" role="alert">This is needed.' in answer.text) == (422, True)


def test_what_is_missing_is_said_along_with_what_is_no_json(parcels: Visitor) -> None:
    answer = parcels.send("/workflows/parcels/start", **{**TYPED, "payload.gateway": "[", "payload.name": ""})
    assert "Nothing was started: 2 fields need another look." in text_of(answer.text)
    assert 'name-problem" role="alert">This is needed.' in answer.text


def test_json_that_is_none_is_told_with_its_line(parcels: Visitor) -> None:
    answer = parcels.send("/workflows/parcels/start", **{**TYPED, "payload.address": '{\n"street": }'})
    assert (answer.status_code, "Line 2 is not JSON: expecting value." in answer.text) == (422, True)


def test_the_same_form_sent_twice_starts_one_run(parcels: Visitor) -> None:
    fields = parcels.form("/workflows/parcels/start")
    first = parcels.send("/workflows/parcels/start", fields, **TYPED)
    second = parcels.send("/workflows/parcels/start", fields, **TYPED)
    assert first.location == second.location


def test_start_one_like_this_leaves_out_what_is_hidden(visitor: Visitor) -> None:
    run_id = start(visitor.app, Checkout, "o-77")
    assert "start one like this" in visitor.read(f"/runs/{run_id}")
    page = visitor.get(f"/workflows/checkout/start?from={run_id}").text
    assert 'value="o-77"' in page
    assert "payload.card_token" in page
    assert CANARY not in page + visitor.get("/workflows/checkout").text


def test_another_trigger_may_be_chosen(parcels: Visitor) -> None:
    assert "It takes no payload." in parcels.read("/workflows/mixed/start")
    assert "Street" in parcels.read("/workflows/mixed/start?trigger=again")
    answer = parcels.send("/workflows/mixed/start")
    assert run_of(parcels, answer.location).trigger == "by_hand"


@pytest.mark.parametrize("path", ["/workflows/nothing/start", "/workflows/parcels/start?trigger=nothing"])
def test_what_cannot_be_started_is_not_found(parcels: Visitor, path: str) -> None:
    assert parcels.get(path).status_code == 404


def test_starting_takes_its_right(make) -> None:
    visitor = make(SQUIDMESH_DASHBOARD_DISABLED_ACTIONS=["start"])
    assert visitor.get("/workflows/checkout/start").status_code == 403
    assert "/workflows/checkout/start" not in visitor.get("/workflows").text


def test_a_workflow_shows_how_it_fares_and_what_it_is_made_of(visitor: Visitor) -> None:
    start(visitor.app, Checkout, "7")
    page = visitor.read("/workflows/checkout")
    assert "How it fares" in page
    assert "Its payload as JSON Schema" in page
    assert "asks for a decision" in page
    assert visitor.get("/workflows/nothing").status_code == 404


def test_a_workflow_tells_of_its_last_runs(parcels: Visitor) -> None:
    assert "Completed after" not in parcels.read("/workflows")
    parcels.send("/workflows/parcels/start", **TYPED)
    with parcels.app.app_context():
        from flask_squidmesh.testing import drain

        drain()
    assert "Completed after" in parcels.read("/workflows")
    assert "The last run that ended: 0 failed" in parcels.get("/workflows").text
    assert "0% of 1 run failed" in text_of(parcels.get("/workflows/parcels").text)
