"""The one sentence at the top of a run's page, as whoever reads it would say it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from flask_squidmesh.dashboard.text.evidence_text import grounds
from flask_squidmesh.dashboard.text.explanation_text import ExplanationText
from flask_squidmesh.dashboard.text.people_text import ahead
from flask_squidmesh.queries.reason_facts import (
    Cancelling,
    CompensationRunning,
    Ended,
    Evidence,
    ReasonFacts,
    RunEvidence,
    WaitingForPerson,
)
from flask_squidmesh.queries.results import Explanation

NOW = datetime(2026, 12, 1, 12, tzinfo=UTC)
UTC_ZONE = ZoneInfo("UTC")


def teller(reason: str, facts: ReasonFacts, status: str = "paused", me: str | None = None) -> ExplanationText:
    run = RunEvidence(
        id="r",
        status=status,
        workflow="w",
        current_step="hold",
        created_at=NOW,
        updated_at=NOW,
        last_error=None,
    )
    explanation = Explanation(
        run_id="r",
        status=status,
        reason=reason,
        step="hold",
        details=facts,
        next_actions=(),
        refusals=(),
        evidence=Evidence(run=run),
    )
    return ExplanationText(explanation, NOW, UTC_ZONE, me=me)


PAUSES: dict[str, tuple[dict[str, Any], str | None, str]] = {
    "nobody's": ({}, "mia", "It is paused at hold until somebody resumes it"),
    "mine": ({"assignee": "mia"}, "mia", "It is paused at hold until you resume it"),
    "somebody else's": ({"assignee": "lee"}, "mia", "It is paused at hold until lee resumes it"),
    "of a group": ({"groups": ("finance",)}, None, "It is paused at hold until finance resumes it"),
    "late": (
        {"decide_by": NOW - timedelta(hours=2), "deadline": "overdue"},
        None,
        "It is paused at hold until somebody resumes it, overdue by 2 h",
    ),
}


@pytest.mark.parametrize(("facts", "me", "said"), PAUSES.values(), ids=PAUSES)
def test_a_pause_says_whose_it_is(app: Any, facts: dict[str, Any], me: str | None, said: str) -> None:
    with app.test_request_context():
        assert teller("paused_for_manual_action", WaitingForPerson(**facts), me=me).headline.striptags() == said


@pytest.mark.parametrize(
    ("status", "began"), [("failed", "It failed"), ("cancelled", "It was cancelled"), ("completed", "It has ended")]
)
def test_undoing_says_how_the_run_ended(app: Any, status: str, began: str) -> None:
    facts = CompensationRunning(failed_step=None, last_error=None, compensations={"hold": "running"})
    with app.test_request_context():
        said = teller("compensating", facts, status).headline.striptags()
    assert said == f"{began}, and hold is being undone"


@pytest.mark.parametrize(
    ("outcome", "said"),
    [
        (None, "It is completed"),
        ("rejected", "It was rejected"),
        ("timed_out", "It ended because nobody decided in time"),
        ("error_route", "It ended on its error route, because a step had failed"),
        ("turned_down", "It ended as turned down"),
    ],
)
def test_a_run_that_has_ended_says_how(app: Any, outcome: str | None, said: str) -> None:
    with app.test_request_context():
        assert teller("completed", Ended(outcome=outcome), "completed").headline.striptags() == said


@pytest.mark.parametrize(("steps", "verb"), [(("pay",), "ends"), (("pay", "ship"), "end")])
def test_a_run_that_is_being_cancelled_waits_for_what_executes(app: Any, steps: tuple[str, ...], verb: str) -> None:
    with app.test_request_context():
        said = teller("cancelling", Cancelling(waiting_on=steps), "cancelling").headline.striptags()
    assert said == f"It is being cancelled and stops as soon as {', '.join(steps)} {verb}"


def test_what_is_put_off_is_said(app: Any) -> None:
    facts = WaitingForPerson(put_off="Workflow w does not declare step park any more.")
    with app.test_request_context():
        [said] = grounds(teller("paused_for_decision", facts))
    assert said.striptags() == (
        "What was to happen by itself could not be done yet: Workflow w does not declare step park any more."
    )


@pytest.mark.parametrize(
    ("seconds", "said"), [(3600, "reminds in 1 h"), (2, "reminds in a moment"), (-90, "reminds at any moment")]
)
def test_a_reminder_says_when_it_comes(app: Any, seconds: float, said: str) -> None:
    timers = [{"kind": "remind", "at": (NOW + timedelta(seconds=seconds)).isoformat()}]
    with app.test_request_context():
        assert [each.striptags() for each in ahead(timers, None, UTC_ZONE, NOW)] == [said]


def test_a_step_that_is_late_says_since_when(app: Any) -> None:
    facts = replace(Cancelling(waiting_on=()), finish_by=NOW - timedelta(hours=3), overdue=True)
    with app.test_request_context():
        said = teller("cancelling", facts, "cancelling").headline.striptags()
    assert said == "It is being cancelled; it should have ended 3 h ago"
