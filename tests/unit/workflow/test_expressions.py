"""Since when a schedule has had its expression, as workers of several versions see it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from flask_squidmesh import Cron, Manual, Step, Workflow
from flask_squidmesh.definition import cron
from flask_squidmesh.definition.cron import Kept, seen
from flask_squidmesh.definition.spec import TriggerSpec

NINE, HALF_PAST, ELSEWHERE = (("0 9 * * *", "UTC"), ("30 9 * * *", "UTC"), ("0 9 * * *", "Europe/Berlin"))
BEGAN = datetime(2026, 3, 9, 8, 0, tzinfo=UTC)


def trigger(expression: str, timezone: str) -> TriggerSpec:
    parts = {"by_hand": Manual(), "daily": Cron(expression, timezone=timezone), "work": Step(lambda: None)}
    spec: TriggerSpec = type("Digesting", (Workflow,), parts).__squidmesh__.triggers["daily"]  # type: ignore[attr-defined]
    return spec


def at(minutes: float) -> datetime:
    return BEGAN + timedelta(minutes=minutes)


def shown(*looks: tuple[float, tuple[str, str]]) -> Kept:
    """What is kept after workers with these expressions have looked at these minutes."""
    kept: Kept = {}
    for minutes, expression in looks:
        kept = seen(kept, trigger(*expression), began=BEGAN, now=at(minutes))
    return kept


def since(kept: Kept, expression: tuple[str, str]) -> datetime | None:
    return cron.since(kept, trigger(*expression))


def test_the_first_expression_counts_since_its_worker_began() -> None:
    assert since(shown((5, NINE)), NINE) == BEGAN
    assert since({}, NINE) is None


def test_nothing_is_to_be_written_where_nothing_is_new() -> None:
    assert shown((5, NINE)) == shown((5, NINE), (6, NINE), (9_000, NINE))


def test_another_expression_or_zone_counts_since_it_was_seen() -> None:
    assert since(shown((5, NINE), (60, HALF_PAST)), HALF_PAST) == at(60)
    assert since(shown((5, NINE), (60, ELSEWHERE)), ELSEWHERE) == at(60)


def test_workers_of_two_versions_side_by_side_leave_each_other_alone() -> None:
    both = [(60 + minute, expression) for minute in range(30) for expression in (HALF_PAST, NINE)]
    kept = shown((5, NINE), *both)
    assert (since(kept, NINE), since(kept, HALF_PAST)) == (BEGAN, at(60))
    alone = [(90 + minute, HALF_PAST) for minute in range(6)]
    kept = shown((5, NINE), *both, *alone)
    assert (list(kept), since(kept, HALF_PAST)) == (["30 9 * * * UTC"], at(60))


def test_an_expression_that_comes_back_counts_anew() -> None:
    others = [(60 + minute, HALF_PAST) for minute in range(30)]
    assert since(shown((5, NINE), *others, (90, NINE)), NINE) == at(90)
    assert since(shown((5, NINE), (60, HALF_PAST), (62, NINE)), NINE) == BEGAN


def test_an_expression_stays_however_long_no_worker_looked() -> None:
    kept = shown((5, NINE), (60, HALF_PAST), (600, HALF_PAST))
    assert since(kept, HALF_PAST) == at(60)
    assert since(shown((5, NINE), (60, HALF_PAST), (600, NINE)), NINE) == at(600)


def test_what_a_wrong_clock_wrote_is_not_believed() -> None:
    kept = {"0 9 * * * UTC": {"since": at(9_000_000).isoformat()}}
    assert since(seen(kept, trigger(*NINE), began=BEGAN, now=at(1)), NINE) == BEGAN
