"""Approvals that the person at the page may not give."""

from __future__ import annotations

from typing import Any

import pytest

from flask_squidmesh import Approval, Manual, Step, Workflow
from flask_squidmesh.testing import drain
from tests.web.shop import Order, allow_everything
from tests.web.visiting import Visitor, text_of


def note() -> None:
    pass


class Payouts(Workflow):
    order = Manual(Order)
    review = Approval("Pay?", approvals=2, not_starter=True)
    pay = Step(note)
    refuse = Step(note)
    flow = [review >> pay, review.on_reject >> refuse]


class Approved(Workflow):
    order = Manual(Order)
    review = Approval("Pay?")
    pay = Step(note)
    refuse = Step(note)
    flow = [review >> pay, review.on_reject >> refuse]


def approved(visitor: Visitor, workflow: type[Workflow]) -> str:
    """A run that somebody has approved and that has ended."""
    with visitor.app.app_context():
        mesh = visitor.app.extensions["mesh"]
        mesh.register(workflow)
        run_id = str(mesh.start_run(workflow, {"order_id": "7"}, actor="kim").id)
        mesh.approve_run(run_id, actor="lee")
        drain()
        return run_id


def started(visitor: Visitor, actor: str) -> str:
    with visitor.app.app_context():
        mesh = visitor.app.extensions["mesh"]
        if "payouts" not in [spec.name for spec in visitor.app.extensions["squidmesh"].registry]:
            mesh.register(Payouts)
        return str(mesh.start_run(Payouts, {"order_id": "7"}, actor=actor).id)


def test_who_started_the_run_is_not_offered_its_approval(visitor: Visitor) -> None:
    run_id = started(visitor, "dana")
    page = visitor.read(f"/runs/{run_id}")
    assert "You started this run, and somebody else has to approve." in page
    assert f"/runs/{run_id}/approve" not in visitor.get(f"/runs/{run_id}").text
    assert f"/runs/{run_id}/reject" in visitor.get(f"/runs/{run_id}").text


def test_an_approval_posted_by_hand_is_refused_and_kept_in_the_audit(visitor: Visitor) -> None:
    run_id, other = started(visitor, "dana"), started(visitor, "kim")
    fields = visitor.form(f"/runs/{other}/approve")
    answer = visitor.send(f"/runs/{run_id}/approve", {**fields, "expected": "review#1"})
    assert answer.status_code == 403
    assert "somebody else has to approve" in text_of(answer.text)
    assert visitor.status(run_id) == "paused"
    assert "tried to approve" in visitor.read(f"/runs/{run_id}")


def test_the_second_approval_is_another_persons(visitor: Visitor) -> None:
    run_id = started(visitor, "kim")
    visitor.send(f"/runs/{run_id}/approve")
    page = visitor.read(f"/runs/{run_id}")
    assert "It takes 2 people; approved by: dana" in page
    assert "You have approved, and another person has to approve too." in page
    assert visitor.get(f"/runs/{run_id}/approve").status_code == 403


def test_an_approval_that_is_not_the_last_says_so(visitor: Visitor) -> None:
    run_id = started(visitor, "kim")
    assert "Approve counts; 1 more person has to approve" in visitor.read(f"/runs/{run_id}")
    with visitor.app.app_context():
        visitor.app.extensions["mesh"].approve_run(run_id, actor="lee")
    assert "Approve continues at pay" in visitor.read(f"/runs/{run_id}")


@pytest.mark.rule("from-step-pages")
def test_who_may_not_approve_is_told_that_a_replay_asks_again(visitor: Visitor) -> None:
    run_id = approved(visitor, Approved)
    denied = ["approve"]
    visitor.app.extensions["mesh"].authorize(lambda action, run, permission: action not in denied)
    sentence = "A replay that begins behind review asks for that decision again"
    assert sentence in visitor.read(f"/runs/{run_id}/replay")
    answer = visitor.send(f"/runs/{run_id}/replay", {**visitor.form(f"/runs/{run_id}/replay"), "from_step": "pay"})
    again = answer.headers["Location"].rsplit("/", 1)[-1]
    assert visitor.status(again) == "paused"
    denied.clear()
    assert sentence not in visitor.read(f"/runs/{run_id}/replay")
    answer = visitor.send(f"/runs/{run_id}/replay", {**visitor.form(f"/runs/{run_id}/replay"), "from_step": "pay"})
    assert visitor.status(answer.headers["Location"].rsplit("/", 1)[-1]) != "paused"


def test_somebody_whom_nothing_tells_apart_cannot_give_one_of_several_approvals(make: Any) -> None:
    visitor = make({"authorize": allow_everything, "actor": lambda: {"label": "Dana"}})
    run_id = started(visitor, "kim")
    page = visitor.read(f"/runs/{run_id}")
    assert "You have no id, and this approval needs people who can be told apart." in page
    assert visitor.get(f"/runs/{run_id}/approve").status_code == 403


def test_one_person_is_one_however_the_name_is_spelled(make: Any) -> None:
    visitor = make({"authorize": allow_everything, "actor": lambda: "Zoe\u0308 "})
    run_id = started(visitor, "Zo\u00eb")
    assert "You started this run, and somebody else has to approve." in visitor.read(f"/runs/{run_id}")
