"""A step that fails a few times before it succeeds."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from flask_squidmesh import Manual, Retry, RetryStep, Step, StepContext, Workflow


class Exercise(BaseModel):
    """What is tried. failures: how often it fails first. delay: seconds until it is tried again."""

    attempt_id: str
    failures: int = 1
    delay: float = 1


def exercise(ctx: StepContext, failures: int, delay: float) -> dict[str, Any]:
    """Fail as often as asked, then succeed."""
    if ctx.attempt <= failures:
        raise RetryStep(f"attempt {ctx.attempt} was asked to fail", after=delay, code="asked_to_fail")
    return {"succeeded_at_attempt": ctx.attempt}


class RetryVerification(Workflow):
    """Try until it works."""

    subject = "Exercise {attempt_id}"

    retry_verification = Manual(Exercise)

    exercise_retry = Step(exercise, retry=Retry(3))
