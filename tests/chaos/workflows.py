"""The workflows of the trial: each step leaves its effect in a table, over a connection of its own."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from flask import current_app
from pydantic import BaseModel

from flask_squidmesh import (
    Approval,
    FailStep,
    Fixed,
    Manual,
    Retry,
    RetryStep,
    Step,
    StepContext,
    Wait,
    Workflow,
)
from flask_squidmesh.definition.context import CompensationContext

from . import records

LONGEST_WORK: Final = 0.03
OFTEN: Final = Retry(100, backoff=Fixed(0.5))

_AFFECT = """
INSERT INTO chaos_effects (run_id, kind, step, visit, attempt, key, policy)
VALUES (%(run_id)s, %(kind)s, %(step)s, %(visit)s, %(attempt)s, %(key)s, %(policy)s)
"""
_BOOK = sa.text("INSERT INTO chaos_bookings (run_id, step, visit) VALUES (:run_id, :step, :visit)")


class Order(BaseModel):
    number: int


def affect(ctx: StepContext, policy: str = "ordinary") -> dict[str, str]:
    """Work a little, have the effect, work a little more."""
    time.sleep(random.uniform(0, LONGEST_WORK))
    effect = {"run_id": ctx.run_id, "step": ctx.step, "visit": ctx.visit, "attempt": ctx.attempt}
    kind = "compensation" if isinstance(ctx, CompensationContext) else "step"
    records.execute(_AFFECT, {**effect, "kind": kind, "key": ctx.idempotency_key, "policy": policy})
    time.sleep(random.uniform(0, LONGEST_WORK))
    return {ctx.step: ctx.idempotency_key}


def do(ctx: StepContext) -> dict[str, str]:
    return affect(ctx)


def undo(ctx: CompensationContext) -> None:
    affect(ctx)


def charge(ctx: StepContext) -> dict[str, str]:
    return affect(ctx, "irreversible")


def do_at_the_third_time(ctx: StepContext) -> dict[str, str]:
    done = affect(ctx)
    if ctx.attempt < 3:
        raise RetryStep("busy")
    return done


def decline(ctx: StepContext) -> None:
    affect(ctx)
    raise FailStep("declined", code="declined")


def book(ctx: StepContext) -> dict[str, str]:
    """Write a row in the transaction of the step's own completion."""
    time.sleep(random.uniform(0, LONGEST_WORK))
    session = current_app.extensions["sqlalchemy"].session
    session.execute(_BOOK, {"run_id": ctx.run_id, "step": ctx.step, "visit": ctx.visit})
    return {ctx.step: ctx.idempotency_key}


def step(function: Callable[..., Any], **options: Any) -> Step:
    """A step that goes on trying while the database is away."""
    return Step(function, retry=OFTEN, **options)


class Chained(Workflow):
    place = Manual(Order)
    a = step(do)
    b = step(do)
    c = step(do)
    flow = [a >> b >> c]


class Joined(Workflow):
    place = Manual(Order)
    top = step(do, after=[])
    left = step(do, after=[top])
    right = step(do, after=[top])
    below = step(do, after=[left, right])


class Approved(Workflow):
    place = Manual(Order)
    a = step(do)
    review = Approval("Good, {number}?", output="review")
    b = step(do)
    c = step(do)
    flow = [a >> review >> b, review.on_reject >> c]


class Retried(Workflow):
    place = Manual(Order)
    a = Step(do_at_the_third_time, retry=Retry(100, backoff=Fixed(0.2)))
    b = step(do)
    flow = [a >> b]


class Waited(Workflow):
    place = Manual(Order)
    a = step(do)
    settle = Wait(2)
    b = step(do)
    flow = [a >> settle >> b]


class Undone(Workflow):
    place = Manual(Order)
    a = step(do, compensate=undo, compensate_retry=OFTEN)
    b = step(do, compensate=undo, compensate_retry=OFTEN)
    c = step(decline)
    flow = [a >> b >> c]


class Booked(Workflow):
    place = Manual(Order)
    a = step(do)
    booking = step(book, transaction=True)
    b = step(do)
    flow = [a >> booking >> b]


class Charged(Workflow):
    place = Manual(Order)
    a = step(do)
    charging = Step(charge, irreversible=True)
    b = step(do)
    flow = [a >> charging >> b]


@dataclass(frozen=True)
class Expected:
    """How a run must end. steps: those that must have ended so; every other one must not have been reached."""

    status: str
    steps: Mapping[str, str]
    compensation: str | None = None


def is_approved(number: int) -> bool:
    """What the operator decides about this order."""
    return number % 3 > 0


def expected(workflow: str, number: int) -> Expected:
    """How the run of this workflow for this order must end."""
    if workflow == "approved":
        reached = ("a", "review", "b" if is_approved(number) else "c")
        return Expected("completed", dict.fromkeys(reached, "completed"))
    if workflow == "undone":
        return Expected("failed", {"a": "completed", "b": "completed", "c": "failed"}, "completed")
    owner = next(each for each in WORKFLOWS if each.__squidmesh__.name == workflow)
    return Expected("completed", dict.fromkeys(owner.__squidmesh__.steps, "completed"))


WORKFLOWS: Final[tuple[type[Workflow], ...]] = (
    Chained,
    Joined,
    Approved,
    Retried,
    Waited,
    Undone,
    Booked,
    Charged,
)
