from __future__ import annotations

from typing import Any

import pytest

from flask_squidmesh.definition.spec import VisitSettings
from flask_squidmesh.engine.attempt_outcomes import RetryDecision, verdict
from flask_squidmesh.engine.error_records import error
from flask_squidmesh.engine.facts import Failure
from tests.unit.engine.facts import visit

DOUBLING = {"max_attempts": 4, "first": 2.0, "most": 5.0, "jitter": 0.0}
ERROR = error("OSError", "no")


def judged(settings: dict[str, Any], attempts: int, **failure: Any) -> RetryDecision:
    return verdict(visit(settings=VisitSettings.read(settings), attempts=attempts), Failure(error=ERROR, **failure))


@pytest.mark.rule("retry-exponential")
@pytest.mark.parametrize(("attempts", "delay"), [(1, 2), (2, 4), (3, 5)])
def test_delays_double_up_to_the_most(attempts: int, delay: float) -> None:
    assert judged(DOUBLING, attempts) == RetryDecision("retry", delay)


@pytest.mark.rule("retry-count")
@pytest.mark.parametrize("attempts", [4, 5, 40])
def test_the_last_attempt_is_the_last(attempts: int) -> None:
    assert judged(DOUBLING, attempts).kind == "give_up"


@pytest.mark.rule("retry-none")
def test_without_a_policy_the_first_attempt_is_the_last() -> None:
    assert judged({}, 1).kind == "give_up"


def test_without_backoff_the_next_attempt_follows_at_once() -> None:
    assert judged({"max_attempts": 2}, 1) == RetryDecision("retry", 0.0)


@pytest.mark.rule("retry-step")
@pytest.mark.parametrize("after", [0.0, 90.0])
def test_a_step_may_name_the_delay(after: float) -> None:
    assert judged(DOUBLING, 1, asked=True, after=after) == RetryDecision("retry", after)


@pytest.mark.rule("retry-step")
def test_naming_a_delay_grants_no_further_attempt() -> None:
    assert judged(DOUBLING, 4, asked=True, after=1).kind == "give_up"


@pytest.mark.rule("fail-step")
def test_a_final_failure_is_final() -> None:
    assert judged(DOUBLING, 1, final=True).kind == "give_up"


@pytest.mark.rule("retry-irreversible", "retry-irreversible-unknown")
@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        ({}, "interrupt"),
        ({"final": True}, "interrupt"),
        ({"certain": True}, "give_up"),
        ({"certain": True, "final": True}, "give_up"),
        ({"certain": True, "asked": True}, "retry"),
    ],
)
def test_an_irreversible_step_is_retried_only_where_it_surely_had_no_effect(failure: dict[str, Any], kind: str) -> None:
    assert judged({**DOUBLING, "irreversible": True}, 1, **failure).kind == kind


@pytest.mark.rule("retry-jitter")
def test_jitter_varies_the_delay_by_its_fraction() -> None:
    delays = {judged({**DOUBLING, "jitter": 0.5}, 1).delay for _ in range(200)}
    assert len(delays) > 1
    assert all(1 <= delay <= 3 for delay in delays)
