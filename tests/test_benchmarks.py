"""The arithmetic of the benchmark's report, and that what is counted was there."""

from __future__ import annotations

import threading
from typing import Any

import psycopg
import pytest

from benchmarks.contenders.answering import percentile
from benchmarks.contenders.counting import SWITCH, counted, libpq_url
from benchmarks.measured import Results, value_of
from benchmarks.report import report, shown
from benchmarks.running import MeasurementError, answer_of
from benchmarks.works import ROWS, WORKS, Figure, Goal, Relation, Work

pytestmark = pytest.mark.source


def ratio_goal(relation: Relation, factor: float) -> Goal:
    rate = Figure(work="chain", name="rate")
    return Goal(ours=rate, relation=relation, factor=factor, other=Figure(work="chain", name="rate", entry="dbos"))


def results_of(ours: list[float], theirs: list[float]) -> Results:
    results = Results()
    for entry, rates in (("squidmesh", ours), ("dbos", theirs)):
        for round, rate in enumerate(rates, 1):
            results.add("chain", entry, round, {"units": rate, "seconds": 1})
    return results


def test_a_ratio_is_taken_within_each_round_and_the_middle_one_counts() -> None:
    verdict = results_of([500, 100, 900], [100, 50, 100]).verdict(ratio_goal("at least", 5))
    assert verdict.ours is not None
    assert (verdict.ours.middle, verdict.ours.least, verdict.ours.most) == (500, 100, 900)
    assert verdict.compared is not None
    assert (verdict.compared.middle, verdict.compared.least, verdict.compared.most) == (5, 2, 9)
    assert verdict.met is True


def test_a_round_that_either_failed_in_has_no_ratio() -> None:
    verdict = results_of([500, 100], [50]).verdict(ratio_goal("at least", 5))
    assert verdict.compared is not None
    assert verdict.compared.middle == verdict.compared.least == verdict.compared.most == 10


@pytest.mark.parametrize(
    ("relation", "ratio", "met"),
    [
        ("at least", 2.0, True),
        ("at least", 1.99, False),
        ("more than", 2.0, False),
        ("more than", 2.01, True),
        ("at most", 2.0, True),
        ("at most", 2.01, False),
        ("below", 2.0, False),
        ("below", 1.99, True),
    ],
)
def test_a_goal_is_met_or_not(relation: Relation, ratio: float, met: bool) -> None:
    assert results_of([ratio], [1]).verdict(ratio_goal(relation, 2)).met is met


def test_a_goal_without_figures_is_not_measured() -> None:
    assert results_of([1], []).verdict(ratio_goal("at least", 2)).met is None


def test_a_goal_without_another_is_compared_by_itself_to_one_decimal() -> None:
    results = Results()
    results.add("counts", "squidmesh", 1, {"commits_per_run": 12.02})
    goal = Goal(ours=Figure(work="counts", name="commits_per_run"), relation="at most", factor=12)
    assert results.verdict(goal).met is True
    results.add("counts", "squidmesh", 1, {"commits_per_run": 12.1})
    assert results.verdict(goal).met is False


def test_figures_are_for_each_unit_and_in_milliseconds() -> None:
    answer: dict[str, Any] = {"units": 200, "seconds": 4, "commits": 240, "wal_bytes": 204_800, "statements": None}
    answer["samples"] = [0.001, 0.002, 0.003, 0.1]
    names = ("rate", "ms_per_unit", "commits_per_unit", "wal_per_unit", "statements_per_unit", "p50", "p99", "other")
    assert [value_of(answer, name) for name in names] == [50, 20, 1.2, 1, None, 2, 100, None]


def test_a_percentile_is_a_sample() -> None:
    samples = [float(number) for number in range(100, 0, -1)]
    assert (percentile(samples, 0.5), percentile(samples, 0.99), percentile([7.0], 0.99)) == (50, 99, 7)


def test_every_figure_of_a_goal_is_one_that_is_measured() -> None:
    measured = {(work.name, entry.name) for work in WORKS for entry in work.entries}
    for goal in (goal for row in ROWS for goal in row.goals):
        figures = [goal.ours, *([goal.other] if goal.other else [])]
        assert {(figure.work, figure.entry) for figure in figures} <= measured


def test_the_report_tells_figures_verdicts_and_what_failed() -> None:
    results = results_of([500, 510, 520], [100, 100, 130])
    results.fail("chain", "celery", "Redis is away")
    text = report(results, ["two cores"], rounds=3, quick=False)
    assert "| at least 5 × dbos | 510 [500–520] | 100 [100–130] | 5.00× [4.00–5.10] | met |" in text
    assert "- chain, celery: Redis is away" in text
    assert "- two cores" in text
    assert "## What bounds it" in text


def test_a_figure_is_shown_with_three_digits_and_its_range() -> None:
    results = results_of([12345.6, 1.234], [])
    assert shown(results.spread(Figure(work="chain", name="rate"))) == "6,173 [1.23–12,346]"
    assert shown(None) == "–"


def test_a_contender_that_fails_is_told_by_its_last_word() -> None:
    with pytest.raises(MeasurementError, match=r"No module named benchmarks\.nobody"):
        answer_of("benchmarks.nobody", [], counting=False, seconds=60)


def insert(connection: psycopg.Connection, rows: int) -> None:
    for _ in range(rows):
        connection.execute("INSERT INTO step VALUES (%s)", ("x" * 100,))


def test_what_was_committed_in_the_block_is_counted(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SWITCH, "yes")
    with psycopg.connect(libpq_url(postgres_url), autocommit=True) as connection:
        connection.execute("CREATE TABLE step (payload text)")
        insert(connection, 50)
    with counted(postgres_url) as counts, psycopg.connect(libpq_url(postgres_url), autocommit=True) as connection:
        insert(connection, 50)
    assert counts.commits is not None
    assert 50 <= counts.commits <= 55
    assert counts.wal_bytes is not None
    assert counts.wal_bytes > 50 * 100


def test_counting_waits_for_backends_that_have_not_told_yet(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SWITCH, "yes")
    counted_all = threading.Event()
    with psycopg.connect(libpq_url(postgres_url), autocommit=True) as connection:

        def poll() -> None:
            while not counted_all.wait(0.05):
                connection.execute("SELECT 1")

        polling = threading.Thread(target=poll)
        polling.start()
        try:
            connection.execute("CREATE TABLE step (payload text)")
            with counted(postgres_url) as counts:
                insert(connection, 50)
        finally:
            counted_all.set()
            polling.join()
    assert counts.commits is not None
    assert counts.commits >= 50


def test_nothing_is_counted_on_sqlite(sqlite_url: str) -> None:
    with counted(sqlite_url) as counts:
        pass
    assert counts.figures == {"commits": None, "wal_bytes": None, "statements": None}


def test_work_of_a_trial_is_a_tenth() -> None:
    work: Work = WORKS[0]
    prefect = next(entry for entry in work.entries if entry.name == "prefect")
    assert [work.sized(work.entries[0], quick=quick) for quick in (False, True)] == [100, 10]
    assert [work.sized(prefect, quick=quick) for quick in (False, True)] == [10, 1]
