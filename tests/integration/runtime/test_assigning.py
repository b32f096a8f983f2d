"""Whose a wait is: taking it, handing it on, giving it back, and notes, which change nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from flask_squidmesh import ConflictError, ManualActionError, Person, RunNotFoundError, TransitionError
from flask_squidmesh.signals import manual_action_taken
from flask_squidmesh.storage import tables
from tests.expense import HOUR, expense
from tests.shop import Script, Shop

OpenShop = Callable[..., Shop]


@pytest.fixture
def shop(open_shop: OpenShop, script: Script) -> Shop:
    return open_shop(expense(script))


def begun(shop: Shop) -> str:
    return shop.run("reimburse", actor="dana")


def assignee(shop: Shop, run_id: str) -> str | None:
    """Whose the run's one wait is, by its list and by its visit alike."""
    [wait] = shop.rows(tables.waits, tables.waits.c.run_id == run_id)
    [visit] = shop.rows(tables.step_runs, tables.step_runs.c.id == wait.step_run_id)
    assert visit.decision.get("assignee") == wait.assignee
    found: str | None = wait.assignee
    return found


@pytest.mark.rule("assigning")
def test_a_wait_is_taken_handed_on_and_given_back(shop: Shop) -> None:
    run_id = begun(shop)
    whose = []
    for to in ("lee", Person("kim", "Kim K."), "  Jose\u0301 ", None):
        shop.mesh.assign_run(run_id, to=to, actor="lee", comment="so")
        whose.append(assignee(shop, run_id))
    assert whose == ["lee", "kim", "Jos\u00e9", None]
    events = [event for event in shop.look(run_id).audit_events or () if event.type == "assigned"]
    assert [event.metadata for event in events] == [
        {"from": "mia", "to": "lee"},
        {"from": "lee", "to": "kim"},
        {"from": "kim", "to": "Jos\u00e9"},
        {"from": "Jos\u00e9", "to": None},
    ]
    assert {(event.actor, event.comment, event.step) for event in events} == {("lee", "so", "review")}


@pytest.mark.rule("assigning")
def test_tokens_groups_times_and_timers_stay(shop: Shop) -> None:
    run_id = begun(shop)

    def rest() -> Any:
        groups = [group.name for group in shop.rows(tables.wait_groups)]
        [wait] = shop.rows(tables.waits)
        return shop.rows(tables.dispatches), groups, wait.due_at, wait.opened_at, shop.look(run_id).decision

    before = rest()
    shop.mesh.assign_run(run_id, to="lee", actor="lee")
    assert rest() == before
    shop.mesh.decide_run(run_id, "approve", actor="kim", expected="review#1")
    shop.later(0)
    assert shop.status(run_id) == "completed"


@pytest.mark.rule("assigning-expected")
def test_the_assignee_before_is_compared(shop: Shop) -> None:
    run_id = begun(shop)
    shop.mesh.assign_run(run_id, to="lee", expected_assignee="mia", actor="lee")
    with pytest.raises(ConflictError, match="step review has become somebody else's") as no:
        shop.mesh.assign_run(run_id, to="kim", expected_assignee="mia", actor="kim")
    assert no.value.current == {"assignee": "lee"}
    shop.mesh.assign_run(run_id, to=None, expected_assignee="lee", actor="lee")
    with pytest.raises(ConflictError, match="It is nobody's now"):
        shop.mesh.assign_run(run_id, to="kim", expected_assignee="lee", actor="kim")
    shop.mesh.assign_run(run_id, to="kim", expected_assignee=None, actor="kim")
    assert assignee(shop, run_id) == "kim"


@pytest.mark.rule("assigning-expected")
def test_an_escalation_in_between_is_told(shop: Shop) -> None:
    run_id = begun(shop)
    shop.later(36 * HOUR)
    with pytest.raises(ConflictError, match="It is hans's now"):
        shop.mesh.assign_run(run_id, to="kim", expected_assignee="mia", actor="kim")


@pytest.mark.rule("assigning-refused")
@pytest.mark.parametrize(
    ("to", "said"),
    [
        ("", "to must be the id of a person, or None for nobody, not an empty one"),
        ("   ", "to must be the id of a person, or None for nobody"),
        ("x" * 10_000, "to has 10,000 characters; an id has 200 at most"),
        (7, "to must be the id of a person, or None for nobody, not a int"),
        (["lee"], "to must be the id of a person, or None for nobody, not a list"),
        (Person("", "Nobody"), "to must be the id of a person, or None for nobody"),
        ("a\0b", "to cannot be stored"),
    ],
)
def test_nobody_is_made_the_assignee_who_cannot_be(shop: Shop, to: Any, said: str) -> None:
    run_id = begun(shop)
    with pytest.raises(ManualActionError) as refused:
        shop.mesh.assign_run(run_id, to=to, actor="lee")
    assert refused.value.field == "to"
    assert said in str(refused.value)
    assert assignee(shop, run_id) == "mia"
    assert shop.events(run_id) == ["paused"]


@pytest.mark.rule("assigning-refused")
def test_to_oneself_twice_or_to_nobody_twice_is_refused(shop: Shop) -> None:
    run_id = begun(shop)
    shop.mesh.assign_run(run_id, to="lee", actor="lee")
    with pytest.raises(TransitionError, match="step review is lee's already"):
        shop.mesh.assign_run(run_id, to="lee", actor="lee")
    shop.mesh.assign_run(run_id, to=None, actor="lee")
    with pytest.raises(TransitionError, match="step review is nobody's already"):
        shop.mesh.assign_run(run_id, to=None, actor="lee")
    assert shop.events(run_id) == ["paused", "assigned", "assigned"]


@pytest.mark.rule("assigning-refused")
def test_where_nothing_waits_nothing_is_assigned(shop: Shop) -> None:
    run_id = begun(shop)
    with pytest.raises(TransitionError, match="no wait for people open at step pay; it has at: review"):
        shop.mesh.assign_run(run_id, to="lee", step="pay", actor="lee")
    shop.mesh.decide_run(run_id, "approve", actor="mia")
    shop.later(0)
    with pytest.raises(TransitionError, match="the run is completed and has no wait for people open"):
        shop.mesh.assign_run(run_id, to="lee", actor="lee")
    with pytest.raises(RunNotFoundError):
        shop.mesh.assign_run("nothing", to="lee", actor="lee")


@pytest.mark.rule("assigning")
def test_a_key_assigns_once(shop: Shop) -> None:
    run_id = begun(shop)
    for _ in range(2):
        shop.mesh.assign_run(run_id, to="lee", actor="lee", idempotency_key="k")
    assert shop.events(run_id) == ["paused", "assigned"]
    with pytest.raises(ConflictError, match="used for this run by somebody else or with other arguments"):
        shop.mesh.assign_run(run_id, to="kim", actor="lee", idempotency_key="k")


@pytest.mark.rule("noting")
def test_a_note_is_on_record_and_changes_nothing(shop: Shop) -> None:
    run_id = begun(shop)
    heard: list[Any] = []

    def hear(_: object, **said: Any) -> None:
        heard.append((said["action"], said["actor"], said["comment"]))

    with manual_action_taken.connected_to(hear):
        shop.mesh.note_run(run_id, "Called them.", actor="lee")
    run = shop.look(run_id)
    assert (run.status, run.decision, assignee(shop, run_id)) == ("paused", "review#1", "mia")
    event = (run.audit_events or ())[-1]
    assert (event.type, event.actor, event.comment) == ("noted", "lee", "Called them.")
    assert heard == [("noted", "lee", "Called them.")]
    shop.mesh.decide_run(run_id, "approve", actor="mia", expected="review#1")
    shop.later(0)
    shop.mesh.note_run(run_id, "Done with it.", actor="lee")
    assert shop.events(run_id)[-1] == "noted"


@pytest.mark.rule("noting")
@pytest.mark.parametrize("text", [None, "", "  ", 7, "x" * 10_001, "a\0b"])
def test_a_note_that_is_none_is_refused(shop: Shop, text: Any) -> None:
    run_id = begun(shop)
    with pytest.raises(ManualActionError, match="text"):
        shop.mesh.note_run(run_id, text, actor="lee")
    assert shop.events(run_id) == ["paused"]
