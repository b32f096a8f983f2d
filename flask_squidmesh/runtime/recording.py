"""Recording what came of a step or was decided.

It is one transaction: the outcome, the run's state, the audit, the next step run and its dispatch or claim.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from ..engine.changes import Changes, NewStepRun
from ..engine.facts import RunFact, StepFact
from ..engine.neighbourhood import Neighbourhood
from ..engine.progress import Progress
from ..engine.status import TERMINAL
from ..store import claiming, loading, writing
from ..store.claiming import Claim
from ..store.identity import new_id
from ..workflow import conditions, templates
from ..workflow.spec import WorkflowSpec
from .announcing import announce
from .dispatching import HandOver, finish, hand_over_within, intents
from .outcomes import Completed, Outcome

if TYPE_CHECKING:
    from .runtime import Runtime


logger = logging.getLogger("flask_squidmesh")

_RUN_NAMES = {field.name for field in fields(RunFact)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What a transaction recorded: the run before it, the changes, the work to hand over, the claim to go on with."""

    run: RunFact
    changes: list[Changes]
    handed: HandOver
    onward: Claim | None

    @property
    def status(self) -> str:
        """The run's status afterwards."""
        status: str = self.run.status
        for changes in self.changes:
            status = changes.run.get("status", status)
        return status


def record(
    runtime: Runtime,
    connection: sa.Connection,
    spec: WorkflowSpec,
    claim: Claim,
    outcome: Outcome,
    *,
    may_continue: bool,
) -> Recorded:
    """Write the outcome and what follows from it. Raises ClaimLostError where the claim is somebody else's now."""
    run = claiming.run_under(connection, claim)
    if run is None:
        raise writing.ClaimLostError
    around = _around(runtime, connection, spec, run, claim, outcome)
    progress = Progress(spec, run, now=runtime.clock.now(), new_id=new_id, around=around)
    performed = claim.performed(outcome.input)
    if isinstance(outcome, Completed):
        progress.complete(claim.visit, outcome.output, performed)
    else:
        progress.fail(claim.visit, outcome.failure, performed)
    onward = _in_place(runtime, spec, run, claim, progress.changes) if may_continue else None
    held = writing.Held(
        dispatch_id=claim.dispatch_id,
        claim_id=claim.claim_id,
        step_run_id=claim.visit.id,
        expires_at=runtime.database.now(timedelta(seconds=runtime.settings.claim_timeout)),
    )
    return write(runtime, connection, progress, held=held, onward=onward, visit=claim.visit)


def write(
    runtime: Runtime,
    connection: sa.Connection,
    progress: Progress,
    *,
    held: writing.Held | None = None,
    onward: Claim | None = None,
    visit: StepFact | None = None,
) -> Recorded:
    """Write what was decided; where it ended the run unfinished, stop what is open and plan the compensations."""
    run, queue, now = progress.run, runtime.settings.queue, progress.now
    released = {visit.id: (visit.kind, visit.step)} if visit else {}
    changes = [progress.changes]
    writing.apply(connection, run.id, progress.changes, now=now, queue=queue, held=held)
    if progress.halted:
        changes.append(_halt(connection, progress))
        writing.apply(connection, run.id, changes[-1], now=now, queue=queue)
    wanted = [intent for each in changes for intent in intents(run.id, each, released)]
    handed = hand_over_within(runtime, connection, wanted)
    runtime.turns.take(run)
    return Recorded(run=run, changes=changes, handed=handed, onward=onward)


def after_commit(runtime: Runtime, recorded: Recorded) -> None:
    """Send the signals and hand over."""
    facts: dict[str, Any] = {}
    run = recorded.run
    with runtime.turns.turn(run):
        for changes in recorded.changes:
            facts = announce(runtime, run, changes)
            run = replace(run, status=facts["status"])
    finish(runtime, facts, recorded.handed)


def _halt(connection: sa.Connection, progress: Progress) -> Changes:
    decided = progress.changes
    kept = ("status", "compensation", "needs", "needs_count", "needs_due_at", "needs_since")
    progress.changes = Changes(run={name: value for name, value in decided.run.items() if name in kept})
    progress.stop(loading.open_steps(connection, progress.run.id))
    if progress.compensates:
        progress.compensate(loading.completed_steps(connection, progress.run.id))
    rest, progress.changes = progress.changes, decided
    return rest


def _in_place(runtime: Runtime, spec: WorkflowSpec, run: RunFact, claim: Claim, changes: Changes) -> Claim | None:
    """Claim the first step that was entered and is due, and go on with it under the same claim."""
    if changes.run.get("status", run.status) in TERMINAL | {"cancelling"}:
        return None
    row = next((row for row in changes.entered if _may_follow(spec, row)), None)
    if row is None or claim.visit.id not in changes.ended or not _continues(runtime, run, row.step):
        return None
    row.claimed = True
    if spec.style == "flow":
        changes.run["attempt"] = 1
    after = replace(run, **{name: value for name, value in changes.run.items() if name in _RUN_NAMES})
    return replace(claim, run=after, visit=_visit_of(run, row), started_at=runtime.clock.now())


def _continues(runtime: Runtime, run: RunFact, step: str) -> bool:
    try:
        return bool(runtime.executor.continues(run, step))
    except Exception:  # the host's code; the step that was done is recorded all the same
        logger.exception("squidmesh: run %s: the executor could not say whether to go on with step %s", run.id, step)
        return False


def _may_follow(spec: WorkflowSpec, row: NewStepRun) -> bool:
    return row.kind == "step" and row.delivered and row.due_at is None and not spec.steps[row.step].manual


def _visit_of(run: RunFact, row: NewStepRun) -> StepFact:
    return StepFact(
        id=row.id,
        run_id=run.id,
        kind=row.kind,
        step=row.step,
        visit=row.visit,
        status="running",
        sees=row.sees,
        position=None,
        missing=0,
        attempts=1,
        abandoned=0,
        settings=row.settings,
        failure=row.failure,
        decision=None,
        due_at=None,
        decide_by=None,
        started_at=None,
    )


def _around(
    runtime: Runtime, connection: sa.Connection, spec: WorkflowSpec, run: RunFact, claim: Claim, outcome: Outcome
) -> Neighbourhood:
    """Read what deciding about this outcome needs, and no more."""
    visit = claim.visit
    ended = run.status in TERMINAL or visit.kind == "compensation"
    compensations = loading.compensations(connection, run.id) if ended else []
    if visit.kind == "compensation" or run.status in TERMINAL | {"cancelling"}:
        return Neighbourhood(compensations=compensations)
    step = spec.steps[visit.step]
    following = {route.target for route in step.ok} | ({step.error.target} if step.error else set())
    output = outcome.output if isinstance(outcome, Completed) else {}
    return surroundings(
        runtime,
        connection,
        spec,
        run,
        following | set(spec.dependents[step.name]),
        payload=claim.payload,
        output=output,
        keys=conditions.keys(step.ok),
    )


def surroundings(
    runtime: Runtime,
    connection: sa.Connection,
    spec: WorkflowSpec,
    run: RunFact,
    following: Collection[str],
    *,
    payload: Mapping[str, Any],
    output: Mapping[str, Any],
    keys: frozenset[str] = frozenset(),
    decisions: Sequence[StepFact] = (),
) -> Neighbourhood:
    """What deciding about the steps that may follow needs: values for conditions and prompts, visits, joins."""
    steps = [spec.steps[name] for name in following if name in spec.steps]
    wanted = keys.union(*(templates.names(step.prompt) for step in steps if step.prompt))
    missing = wanted - output.keys()
    redeployed = run.fingerprint != spec.fingerprint
    entered = {step.name for step in steps if redeployed or step.name in spec.revisited}
    joined = {step.name for step in steps if len(step.after) > 1 or (redeployed and step.after)}
    outputs = loading.outputs(connection, run.id, sees=run.position, keys=missing) if missing else {}
    return Neighbourhood(
        state={**payload, **outputs, **output} if wanted else {},
        visits=loading.visits(connection, run.id, entered),
        joins=loading.joins(connection, run.id, joined),
        decisions=decisions,
        hides=runtime.hides,
    )
