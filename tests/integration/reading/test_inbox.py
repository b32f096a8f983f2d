from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa

from flask_squidmesh import Scope
from flask_squidmesh.errors import FilterError
from flask_squidmesh.queries.inbox import glance, inbox, inbox_counts, marks
from flask_squidmesh.queries.results import Inbox, InboxItem
from flask_squidmesh.storage.tables import WorkflowRun
from tests.integration.reading.rows import BOOM, EMPTY_REGISTRY, NOW, REGISTRY, Rows, at, counted


def waiting(rows: Rows, **options: Any) -> Inbox:
    return inbox(rows.connection, REGISTRY, Scope.all(), now=NOW, **options)


def only(found: Inbox) -> InboxItem:
    (item,) = found.items
    return item


def approval(rows: Rows, since: float = -60, due: float | None = None) -> str:
    decide_by = None if due is None else at(due)
    run_id = rows.run(status="paused", needs="decision", needs_count=1, needs_since=at(since), needs_due_at=decide_by)
    rows.open_decision(run_id, "review", decide_by=decide_by)
    return run_id


def failure(rows: Rows, since: float = -60, fingerprint: str | None = "f1") -> str:
    return rows.run(status="failed", needs="failed", needs_since=at(since), error=BOOM, error_fingerprint=fingerprint)


def test_empty_where_nothing_needs_anybody(rows: Rows) -> None:
    rows.run()
    rows.run(status="failed", acknowledged_at=NOW)

    found = waiting(rows)

    assert found.items == ()
    assert {count.value for count in found.counts.values()} == {0}


def test_overdue_first_then_oldest(rows: Rows) -> None:
    newer, older = approval(rows, since=-10), failure(rows, since=-50)
    overdue, in_time = approval(rows, since=-5, due=-1), approval(rows, since=-40, due=60)

    found = waiting(rows)

    assert [item.run.id for item in found.items] == [overdue, older, in_time, newer]
    assert [item.overdue for item in found.items] == [True, False, False, False]


def test_a_decision_with_all_that_its_card_shows(rows: Rows) -> None:
    run_id = approval(rows, due=600)

    item = only(waiting(rows))

    assert (item.run.id, item.kind, item.since, item.due_at) == (run_id, "decision", at(-60), at(600))
    (decision,) = item.decisions
    assert (decision.step, decision.visit, decision.kind) == ("review", 1, "approval")
    assert (decision.prompt, decision.permission) == ("Really?", "pay")
    assert decision.targets == {"ok": "settle", "error": "decline"}
    assert decision.decide_by == at(600)
    assert decision.deadline is not None
    assert [(str(action), action.step) for action in item.next_actions] == [
        ("approve_run", "review"),
        ("reject_run", "review"),
    ]


def test_what_a_decision_leads_to_is_said_with_its_danger(rows: Rows) -> None:
    run_id = rows.run(status="paused", needs="decision", needs_since=at(-1))
    rows.open_decision(run_id, "review", decision={"ok": "capture"})

    assert only(waiting(rows)).next_actions[0].leads_to == {"target": "capture", "irreversible": True}


def test_an_unregistered_workflow_is_shown_without_actions(rows: Rows) -> None:
    approval(rows)

    item = only(inbox(rows.connection, EMPTY_REGISTRY, Scope.all(), now=NOW))

    assert (len(item.decisions), item.next_actions) == (1, ())


def test_several_decisions_of_one_run_are_one_item(rows: Rows) -> None:
    run_id = rows.run(status="paused", needs="decision", needs_count=2, needs_since=at(-1))
    rows.open_decision(run_id, "review", decide_by=at(60))
    rows.open_decision(run_id, "hold", "pause", decide_by=at(30))

    assert [decision.step for decision in only(waiting(rows)).decisions] == ["hold", "review"]


def test_a_decision_that_was_taken_is_not_shown(rows: Rows) -> None:
    run_id = approval(rows)
    rows.completed(run_id, "hold", 1, decision={"kind": "pause"})

    assert [decision.step for decision in only(waiting(rows)).decisions] == ["review"]


@pytest.mark.rule("errors-fingerprint")
def test_failures_of_one_kind_are_one_item(rows: Rows) -> None:
    first = failure(rows, since=-30)
    failure(rows, since=-20)
    failure(rows, since=-10)
    other = failure(rows, since=-5, fingerprint="f2")
    alone, apart = (failure(rows, since=since, fingerprint=None) for since in (-4, -3))

    found = waiting(rows)

    assert [(item.run.id, item.alike) for item in found.items] == [(first, 2), (other, 0), (alone, 0), (apart, 0)]
    assert found.items[0].error == BOOM
    assert found.counts["failed"].value == 6


def test_a_compensation_that_failed(rows: Rows) -> None:
    run_id = rows.run(
        status="failed", needs="compensation_failed", needs_since=at(-9), error=BOOM, compensation="failed"
    )
    rows.step(run_id, "hold", kind="compensation", status="completed")
    rows.step(run_id, "reserve", kind="compensation", status="failed", error={"message": "gone"})

    item = only(waiting(rows))

    assert (item.kind, item.error, item.next_actions) == ("compensation_failed", BOOM, ())
    assert [dict(each) for each in item.compensation_failures] == [{"step": "reserve", "error": {"message": "gone"}}]


@pytest.mark.parametrize(
    ("work", "reason"),
    [
        ({"due_at": at(-90)}, "dispatch_delayed"),
        ({"due_at": at(-1), "hand_over_error": "broker is down"}, "dispatch_delayed"),
        ({"due_at": at(30), "held": "unknown step"}, "definition_mismatch"),
        ({"due_at": at(-90), "claim_id": "00000000-0000-4000-8000-000000000000", "claimed_by": "w"}, "worker_lost"),
    ],
)
def test_work_that_nobody_takes(rows: Rows, work: dict[str, Any], reason: str) -> None:
    run_id = rows.run()
    rows.dispatch(run_id, rows.step(run_id, "reserve"), queue="mail", **work)

    item = only(waiting(rows))

    assert (item.kind, item.since) == ("stuck", work["due_at"])
    assert dict(item.stuck or {}) == {
        "reason": reason,
        "step": "reserve",
        "due_at": work["due_at"],
        "worker": work.get("claimed_by"),
        "queue": "mail",
        "executor_error": work.get("hand_over_error"),
        "held": work.get("held"),
    }


def test_a_run_with_several_late_dispatches_is_one_item_and_counts_once(rows: Rows) -> None:
    run_id = rows.run()
    for number, name in enumerate(("reserve", "check")):
        rows.dispatch(run_id, rows.step(run_id, name), due_at=at(-90 + number))

    found = waiting(rows)

    stuck = only(found).stuck
    assert stuck is not None
    assert stuck["step"] == "reserve"
    assert found.counts["stuck"].value == 1


def test_a_run_that_waits_for_a_decision_is_not_told_as_stuck_too(rows: Rows) -> None:
    run_id = approval(rows)
    rows.dispatch(run_id, rows.step(run_id, "check"), due_at=at(-90))

    found = waiting(rows)

    assert only(found).kind == "decision"
    assert found.counts["stuck"].value == 0


def test_one_kind_only_with_the_counts_of_all(rows: Rows) -> None:
    approval(rows)
    failed = failure(rows)
    late = rows.run()
    rows.dispatch(late, rows.step(late, "reserve"), due_at=at(-90))

    assert [item.run.id for item in waiting(rows, kinds=["failed"]).items] == [failed]
    assert [item.run.id for item in waiting(rows, kinds=["stuck"]).items] == [late]
    assert [item.kind for item in waiting(rows, kinds=["decision"]).items] == ["decision"]
    assert {kind: count.value for kind, count in waiting(rows, kinds=["resume"]).counts.items() if count.value} == {
        "decision": 1,
        "failed": 1,
        "stuck": 1,
    }


def test_the_limit_keeps_the_most_urgent(rows: Rows) -> None:
    approval(rows, since=-10)
    oldest, overdue = approval(rows, since=-50), approval(rows, since=-5, due=-1)

    assert [item.run.id for item in waiting(rows, limit=2).items] == [overdue, oldest]


@pytest.mark.parametrize("options", [{"kinds": ["everything"]}, {"limit": 0}])
def test_what_means_nothing_is_refused(rows: Rows, options: dict[str, Any]) -> None:
    with pytest.raises(FilterError):
        waiting(rows, **options)


def some_of_each(rows: Rows) -> None:
    for _ in range(3):
        approval(rows)
        failure(rows)
        late = rows.run()
        rows.dispatch(late, rows.step(late, "reserve"), due_at=at(-90))


def test_it_takes_three_queries_however_much_there_is(rows: Rows) -> None:
    some_of_each(rows)

    with counted(rows.connection) as statements:
        waiting(rows)

    assert len(statements) == 3


def test_a_glance_takes_two_queries_and_shows_the_same_but_for_what_is_asked(rows: Rows) -> None:
    some_of_each(rows)

    with counted(rows.connection) as statements:
        found = glance(rows.connection, Scope.all(), now=NOW)

    assert len(statements) == 2
    whole = waiting(rows)
    assert found.items == tuple(replace(item, decisions=(), next_actions=()) for item in whole.items)
    assert (found.counts, marks(found)) == (whole.counts, marks(whole))


@pytest.mark.parametrize(
    "change",
    [
        lambda rows, run_id: rows.connection.execute(
            sa.update(WorkflowRun).where(WorkflowRun.id == run_id).values(revision=99)
        ),
        lambda rows, _: failure(rows, since=-1, fingerprint="new"),
        lambda rows, _: approval(rows, since=-99),
    ],
)
def test_marks_change_with_what_is_shown_and_with_the_counts(rows: Rows, change: Callable[[Rows, str], Any]) -> None:
    run_id = approval(rows)
    before = marks(glance(rows.connection, Scope.all(), now=NOW, limit=1))

    change(rows, run_id)

    assert marks(glance(rows.connection, Scope.all(), now=NOW, limit=1)) != before


def test_work_that_is_late_at_several_steps_is_one_item_with_the_latest(rows: Rows) -> None:
    run_id = rows.run()
    for step, due in (("reserve", -90), ("settle", -120)):
        rows.dispatch(run_id, rows.step(run_id, step), due_at=at(due))

    item = only(waiting(rows))

    assert (item.kind, item.stuck and item.stuck["step"], item.since) == ("stuck", "settle", at(-120))


def test_failures_that_began_at_once_are_one_item(rows: Rows) -> None:
    ids = [failure(rows, since=-30) for _ in range(3)]

    item = only(waiting(rows))

    assert (item.run.id, item.alike) == (min(ids), 2)


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_the_most_urgent_of_all_kinds_are_kept(rows: Rows, limit: int) -> None:
    oldest, newest = failure(rows, since=-300), approval(rows, since=-1)
    late = rows.run()
    rows.dispatch(late, rows.step(late, "reserve"), due_at=at(-90))

    found = waiting(rows, limit=limit)

    assert [item.run.id for item in found.items] == [oldest, late, newest][:limit]


def test_the_counts_alone_are_one_query(rows: Rows) -> None:
    approval(rows)

    with counted(rows.connection) as statements:
        found = inbox_counts(rows.connection, Scope.all(), now=NOW)

    assert len(statements) == 1
    assert found == waiting(rows).counts


def test_it_is_json(rows: Rows) -> None:
    approval(rows, due=60)

    document = json.loads(json.dumps(waiting(rows).to_dict()))

    assert document["items"][0]["next_actions"][0]["call"] == "approve_run"
    assert document["counts"]["decision"] == "1"
