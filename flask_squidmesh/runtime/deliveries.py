"""What the host's queued job calls."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from ..engine.facts import StepFact
from ..engine.naming import names_of
from ..engine.status import TERMINAL
from ..errors import UnknownTriggerError, UnknownWorkflowError
from ..executors.contract import Payload, check_payload
from ..store import claiming, loading
from ..store.batching import Batch
from ..store.claiming import Claim, Work
from .claiming_work import may_take_over, take, unanswered_let_go
from .dispatching import Intent, hand_over
from .performing import deliver, skipped
from .recording import Recorded, after_commit
from .scheduling import PUT_OFF, activate, cron_trigger

if TYPE_CHECKING:
    from .runtime import Runtime

SHORTEST_WAIT = 1.0

logger = logging.getLogger("flask_squidmesh")

Outcome = Literal["executed", "too_early", "duplicate", "held", "unknown_run", "cancelled"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """What one `perform` did.

    outcome: executed; too_early (put back for the rest of the time); duplicate (nothing to do); held (this process
    does not know the workflow or step); unknown_run; cancelled. attempt: its number, where one ran. status: the
    run's status afterwards.
    """

    outcome: Outcome
    run_id: str | None = None
    step: str | None = None
    attempt: int | None = None
    status: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON data."""
        return asdict(self)


def perform(runtime: Runtime, payload: Any) -> Delivery:
    """Do what a queued job asks for; see `SquidMesh.perform`."""
    runtime.ensure_configured()
    checked = check_payload(payload)
    if checked["kind"] == "cron":
        return _activated(runtime, checked)
    found, work, status = _taken(runtime, checked)
    step = work.visit.step if work else checked.get("step")
    if isinstance(found, Claim):
        status = deliver(runtime, found)
        return Delivery(outcome="executed", run_id=found.run.id, step=step, attempt=found.visit.attempts, status=status)
    if found == "too_early" and work is not None:
        _put_off(runtime, work)
    return Delivery(outcome=found, run_id=checked["run_id"], step=step, status=status)


def _taken(runtime: Runtime, payload: Payload) -> tuple[Claim | Outcome, Work | None, str | None]:
    settled: list[Recorded] = []
    claims: list[Claim] = []
    with unanswered_let_go(runtime, claims), runtime.database.write() as connection:
        run = loading.run_fact(connection, payload["run_id"], lock=True)
        if run is None:
            return "unknown_run", None, None
        step = payload.get("step")
        names = _names(runtime, run.workflow, step) if step else frozenset()
        work = claiming.work_for(connection, runtime.database, run.id, payload["kind"], step, names=names)
        if work is None:
            return ("cancelled" if run.status == "cancelled" else "duplicate"), None, run.status
        expired = work.due and (work.claim_id is None or may_take_over(runtime))
        if not (expired or _is_stale(runtime, work)) or not runtime.solitude.admits(_suspect(work)):
            return "too_early", work, run.status
        batch = Batch()
        claim = take(runtime, connection, work, settled, batch)
        claims += [claim] if claim is not None else []
        batch.execute(connection)
    for recorded in settled:
        after_commit(runtime, recorded)
    status = settled[-1].status if settled else work.run.status
    if claim is not None:
        return claim, work, status
    if status == "cancelled":
        return "cancelled", work, status
    return ("duplicate" if settled or status in TERMINAL else "held"), work, status


def _names(runtime: Runtime, workflow: str, step: str) -> frozenset[str]:
    """The names that the step has or had, as it may have been renamed since the job was queued."""
    try:
        return names_of(runtime.registry.get(workflow), step)
    except UnknownWorkflowError:
        return frozenset({step})


def _put_off(runtime: Runtime, work: Work) -> None:
    """Have the delivery made again when its time, or the end of another's claim, has come.

    A claim that has expired but may not be taken yet is looked at again after a whole timeout.
    """
    if work.claim_id is not None:
        skipped(runtime, work)
    has_expired = work.due and work.claim_id is not None
    seconds = runtime.settings.claim_timeout if has_expired else max(work.wait, SHORTEST_WAIT)
    due = runtime.clock.now() + timedelta(seconds=seconds)
    hand_over(runtime, [Intent(run_id=work.run.id, kind=work.visit.kind, step=work.visit.step, due_at=due)])


def _suspect(work: Work) -> StepFact:
    """The visit as it is claimed: once more abandoned where another's claim has expired."""
    return work.visit._replace(abandoned=work.visit.abandoned + (work.claim_id is not None))


def _is_stale(runtime: Runtime, work: Work) -> bool:
    """Whether the step has been running for longer than the host allows, although its worker renews the claim."""
    timeout = runtime.settings.stale_step_timeout
    if timeout is None or work.claimed_at is None:
        return False
    return (runtime.clock.now() - work.claimed_at).total_seconds() >= timeout


def _activated(runtime: Runtime, payload: Payload) -> Delivery:
    text = payload.get("intended_window")
    workflow, trigger, signal_id = payload["workflow"], payload["trigger"], payload.get("signal_id")
    window = datetime.fromisoformat(text) if text else None
    try:
        cron_trigger(runtime, workflow, trigger)
    except (UnknownWorkflowError, UnknownTriggerError) as unknown:
        logger.warning("squidmesh: a cron activation is put off: %s", unknown)
        seconds = PUT_OFF.total_seconds()
        runtime.executor.enqueue_cron(
            workflow, trigger, schedule_in=seconds, intended_window=window, signal_id=signal_id
        )
        return Delivery(outcome="held")
    run_id, new = activate(runtime, workflow, trigger, intended_window=window, signal_id=signal_id, even_paused=False)
    with runtime.database.read() as connection:
        run = loading.run_fact(connection, run_id) if run_id else None
    return Delivery(outcome="executed" if new else "duplicate", run_id=run_id, status=run.status if run else None)
