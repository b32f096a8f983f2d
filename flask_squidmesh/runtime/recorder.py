"""Recording what came of a step or was decided.

It is one transaction: the outcome, the run's state, the audit, the next step run and its dispatch or claim. Where
nothing has to be read for it, which the run's revision tells, it is one statement; else the run is locked first.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final, NamedTuple, Protocol, assert_never

import sqlalchemy as sa

from ..clock import Clock
from ..definition import state_expressions
from ..definition.spec import WorkflowSpec
from ..definition.values import JsonObject
from ..engine.adoption import renamed
from ..engine.changes import Changes, NewStepRun, RowsToRead
from ..engine.decide import decide
from ..engine.facts import (
    AttemptCompleted,
    AttemptFailed,
    DecisionContext,
    DecisionState,
    Fact,
    InputRefused,
    RunFact,
    StepFact,
    entered,
    fact_after,
)
from ..engine.transitions import STOPPING, TERMINAL
from ..storage import fact_rows, work_queue, write_batch
from ..storage.database import Database
from ..storage.summaries import new_id
from ..storage.tables import step_runs
from ..storage.work_queue import Claim
from ..storage.write_batch import WriteBatch
from .definition_change import Adopter
from .dispatcher import Dispatcher, HandOver, intents
from .outbox import Outbox
from .outcomes import Outcome, StepBlocked, StepCompleted, StepFailed
from .signal_publisher import SignalPublisher


class Awaiting(Protocol):
    """Looks for events that came before, once waits for them have opened."""

    def __call__(self, run_id: str, waits: Sequence[str], *, cancels: bool) -> None:
        """waits: their step runs. cancels: whether the run is one that an event cancels."""


def _nobody_looks(run_id: str, waits: Sequence[str], *, cancels: bool) -> None:
    """What stands for it until it is composed."""


def awaits_in(changes: Changes) -> list[str]:
    """The visits at which waits for events have opened."""
    return [each.step_run_id for each in changes.opened if each.awaits is not None]


class Recorded(NamedTuple):
    """What a transaction recorded: the run before it, the changes, the work to hand over, the claim to go on with."""

    run: RunFact
    changes: Changes
    handed: HandOver
    onward: Claim | None

    @property
    def status(self) -> str:
        """The run's status afterwards."""
        return self.changes.run.get("status", self.run.status)


class Recorder:
    """Writes down what came of a step or was decided, and tells of it after the commit.

    outbox: takes what subscribers are to be told. awaiting: called after the commit where waits for events have opened.
    claim_timeout: how long a claim holds that goes on with the next step. hides: whether what has this name is left out
    of prompts.
    """

    def __init__(
        self,
        *,
        database: Database,
        clock: Clock,
        dispatcher: Dispatcher,
        publisher: SignalPublisher,
        adopter: Adopter,
        outbox: Outbox,
        claim_timeout: timedelta,
        hides: Callable[[str], bool],
    ) -> None:
        self._database, self._clock, self._dispatcher, self._publisher = database, clock, dispatcher, publisher
        self._adopter, self._outbox, self._claim_timeout, self._hides = adopter, outbox, claim_timeout, hides
        self.awaiting: Awaiting = _nobody_looks

    def record(self, spec: WorkflowSpec, claim: Claim, outcome: Outcome, *, until: datetime | None) -> Recorded:
        """Write the outcome and what follows from it. Raises ClaimLostError where the claim is somebody else's now.

        until: the time up to which the delivery may go on with another step; None where it may not.
        """
        recorded = self._record_briefly(spec, claim, outcome, until=until)
        if recorded is not None:
            return recorded
        with self._database.write() as connection:
            return self.record_in(connection, spec, claim, outcome, until=until)

    def record_in(
        self,
        connection: sa.Connection,
        spec: WorkflowSpec,
        claim: Claim,
        outcome: Outcome,
        *,
        until: datetime | None,
    ) -> Recorded:
        """The same in a transaction that goes on: the run is locked and read before anything is decided."""
        run = work_queue.run_under(connection, claim)
        if run is None:
            raise write_batch.ClaimLostError
        if run.follows == spec.fingerprint:
            context = self._around(connection, spec, run, claim, outcome)
            state = DecisionState(spec, run, self._clock.now(), new_id, context)
            changes = decided(connection, state, _fact(claim, claim.visit, outcome))
        if run.follows != spec.fingerprint or changes.reads:
            state = self._state_anew(connection, spec, run, claim, outcome)
            changes = decided(connection, state, _fact(claim, renamed(spec, claim.visit), outcome))
        onward = self._in_place(state, claim, changes, until)
        return self.write(
            connection, state, changes, held=self._held(claim, state.now), onward=onward, known=[claim.visit]
        )

    def write(
        self,
        connection: sa.Connection,
        state: DecisionState,
        changes: Changes,
        *,
        held: write_batch.HeldClaim | None = None,
        onward: Claim | None = None,
        known: Sequence[StepFact] = (),
    ) -> Recorded:
        """Write what was decided, and hand over what it calls for.

        known: the step runs whose work may be due once more, or later.
        """
        assert not changes.reads, "a decision is written once it is whole"
        handed = self._dispatcher.announce_work(intents(state.run, changes, known))
        write_batch.apply(connection, self._batch(state, changes, handed, held))
        if handed.left:
            handed = self._dispatcher.hand_over_within(connection, handed.left)
        self._publisher.sequencer.take(state.run)
        return Recorded(run=state.run, changes=changes, handed=handed, onward=onward)

    def after_commit(self, recorded: Recorded, raised: BaseException | None = None) -> None:
        """Send the signals and hand over. raised: what the step that failed raised, for the log."""
        run, publisher = recorded.run, self._publisher
        told = publisher.sequencer.tell(run, lambda: publisher.announce(run, recorded.changes, raised))
        self._dispatcher.finish(told, recorded.handed)
        self._outbox.committed(recorded.changes)
        if waits := awaits_in(recorded.changes):
            self.awaiting(run.id, waits, cancels=False)

    def surroundings(
        self,
        connection: sa.Connection,
        spec: WorkflowSpec,
        run: RunFact,
        following: Collection[str],
        *,
        payload: JsonObject,
        output: JsonObject,
        keys: frozenset[str] = frozenset(),
        decisions: Sequence[StepFact] = (),
    ) -> DecisionContext:
        """What deciding about the steps that may follow needs: values for conditions and prompts, visits, joins."""
        lookup = _lookup(spec, run, following, output, keys)
        outputs = (
            fact_rows.outputs(connection, run.id, sees=run.position, keys=lookup.missing) if lookup.missing else {}
        )
        redefined = run.redefined > 0 and spec.style == "flow"
        return DecisionContext(
            state={**payload, **outputs, **output} if lookup.wanted else {},
            visits=fact_rows.visits(connection, run.id, lookup.entered),
            lasting=_lasting(connection, run.id) if redefined else frozenset(),
            joins=fact_rows.joins(connection, run.id, lookup.joined),
            decisions=decisions,
            hides=self._hides,
        )

    def _state_anew(
        self, connection: sa.Connection, spec: WorkflowSpec, run: RunFact, claim: Claim, outcome: Outcome
    ) -> DecisionState:
        """For a decision on all rows of the run, which followed another definition than this process knows."""
        output = outcome.output if isinstance(outcome, StepCompleted) else {}
        rows = fact_rows.step_facts(connection, step_runs.c.run_id == run.id)
        return self._adopter.adopting(connection, spec, run, rows, claim.payload, output)

    def _record_briefly(
        self, spec: WorkflowSpec, claim: Claim, outcome: Outcome, *, until: datetime | None
    ) -> Recorded | None:
        """Write the outcome as one statement, or on PostgreSQL where joins follow in two round trips.

        None where that does not suffice, or the run was not found as expected; then nothing was written.
        """
        run, visit = claim.run, claim.visit
        if not isinstance(outcome, StepCompleted) or visit.kind != "step" or run.status != "running":
            return None
        if run.follows != spec.fingerprint:
            return None
        lookup = _lookup(
            spec, run, spec.following(visit.step), outcome.output, state_expressions.keys(spec.steps[visit.step].ok)
        )
        state = {**claim.payload, **outcome.output} if lookup.wanted else {}
        if not lookup.reads:
            return self._record_unread(spec, claim, outcome, state, until)
        if lookup.missing or lookup.entered or self._database.dialect == "sqlite":
            return None
        return self._record_joining(spec, claim, outcome, state, lookup.joined, until)

    def _record_unread(
        self, spec: WorkflowSpec, claim: Claim, outcome: Outcome, state: JsonObject, until: datetime | None
    ) -> Recorded | None:
        """Decide on the facts that the claim came with, and write if the run still has their revision."""
        around = DecisionContext(state=state, hides=self._hides)
        draft = self._draft(spec, claim.run, claim, outcome, around, until)
        if draft is None or not self._publisher.sequencer.written(
            claim.run, partial(self._database.commit, draft.batch)
        ):
            return None
        return draft.recorded

    def _record_joining(
        self,
        spec: WorkflowSpec,
        claim: Claim,
        outcome: Outcome,
        state: JsonObject,
        joined: Collection[str],
        until: datetime | None,
    ) -> Recorded | None:
        """Lock the run, read how many dependencies the joins wait for, and write."""
        draft: _Draft | None = None

        def drafted(found: Sequence[Sequence[Any]], joins: Sequence[Sequence[Any]]) -> WriteBatch | None:
            nonlocal draft
            run = RunFact._make(found[0]) if found else None
            if run is None or run.status != "running" or run.follows != spec.fingerprint:
                return None
            around = DecisionContext(state=state, joins=fact_rows.joins_of(joins), hides=self._hides)
            draft = self._draft(spec, run, claim, outcome, around, until)
            if draft is not None:
                self._publisher.sequencer.take(run)
            return draft and draft.batch

        dialect, written = self._database.dialect, False
        asked = [work_queue.run_asked(dialect, claim), fact_rows.joins_asked(dialect, claim.run.id, joined)]
        try:
            written = self._database.read_then_write(asked, drafted)
        finally:
            if draft is not None and not written:
                self._publisher.sequencer.forget(draft.recorded.run)
        return draft.recorded if draft is not None and written else None

    def _draft(
        self,
        spec: WorkflowSpec,
        run: RunFact,
        claim: Claim,
        outcome: Outcome,
        around: DecisionContext,
        until: datetime | None,
    ) -> _Draft | None:
        """Decide. None where one batch is not enough: more has to be read, the executor enqueues in the transaction, or
        what the run counts is not of this definition."""
        state = DecisionState(spec, run, self._clock.now(), new_id, around)
        changes = decide(state, _fact(claim, claim.visit, outcome))
        if changes.reads:
            return None
        onward = self._in_place(state, claim, changes, until)
        handed = self._dispatcher.announce_work(intents(run, changes))
        if handed.left and self._dispatcher.enqueues_within():
            return None
        batch = self._batch(state, changes, handed, self._held(claim, state.now))
        return _Draft(Recorded(run=run, changes=changes, handed=handed, onward=onward), batch)

    def _batch(
        self, state: DecisionState, changes: Changes, handed: HandOver, held: write_batch.HeldClaim | None
    ) -> WriteBatch:
        told = self._outbox.entries(state.run, changes, state.now)
        return write_batch.batch_of(state.run, changes, now=state.now, held=held, notice=handed.notice, told=told)

    def _held(self, claim: Claim, now: datetime) -> write_batch.HeldClaim:
        return write_batch.HeldClaim(
            dispatch_id=claim.dispatch_id,
            claim_id=claim.claim_id,
            step_run_id=claim.visit.id,
            expires_at=self._database.from_now(self._claim_timeout, now),
        )

    def _in_place(self, state: DecisionState, claim: Claim, changes: Changes, until: datetime | None) -> Claim | None:
        """Claim the first step that was entered and is due, and go on with it under the same claim."""
        spec, run, now = state.spec, state.run, state.now
        if until is None or now >= until or changes.run.get("status", run.status) in STOPPING:
            return None
        row = next((row for row in changes.entered if _may_follow(spec, row)), None)
        if row is None or claim.visit.id not in changes.ended or not self._dispatcher.continues(run, row.step):
            return None
        row.claimed = True
        if spec.style == "flow":
            changes.run["attempt"] = 1
        after = fact_after(run, changes.run, run.revision + 1)
        return claim._replace(run=after, visit=entered(run.id, row), started_at=now)

    def _around(
        self, connection: sa.Connection, spec: WorkflowSpec, run: RunFact, claim: Claim, outcome: Outcome
    ) -> DecisionContext:
        """Read what deciding about this outcome needs, and no more."""
        visit = claim.visit
        ended = run.status in TERMINAL or visit.kind == "compensation"
        compensations = fact_rows.compensations(connection, run.id) if ended else []
        if visit.kind == "compensation" or run.status in STOPPING or isinstance(outcome, StepBlocked):
            return DecisionContext(compensations=compensations)
        output = outcome.output if isinstance(outcome, StepCompleted) else {}
        return self.surroundings(
            connection,
            spec,
            run,
            spec.following(visit.step),
            payload=claim.payload,
            output=output,
            keys=state_expressions.keys(spec.steps[visit.step].ok),
        )


class _Draft(NamedTuple):
    """What is recorded once the batch is written."""

    recorded: Recorded
    batch: WriteBatch


def _fact(claim: Claim, visit: StepFact, outcome: Outcome) -> Fact:
    """What happened. visit: the claim's, by the name that its step has today."""
    match outcome:
        case StepCompleted():
            return AttemptCompleted(visit, outcome.output, claim.performed(outcome.input))
        case StepFailed():
            return AttemptFailed(visit, outcome.failure, claim.performed(outcome.input))
        case StepBlocked():
            return InputRefused(visit, outcome.error)
        case _:
            assert_never(outcome)


def decided(connection: sa.Connection, state: DecisionState, fact: Fact) -> Changes:
    """Decide, and read the rows that this turns out to need, but for all of the run's."""
    changes = decide(state, fact)
    while changes.reads and "all" not in changes.reads:
        read = {rows: _READ[rows](connection, state.run.id) for rows in changes.reads}
        state = state._replace(context=state.context._replace(read=read))
        changes = decide(state, fact)
    return changes


_READ: Final[Mapping[RowsToRead, Callable[[sa.Connection, str], Sequence[StepFact]]]] = {
    "open": fact_rows.open_steps,
    "completed": fact_rows.completed_steps,
}


def _may_follow(spec: WorkflowSpec, row: NewStepRun) -> bool:
    step = spec.steps.get(row.step)
    return row.kind == "step" and row.delivered and row.due_at is None and step is not None and not step.manual


NO_KEYS: Final = frozenset[str]()


class _Lookup(NamedTuple):
    """What deciding about the steps that may follow needs of the run's past.

    wanted: keys of the state, missing: those of them that the step itself has not just returned. entered: steps whose
    visits are counted, joined: steps whose open dependencies are.
    """

    wanted: frozenset[str]
    missing: frozenset[str]
    entered: frozenset[str]
    joined: frozenset[str]

    @property
    def reads(self) -> bool:
        """Whether the database has to be asked."""
        return bool(self.missing or self.entered or self.joined)


def _lookup(
    spec: WorkflowSpec,
    run: RunFact,
    following: Collection[str],
    output: JsonObject,
    keys: frozenset[str],
) -> _Lookup:
    redeployed = run.redefined > 0 or run.follows != spec.fingerprint
    if redeployed and spec.style == "flow":  # of which any may follow, as what a deploy moved is not done twice
        following, keys = spec.steps, keys.union(*(state_expressions.keys(step.ok) for step in spec.steps.values()))
    steps = [spec.steps[name] for name in following if name in spec.steps]
    wanted = keys.union(*(spec.opening_keys.get(step.name, NO_KEYS) for step in steps))
    return _Lookup(
        wanted=wanted,
        missing=wanted - output.keys(),
        entered=frozenset(step.name for step in steps if redeployed or step.name in spec.revisited),
        joined=frozenset(step.name for step in steps if len(step.after) > 1 or (redeployed and step.after)),
    )


def _lasting(connection: sa.Connection, run_id: str) -> frozenset[str]:
    """The steps that completed and must not be repeated unasked."""
    return frozenset(row.step for row in fact_rows.completed_steps(connection, run_id) if row.lasts)
