"""Replaying a finished run as a new one, from its beginning or from one of its steps."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from ..engine.approving import starters_of
from ..engine.facts import StepFact
from ..engine.neighbourhood import Neighbourhood
from ..engine.replay import Resumption, asking_again, copied_steps, unsafe_steps
from ..engine.status import TERMINAL
from ..errors import UnsafeReplayError
from ..store import loading
from ..store.identity import new_id
from ..store.scope import Scope
from ..store.summaries import RunSummary
from ..store.tables import runs, step_runs
from ..workflow.payloads import validate_again
from .acting import Acting, act, call_on
from .new_runs import Start, insert, tell
from .recording import after_commit, write

if TYPE_CHECKING:
    from .runtime import Runtime


def replay(
    runtime: Runtime,
    run_id: Any,
    *,
    scope: Scope,
    actor: Any = None,
    comment: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    session: Any = None,
    expected: str | None = None,
    idempotency_key: str | None = None,
    allow_irreversible: bool = False,
    from_step: str | None = None,
    undecided: Collection[str] = (),
) -> RunSummary:
    """Start a new run with the payload of a finished one; see `SquidMesh.replay_run`.

    undecided: decisions that whoever replays may not take, which it therefore does not pass over.
    """
    arguments = {"allow_irreversible": allow_irreversible, "from_step": from_step}
    call = call_on(runtime, "replay_run", scope, run_id, actor, comment, metadata, expected, idempotency_key, arguments)
    return act(runtime, call, partial(_replay, allow_irreversible is True, from_step, undecided), session)


def _replay(
    allow_irreversible: bool, from_step: str | None, undecided: Collection[str], acting: Acting
) -> tuple[str, Sequence[Callable[[], None]]]:
    _check_finished(acting)
    payload, schedule = _payload(acting)
    from_step = acting.name_of(from_step)
    begins = _resumption(acting, from_step, undecided)
    copied = begins.copied if begins else ()
    again = [row for row in acting.rows if row.id not in {step.id for step in copied}]
    blocking = unsafe_steps(again)
    if blocking and not allow_irreversible:
        raise UnsafeReplayError(blocking)
    started = insert(acting.runtime, acting.connection, _start(acting, begins, payload, schedule))
    progress = acting.progress(Neighbourhood(decisions=loading.decisions(acting.rows)))
    progress.replayed(acting.call.decider, started.run_id, _told(begins))
    recorded = write(acting.runtime, acting.connection, progress)
    return started.run_id, [partial(after_commit, acting.runtime, recorded), partial(tell, acting.runtime, started)]


def _check_finished(acting: Acting) -> None:
    run = acting.run
    if run.status not in TERMINAL:
        raise acting.refuse(f"the run is {run.status}; only finished runs are replayed.")
    if run.compensation in ("running", "requested"):
        raise acting.refuse("its compensations are still running.")


def _told(begins: Resumption | None) -> dict[str, Any]:
    """Where the replay begins, for the audit."""
    if begins is None:
        return {}
    decisions = {"asked_again": list(begins.asked), "decisions_taken_over": list(begins.taken_over)}
    return {"from_step": begins.step, **{name: steps for name, steps in decisions.items() if steps}}


def _resumption(acting: Acting, from_step: str | None, undecided: Collection[str]) -> Resumption | None:
    """Where the new run begins, with the completed visits whose outputs it takes over; None for at its beginning."""
    if from_step is None:
        return None
    if from_step not in acting.known.steps:
        raise acting.refuse(f"workflow {acting.known.name} declares no step {from_step}.")
    copied = copied_steps(acting.known, acting.rows, from_step)
    if copied is None:
        raise acting.refuse(f"the run never reached step {from_step}.")
    begins = asking_again(acting.known, copied, from_step, undecided)
    undone = {(row.step, row.visit) for row in acting.rows if row.kind == "compensation" and row.status == "completed"}
    compensated = [row.step for row in begins.copied if (row.step, row.visit) in undone]
    if compensated:
        raise acting.refuse(
            f"steps before {begins.step} were compensated ({', '.join(compensated)}), so they must run again."
        )
    return begins


def _payload(acting: Acting) -> tuple[Mapping[str, Any], Mapping[str, Any] | None]:
    """The run's payload as the workflow takes it now, and what its schedule said. Raises PayloadError."""
    query = sa.select(runs.c.payload, runs.c.schedule).where(runs.c.id == acting.run.id)
    payload, schedule = acting.connection.execute(query).one()
    trigger = acting.known.triggers.get(acting.run.trigger)
    if trigger is None:
        return payload, schedule
    window = datetime.fromisoformat(schedule["intended_window"]) if schedule else None
    return validate_again(trigger, payload, window=window, now=acting.runtime.clock.now()), schedule


def _start(
    acting: Acting,
    begins: Resumption | None,
    payload: Mapping[str, Any],
    schedule: Mapping[str, Any] | None,
) -> Start:
    spec, run = acting.known, acting.run
    return Start(
        spec=spec,
        trigger=run.trigger,
        tenant=run.tenant,
        queue=run.queue,
        payload=payload,
        schedule=schedule,
        actor=acting.call.decider.actor if acting.call.decider.actor is not None else run.actor,
        replayed_from=run.id,
        starters=starters_of(run.starters, run.actor),
        copied=tuple(_rows(acting.connection, begins.copied if begins else ())),
        at_step=begins.step if begins else None,
        failure=_failure_before(acting.rows, begins.step) if begins else None,
    )


def _failure_before(rows: Sequence[StepFact], step: str | None) -> Mapping[str, Any] | None:
    """The error that led to the step's last visit, if an error route did."""
    visits = [row for row in rows if row.kind == "step" and row.step == step]
    return max(visits, key=lambda row: row.visit).failure if visits else None


def _rows(connection: sa.Connection, copied: Collection[StepFact]) -> list[dict[str, Any]]:
    """The copied visits as rows of the new run, their outputs in the old order."""
    if not copied:
        return []
    named = {row.id: {"step": row.step, "settings": row.settings} for row in copied}
    query = sa.select(step_runs).where(step_runs.c.id.in_(named)).order_by(step_runs.c.position)
    found = connection.execute(query).mappings().all()
    return [
        {**row, **named[row["id"]], "id": new_id(), "position": number, "sees": number - 1}
        for number, row in enumerate(found, start=1)
    ]
