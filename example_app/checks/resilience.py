"""Runs whose worker ends in the middle, in order or by a power cut, and is started again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from ..extensions import mesh
from ..gateway.client import behaving
from ..people import BUYER, FINANCE, OPERATOR
from ..processes import Child
from ..seed import seed_people, seed_products
from ..stage import own_stage, wait_until
from ..workflows import ManualApproval, PaymentRecovery, RetryVerification, StockCount
from . import Say, Walk, walked
from .looking import asked, ended, expect, history, invoice, order_of, start, step

CLAIM_TIMEOUT = 3.0
# What a queue lost with its worker comes back by the relay: after a minute, or some where nothing younger is taken.
PATIENCE = 330.0
ENDINGS: dict[str, Callable[[Child], None]] = {"SIGTERM": Child.stop, "SIGKILL": Child.kill}

Ending = Callable[[], None]
Scenario = Callable[[Child, Ending], str]


def resilience(say: Say, endings: tuple[str, ...]) -> bool:
    """Go through every scenario with each ending.

    :param say: Called with a line for each.
    :param endings: How the worker is ended: SIGTERM, SIGKILL.
    :returns: Whether everything was as it should be.
    """
    with own_stage("resilience", process=True, claim_timeout=CLAIM_TIMEOUT, patience=PATIENCE) as stage:
        assert stage.worker
        seed_people()
        seed_products()
        return walked(_walks(stage.worker, endings), stage, say)


def _walks(worker: Child, endings: tuple[str, ...]) -> Iterator[tuple[str, Walk]]:
    for name in endings:
        for scenario in (*SCENARIOS, *(ONLY_AFTER_SIGKILL if name == "SIGKILL" else (stopping,))):
            yield f"{scenario.__name__}, {name}", partial(scenario, worker, partial(ENDINGS[name], worker))


def queued(worker: Child, end: Ending) -> str:
    """Started while no worker is there."""
    end()
    run_id = start(PaymentRecovery, invoice())
    expect("why it waits", mesh.explain_run(run_id).reason, "pending_dispatch")
    worker.start()
    ended(run_id, "completed")
    return "started without a worker, completed by the next"


def delayed(worker: Child, end: Ending) -> str:
    """Waits for a time that passes while no worker is there, or after the next one has come."""
    order = order_of("teapot")
    run = ended(order.run_id or "", "paused")
    end()
    mesh.approve_run(run.id, actor=FINANCE.email)
    expect("where it is", mesh.explain_run(run.id).step, "settle")
    worker.start()
    ended(run.id, "completed")
    expect("the payment", asked(order), ["authorise", "capture"])
    return "waited across the restart, captured once"


def retrying(worker: Child, end: Ending) -> str:
    """Waits for its next attempt."""
    run_id = start(RetryVerification, {"attempt_id": "restart", "delay": 2})
    wait_until(lambda: mesh.explain_run(run_id).reason == "waiting_for_retry", "the first attempt has failed")
    end()
    worker.start()
    younger = start(RetryVerification, {"attempt_id": "younger", "failures": 0})
    ended(younger, "completed")
    statuses = [attempt.status for attempt in step(ended(run_id, "completed"), "exercise_retry").attempts]
    expect("the attempts", statuses, ["failed", "completed"])
    return "retried across the restart, exactly 2 attempts"


def paused(worker: Child, end: Ending) -> str:
    """Waits for a person."""
    run = ended(start(ManualApproval, {"account_id": BUYER.email}), "paused")
    expect("the story before", [event.type for event in history(run)], ["paused"])
    end()
    worker.start()
    mesh.approve_run(run.id, actor="ops_restart", comment="approved", metadata={"ticket": "RESTART-1"})
    done = ended(run.id, "completed")
    story = [(event.type, event.actor, event.metadata) for event in history(done)]
    expect("the story", story, [("paused", None, None), ("approved", "ops_restart", {"ticket": "RESTART-1"})])
    expect("what was recorded", done.context["approval"]["status"], "approved")
    return "approved after the restart, with actor and ticket on record"


def stopping(worker: Child, end: Ending) -> str:
    """A step runs while its worker is asked to stop: it may end."""
    run_id = _counting(seconds=3)
    end()
    expect("the count when the worker has gone", _attempts(run_id), ["completed"])
    worker.start()
    ended(run_id, "completed")
    return "the running step was ended in order, one attempt"


def running(worker: Child, end: Ending) -> str:
    """A step runs while its worker dies: another worker takes it over."""
    run_id = _counting(seconds=3)
    end()
    worker.start()
    run = ended(run_id, "completed")
    expect("the attempts", _attempts(run_id), ["abandoned", "completed"])
    expect("the story", [event.type for event in history(run)], ["abandoned"])
    return "the lost attempt is on record, the next worker took the step over"


def capturing(worker: Child, end: Ending) -> str:
    """The money is being taken while the worker dies: a person decides, and it is taken once."""
    order = order_of("teapot")
    run_id = ended(order.run_id or "", "paused").id
    with behaving("slow"):
        mesh.approve_run(run_id, actor=FINANCE.email)
        wait_until(lambda: "capture" in asked(order), "the payment company has the capture")
        end()
    worker.start()
    wait_until(lambda: mesh.explain_run(run_id).reason == "interrupted", "the run is interrupted")
    expect("what can be done", sorted(mesh.explain_run(run_id).next_actions), _SETTLING)
    mesh.retry_step(run_id, actor=OPERATOR.email, comment="The payment company knows the key; asking again is safe.")
    statuses = [attempt.status for attempt in step(ended(run_id, "completed"), "capture").attempts]
    expect("the attempts", statuses, ["abandoned", "completed"])
    expect("the payment", asked(order), ["authorise", "capture"])
    return "interrupted, not repeated by itself; attempted again by the operator, captured once"


SCENARIOS: tuple[Scenario, ...] = (queued, delayed, retrying, paused)
ONLY_AFTER_SIGKILL: tuple[Scenario, ...] = (running, capturing)
_SETTLING = ["cancel_run", "fail_step", "resolve_step", "retry_step"]


def _counting(seconds: int) -> str:
    run_id = start(StockCount, {"seconds": seconds})
    wait_until(lambda: mesh.explain_run(run_id).reason == "step_running", "the count has begun")
    return run_id


def _attempts(run_id: str) -> list[Any]:
    run = mesh.inspect_run(run_id, include_history=True)
    return [attempt.status for attempt in step(run, "count").attempts]
