from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from flask_squidmesh import Scope
from flask_squidmesh.errors import FilterError, SquidMeshError
from flask_squidmesh.queries.operator_status import OPERATOR_WORDS, stuck_among, word_of
from flask_squidmesh.queries.results import Count
from flask_squidmesh.queries.run_list import counts, list_runs, standing
from tests.integration.reading.rows import NOW, SOME_ID, Checkout, Rows, at, counted


def listed(rows: Rows, **filters: Any) -> list[str]:
    return [run.id for run in list_runs(rows.connection, Scope.all(), **filters).runs]


@pytest.mark.rule("listing-order")
def test_newest_first_and_oldest_first(rows: Rows) -> None:
    made = [rows.run() for _ in range(3)]

    assert listed(rows) == made[::-1]
    assert listed(rows, sort="oldest") == made


@pytest.mark.rule("listing-pages")
@pytest.mark.parametrize("sort", ["newest", "oldest"])
@pytest.mark.parametrize("filters", [{}, {"status": "running"}, {"status": ["running", "failed"]}])
def test_pages_follow_each_other_without_gap_or_repeat(rows: Rows, sort: Any, filters: dict[str, Any]) -> None:
    together = {"created_at": at(-5)}
    made = [rows.run(status=status, **together) for status in ("running", "failed", "running")]
    made += [rows.run(status="running") for _ in range(4)]
    wanted = listed(rows, sort=sort, **filters)
    seen: list[str] = []
    after = None

    for _ in range(10):
        page = list_runs(rows.connection, Scope.all(), limit=2, sort=sort, after=after, **filters)
        seen += [run.id for run in page.runs]
        after = page.next
        if after is None:
            break

    assert seen == wanted
    assert len(seen) == (6 if filters == {"status": "running"} else 7)
    assert set(seen) <= set(made)


@pytest.mark.rule("listing-pages")
def test_a_new_run_does_not_move_the_next_page(rows: Rows) -> None:
    made = [rows.run() for _ in range(4)]
    first = list_runs(rows.connection, Scope.all(), limit=2)
    rows.run()

    assert [run.id for run in list_runs(rows.connection, Scope.all(), limit=2, after=first.next).runs] == [
        made[1],
        made[0],
    ]


def test_the_last_page_has_no_next(rows: Rows) -> None:
    rows.run()

    assert list_runs(rows.connection, Scope.all(), limit=1).next is None
    assert list_runs(rows.connection, Scope.all(), status="failed").next is None


@pytest.mark.rule("listing-summaries")
def test_one_query_that_reads_no_payload(rows: Rows) -> None:
    rows.run()

    with counted(rows.connection) as statements:
        list_runs(rows.connection, Scope.all(), status=["running", "failed"], workflow="checkout")

    assert len(statements) == 1
    assert "payload" not in statements[0]
    assert "squidmesh_runs.error," not in statements[0]


@pytest.mark.rule("listing-filters")
@pytest.mark.parametrize(
    ("columns", "match", "miss"),
    [
        ({"status": "failed"}, {"status": "failed"}, {"status": "running"}),
        ({"status": "failed"}, {"status": ["failed", "paused"]}, {"status": ["paused", "running"]}),
        ({}, {"workflow": "checkout"}, {"workflow": "notice"}),
        ({}, {"workflow": Checkout}, {"workflow": ["notice", "other"]}),
        ({"needs": "decision"}, {"needs": "decision"}, {"needs": "resume"}),
        ({"needs": "decision"}, {"needs": ["resume", "decision"]}, {"needs": ["failed"]}),
        ({"needs": "decision"}, {"needs": True}, {"needs": "failed"}),
        ({"subject": "Order o-1"}, {"subject": "Order o"}, {"subject": "order o"}),
        ({"subject": "100% sure_"}, {"subject": "100% sure_"}, {"subject": "100_ sure"}),
        ({"subject": "Ünïcode ✓"}, {"subject": "Ünïcode"}, {"subject": "Unicode"}),
        ({"error_fingerprint": "f1"}, {"error": "f1"}, {"error": "f"}),
        ({"current_step": "review"}, {"step": "review"}, {"step": "rev"}),
        ({"trigger": "place"}, {"trigger": "place"}, {"trigger": "cron"}),
        ({"created_at": NOW}, {"since": NOW}, {"since": at(1)}),
        ({"created_at": NOW}, {"until": at(1)}, {"until": NOW}),
    ],
)
def test_filters(rows: Rows, columns: dict[str, Any], match: dict[str, Any], miss: dict[str, Any]) -> None:
    run_id = rows.run(**columns)

    assert listed(rows, **match) == [run_id]
    assert listed(rows, **miss) == []


@pytest.mark.rule("listing-filters")
def test_filters_are_combined(rows: Rows) -> None:
    run_id = rows.run(status="failed", needs="failed")
    rows.run(status="failed")

    assert listed(rows, status="failed", needs="failed", workflow="checkout") == [run_id]


@pytest.mark.rule("listing-old-names")
def test_a_workflow_class_finds_runs_stored_under_an_old_name(rows: Rows) -> None:
    old = rows.run(workflow="purchase")

    assert listed(rows, workflow=Checkout) == [old]
    assert listed(rows, workflow="checkout") == []


def test_ids_are_found_by_their_beginning(rows: Rows) -> None:
    run_id = rows.run(id="abcdef12-0000-4000-8000-000000000001")
    rows.run(id="abcdef13-0000-4000-8000-000000000001")

    for beginning in ("abcdef12", "ABCDEF12", "abcdef12-0000", run_id):
        assert listed(rows, run_id=beginning) == [run_id]
    assert len(listed(rows, run_id="abcdef1")) == 2
    assert listed(rows, run_id="0") == []


@pytest.mark.rule("listing-refused")
@pytest.mark.parametrize(
    ("filters", "name"),
    [
        ({"status": "runing"}, "status"),
        ({"status": []}, "status"),
        ({"status": 3}, "status"),
        ({"needs": "nobody"}, "needs"),
        ({"limit": 0}, "limit"),
        ({"limit": 501}, "limit"),
        ({"limit": "50"}, "limit"),
        ({"limit": True}, "limit"),
        ({"sort": "biggest"}, "sort"),
        ({"after": "nonsense"}, "after"),
        ({"after": f"99999999999999999999_{SOME_ID}"}, "after"),
        ({"after": "12_nonsense"}, "after"),
        ({"run_id": "xyz"}, "run_id"),
        ({"run_id": "0" * 33}, "run_id"),
        ({"since": NOW.replace(tzinfo=None)}, "since"),
        ({"until": "yesterday"}, "until"),
        ({"word": "sleepy", "now": NOW}, "word"),
        ({"word": "waiting"}, "now"),
        ({"workflow": ""}, "workflow"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_filter_that_means_nothing_is_refused_by_name(rows: Rows, filters: dict[str, Any], name: str) -> None:
    with pytest.raises(FilterError) as raised:
        list_runs(rows.connection, Scope.all(), **filters)

    assert raised.value.name == name
    assert isinstance(raised.value, ValueError)
    assert isinstance(raised.value, SquidMeshError)


# -- counts --------------------------------------------------------------------------------------------------------


def test_counts_by_status_in_one_query(rows: Rows) -> None:
    for status in ("running", "running", "completed", "failed"):
        rows.run(status=status)

    with counted(rows.connection) as statements:
        found = counts(rows.connection, Scope.all())

    assert len(statements) == 1
    assert {status: count.value for status, count in found.items() if count.value} == {
        "running": 2,
        "completed": 1,
        "failed": 1,
    }
    assert next(iter(found)) == "pending"


def test_finished_runs_are_counted_up_to_the_limit_and_others_in_full(rows: Rows) -> None:
    for status in ("running", "completed"):
        for _ in range(3):
            rows.run(status=status)

    found = counts(rows.connection, Scope.all(), limit=2)

    assert found["completed"] == Count(value=2, capped=True)
    assert found["running"] == Count(value=3)


def test_counts_keep_to_the_filters(rows: Rows) -> None:
    rows.run(status="failed", needs="failed")
    rows.run(status="failed")

    assert counts(rows.connection, Scope.all(), needs=True)["failed"].value == 1
    assert counts(rows.connection, Scope.all(), status="running")["failed"].value == 0


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (Count(value=7), "7"),
        (Count(value=10_000), "10000"),
        (Count(value=10_000, capped=True), "10k+"),
        (Count(value=250, capped=True), "250+"),
    ],
)
def test_a_count_as_text(count: Count, text: str) -> None:
    assert str(count) == text


# -- operator words ------------------------------------------------------------------------------------------------


def worded_runs(rows: Rows) -> dict[str, str]:
    """A run for each word there is."""
    late, soon = rows.run(status="pending"), rows.run(status="retrying", due_at=at(30))
    rows.dispatch(late, rows.step(late, "reserve"), due_at=at(-120))
    rows.dispatch(soon, rows.step(soon, "reserve"), due_at=at(30))
    return {
        "decision": rows.run(status="paused", needs="decision"),
        "paused": rows.run(status="paused", needs="resume"),
        "stuck": late,
        "incident": rows.run(status="paused", needs="incident"),
        "failed": rows.run(status="failed", needs="failed"),
        "retrying": soon,
        "scheduled": rows.run(status="pending", due_at=at(30)),
        "waiting": rows.run(status="running", due_at=at(30)),
        "running": rows.run(status="running", due_at=at(-1)),
        "pending": rows.run(status="pending"),
        "cancelling": rows.run(status="cancelling"),
        "completed": rows.run(status="completed"),
        "cancelled": rows.run(status="cancelled"),
    }


def test_every_word_finds_its_run_and_no_other(rows: Rows) -> None:
    made = worded_runs(rows)

    assert made.keys() == OPERATOR_WORDS.keys()
    assert {word: listed(rows, word=word, now=NOW) for word in OPERATOR_WORDS} == {w: [id] for w, id in made.items()}


def test_the_same_word_is_told_without_sql(rows: Rows) -> None:
    made = worded_runs(rows)
    runs = list_runs(rows.connection, Scope.all()).runs
    stuck = stuck_among(rows.connection, runs, NOW)

    assert {word_of(run, NOW, stuck=run.id in stuck): run.id for run in runs} == made


@pytest.mark.parametrize(
    ("columns", "word"),
    [
        ({"status": "running", "needs": "decision"}, "decision"),
        ({"status": "paused", "needs": "interrupted"}, "stuck"),
        ({"status": "cancelling", "needs": "interrupted"}, "stuck"),
        ({"status": "cancelled", "needs": "interrupted"}, "stuck"),
        ({"status": "running", "needs": "incident"}, "incident"),
        ({"status": "failed"}, "failed"),
        ({"status": "cancelled", "needs": "compensation_failed"}, "failed"),
        ({"status": "paused"}, "paused"),
        ({"status": "pending", "open_steps": 1, "due_at": at(9)}, "waiting"),
        ({"status": "running", "open_steps": 2, "awaiting_steps": 2}, "waiting"),
        ({"status": "running", "open_steps": 2, "awaiting_steps": 1}, "running"),
        ({"status": "running", "open_steps": 1, "awaiting_steps": 1, "needs": "decision"}, "decision"),
        ({"status": "cancelling", "open_steps": 1, "awaiting_steps": 1}, "cancelling"),
    ],
)
def test_less_common_states_have_one_word_too(rows: Rows, columns: dict[str, Any], word: str) -> None:
    run_id = rows.run(**columns)

    assert word_of(list_runs(rows.connection, Scope.all()).runs[0], NOW) == word
    assert [each for each in OPERATOR_WORDS if listed(rows, word=each, now=NOW)] == [word]
    assert listed(rows, word=word, now=NOW) == [run_id]


@pytest.mark.parametrize(
    ("work", "stuck"),
    [
        ({"due_at": at(-59)}, False),
        ({"due_at": at(-61)}, True),
        ({"claim_id": SOME_ID, "due_at": at(-59)}, False),
        ({"claim_id": SOME_ID, "due_at": at(-61)}, True),
        ({"held": "unknown step", "due_at": at(30)}, True),
        ({"held": "unknown step", "due_at": at(30), "claim_id": SOME_ID}, True),
        ({"hand_over_error": "down", "due_at": at(-1)}, True),
        ({"hand_over_error": "down", "due_at": at(30)}, False),
        ({"hand_over_error": "down", "due_at": at(30), "claim_id": SOME_ID}, False),
    ],
)
def test_work_that_nobody_takes_is_stuck(rows: Rows, work: dict[str, Any], stuck: bool) -> None:
    run_id = rows.run()
    rows.dispatch(run_id, rows.step(run_id, "reserve"), **work)

    assert listed(rows, word="stuck", now=NOW) == ([run_id] if stuck else [])
    assert listed(rows, word="running", now=NOW) == ([] if stuck else [run_id])


def test_a_word_and_a_status_narrow_each_other(rows: Rows) -> None:
    run_id = rows.run(status="running", needs="decision")
    rows.run(status="paused", needs="decision")

    assert listed(rows, word="decision", status="running", now=NOW) == [run_id]
    assert listed(rows, word="decision", status="completed", now=NOW) == []


def test_words_are_counted_in_one_query(rows: Rows) -> None:
    worded_runs(rows)
    rows.run(status="completed")

    with counted(rows.connection) as statements:
        found = standing(rows.connection, Scope.all(), size=1, now=NOW, limit=1).counts

    assert len(statements) == 1
    assert found == {**{word: Count(value=1) for word in OPERATOR_WORDS}, "completed": Count(value=1, capped=True)}


def test_every_word_is_counted_whichever_is_asked_for(rows: Rows) -> None:
    worded_runs(rows)

    every, some = (standing(rows.connection, Scope.all(), size=9, now=NOW, word=word) for word in (None, "stuck"))

    assert some.counts == every.counts
    assert len(some.marks) < len(every.marks)


def test_how_runs_stand_depends_on_the_time(rows: Rows) -> None:
    with pytest.raises(FilterError):
        standing(rows.connection, Scope.all(), size=1)


def test_the_same_runs_stand_otherwise_as_time_goes_by(rows: Rows) -> None:
    run_id = rows.run(status="running")
    rows.dispatch(run_id, rows.step(run_id, "reserve"), due_at=at(0))

    asked: list[tuple[float, float]] = [(0, 60), (61, 60), (61, 90), (0, 60)]
    found = [
        standing(rows.connection, Scope.all(), size=9, now=at(seconds), stuck_after=after, workflow=["checkout"])
        for seconds, after in asked
    ]

    assert [each.counts["stuck"].value for each in found] == [0, 1, 0, 0]
    assert found[0].marks == found[3].marks
    assert found[0].marks != found[1].marks


def test_which_runs_are_stuck_is_one_query_and_none_for_finished_ones(rows: Rows) -> None:
    run_id = rows.run()
    rows.dispatch(run_id, rows.step(run_id, "reserve"), due_at=at(-120))
    rows.run(status="completed")
    runs = list_runs(rows.connection, Scope.all()).runs

    with counted(rows.connection) as statements:
        assert stuck_among(rows.connection, runs, NOW) == {run_id}
        assert stuck_among(rows.connection, runs[:1], NOW) == frozenset()

    assert len(statements) == 1


@pytest.mark.parametrize("word", ["decision", "paused", "failed", "completed"])
def test_a_page_is_found_by_indexes_that_hold_all_it_takes(migrated_sqlite_url: str, word: str) -> None:
    with sa.create_engine(migrated_sqlite_url).connect() as connection:
        with counted(connection) as statements:
            list_runs(connection, Scope.all(), word=word, now=NOW)
        values = ("x",) * statements[0].count("?")
        plan = [row[-1] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statements[0]}", values)]

    read = [line for line in plan if "squidmesh_runs USING" in line]
    assert read
    assert all("COVERING INDEX" in line or "(id=?)" in line for line in read), read
