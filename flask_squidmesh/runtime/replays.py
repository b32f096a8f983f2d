"""What a replay starts: the payload as the workflow takes it now, and what the new run takes over of the old one."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa

from ..definition.payloads import validate_again
from ..definition.values import JsonObject
from ..engine.approvals import starters_of
from ..engine.facts import StepFact
from ..engine.replay_rules import Resumption, asking_again, copied_steps, unsafe_steps
from ..engine.transitions import TERMINAL
from ..errors import ErrorRecord, UnsafeReplayError
from ..storage.summaries import new_id
from ..storage.tables import runs, step_runs
from .command_transaction import CommandContext
from .run_starter import NewRunRequest


class ReplayPlan(NamedTuple):
    """A run to be started in place of another. begins: where it begins, for the audit."""

    request: NewRunRequest
    begins: JsonObject


def plan_replay(
    acting: CommandContext, *, from_step: str | None, undecided: Collection[str], allow_irreversible: bool
) -> ReplayPlan:
    """What the replay of the run starts, from its beginning or from a step.

    undecided: decisions that whoever replays may not take, which it therefore does not pass over. Raises
    TransitionError where the run has not finished or never reached the step, UnsafeReplayError where the replay would
    repeat what cannot be undone and nobody allows it, and PayloadError where the workflow does not take the payload
    any more.
    """
    _check_finished(acting)
    payload, schedule = _payload(acting)
    begins = _resumption(acting, acting.name_of(from_step), undecided)
    copied = begins.copied if begins else ()
    again = [row for row in acting.rows if row.id not in {step.id for step in copied}]
    blocking = unsafe_steps(again)
    if blocking and not allow_irreversible:
        raise UnsafeReplayError(blocking)
    return ReplayPlan(_request(acting, begins, payload, schedule), _told(begins))


def _check_finished(acting: CommandContext) -> None:
    run = acting.run
    if run.status not in TERMINAL:
        raise acting.refuse(f"the run is {run.status}; only finished runs are replayed.")
    if run.compensation in ("running", "requested"):
        raise acting.refuse("its compensations are still running.")


def _told(begins: Resumption | None) -> JsonObject:
    """Where the replay begins, for the audit."""
    if begins is None:
        return {}
    decisions = {"asked_again": list(begins.asked), "decisions_taken_over": list(begins.taken_over)}
    return {"from_step": begins.step, **{name: steps for name, steps in decisions.items() if steps}}


def _resumption(acting: CommandContext, from_step: str | None, undecided: Collection[str]) -> Resumption | None:
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


def _payload(acting: CommandContext) -> tuple[JsonObject, JsonObject | None]:
    """The run's payload as the workflow takes it now, and what its schedule said. Raises PayloadError."""
    query = sa.select(runs.c.payload, runs.c.schedule).where(runs.c.id == acting.run.id)
    payload, schedule = acting.connection.execute(query).one()
    trigger = acting.known.triggers.get(acting.run.trigger)
    if trigger is None:
        return payload, schedule
    window = datetime.fromisoformat(schedule["intended_window"]) if schedule else None
    return validate_again(trigger, payload, window=window, now=acting.now), schedule


def _request(
    acting: CommandContext,
    begins: Resumption | None,
    payload: JsonObject,
    schedule: JsonObject | None,
) -> NewRunRequest:
    spec, run = acting.known, acting.run
    return NewRunRequest(
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


def _failure_before(rows: Sequence[StepFact], step: str | None) -> ErrorRecord | None:
    """The error that led to the step's last visit, if an error route did."""
    visits = [row for row in rows if row.kind == "step" and row.step == step]
    return max(visits, key=lambda row: row.visit).failure if visits else None


def _rows(connection: sa.Connection, copied: Collection[StepFact]) -> list[dict[str, Any]]:
    """The copied visits as rows of the new run, their outputs in the old order."""
    if not copied:
        return []
    named = {row.id: {"step": row.step, "settings": row.settings.stored()} for row in copied}
    query = sa.select(step_runs).where(step_runs.c.id.in_(named)).order_by(step_runs.c.position)
    found = connection.execute(query).mappings().all()
    return [
        {**row, **named[row["id"]], "id": new_id(), "position": number, "sees": number - 1}
        for number, row in enumerate(found, start=1)
    ]
