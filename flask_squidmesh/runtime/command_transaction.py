"""A control call: checked, on a run that is locked, answered once for each key, and told of after the commit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeAlias, TypedDict, Unpack

import sqlalchemy as sa

from ..clock import Clock
from ..definition.spec import WorkflowSpec
from ..definition.values import ValueNotJsonError, fingerprint
from ..definition.workflow import Registry
from ..engine.adoption import OPEN, renamed
from ..engine.changes import RowsToRead
from ..engine.command_rules import action_facts, allowed, decision_token, open_decisions
from ..engine.command_table import COMMANDS, Command
from ..engine.facts import Decider, DecisionContext, DecisionState, RunFact, StepFact
from ..engine.transitions import TERMINAL
from ..errors import (
    ConflictError,
    ManualActionError,
    PayloadError,
    RunNotFoundError,
    SquidMeshError,
    TransitionError,
    UnknownWorkflowError,
    given,
)
from ..people import Actor, identity
from ..storage import fact_rows
from ..storage.connections import AnySession
from ..storage.database import Database
from ..storage.scope import Scope
from ..storage.summaries import SUMMARY_COLUMNS, RunId, RunSummary, new_id, read_id, summary_from, summary_of
from ..storage.tables import WorkflowRun, audit_events, control_calls, runs, step_runs
from .command_arguments import decider_of, key_of


class _Options(TypedDict, total=False):
    actor: Actor | None
    comment: str | None
    metadata: Mapping[str, object] | None
    session: AnySession | None
    expected: str | None
    idempotency_key: str | None


class CommandOptions(_Options):
    """What every command takes. scope: a run outside it does not exist for the caller."""

    scope: Scope


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandCall:
    """What every control call is given. scope: a run outside it does not exist for the caller. told: what tells it from
    other calls with the same key: who makes it, and with what arguments.
    """

    name: str
    scope: Scope
    run_id: str
    decider: Decider
    expected: str | None = None
    key: str | None = None
    told: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandContext:
    """A control call on a run that is locked, but where it is only checked: everything it may decide on.

    rows: the run's step runs, by the names that their steps have today. stored: the same by those they are kept under.
    patient_until: when a run has to have been cancelled for its executing steps to be given up now.
    """

    registry: Registry
    now: datetime
    patient_until: datetime
    connection: sa.Connection
    call: CommandCall
    run: RunFact
    rows: Sequence[StepFact]
    stored: Sequence[StepFact]
    spec: WorkflowSpec | None

    @property
    def known(self) -> WorkflowSpec:
        """The workflow. Raises UnknownWorkflowError where it is not registered."""
        return self.spec or self.registry.get(self.run.workflow)

    def state(self, context: DecisionContext, spec: WorkflowSpec | None = None) -> DecisionState:
        """What a decision about the run is taken on. spec: `known`, where the decision needs the workflow's steps."""
        spec = spec or self.spec or _unregistered(self.run)
        return DecisionState(spec, self.run, self.now, new_id, context._replace(read=self._by_status()))

    def _by_status(self) -> Mapping[RowsToRead, Sequence[StepFact]]:
        visits = [row for row in self.stored if row.kind == "step"]
        return {
            "open": [row for row in visits if row.status in OPEN],
            "completed": [row for row in visits if row.status == "completed"],
        }

    def name_of(self, step: str | None) -> str | None:
        """What a step is called today that may be said by a name that it had. Raises ManualActionError for no name."""
        if step is not None and not isinstance(step, str):
            raise ManualActionError("step", f"{self.call.name}: a step is named by text, not by {given(step)}.")
        return step if step is None or self.spec is None else self.spec.step_names.get(step, step)

    def refuse(self, why: str) -> TransitionError:
        """The error that says why the call is not possible now, and what is."""
        possible = allowed(action_facts(self.run, self.rows, self.spec, self.patient_until))
        now = f"Possible now: {', '.join(possible)}." if possible else "Nothing can be done with it now."
        return TransitionError(f"{self.call.name}: {why} {now}", status=self.run.status, allowed=possible)


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandResult:
    """What a control call came to."""

    answer: RunSummary
    told: tuple[Callable[[], None], ...] = ()


Decided: TypeAlias = "tuple[str, Sequence[Callable[[], None]]]"
"""The run that it concerns, and what is to be done after the commit."""

CommandRule = Callable[[CommandContext], Decided]


class CommandTransaction:
    """Carries out control calls. patience: how long after a cancellation an executing step may be given up. most: bytes
    of JSON that what a person says may take.
    """

    def __init__(self, *, database: Database, clock: Clock, registry: Registry, patience: timedelta, most: int) -> None:
        self._database, self._clock, self._registry = database, clock, registry
        self._patience, self._most = patience, most

    def call_on(
        self,
        command: Command,
        run_id: RunId,
        arguments: Mapping[str, object],
        **said: Unpack[CommandOptions],
    ) -> CommandCall:
        """Check what the caller said.

        arguments: those of this very call, by which one that is made again is known.
        """
        found = read_id(run_id)
        if found is None:
            raise RunNotFoundError(run_id)
        actor, comment, metadata = said.get("actor"), said.get("comment"), said.get("metadata")
        decider = decider_of(actor, comment, metadata, actor_required=command.names_actor, most=self._most)
        key = said.get("idempotency_key")
        return CommandCall(
            name=command.name,
            scope=said["scope"],
            run_id=found,
            decider=decider,
            expected=said.get("expected"),
            key=key_of(key),
            told="" if key is None else _told(decider, arguments),
        )

    def carry_out(
        self,
        call: CommandCall,
        rule: CommandRule,
        session: AnySession | None = None,
        check: Callable[[CommandContext], object] | None = None,
    ) -> RunSummary:
        """Carry out one control call in a transaction of our own, or in the session's.

        check: raises PayloadError where what the person filled in cannot do; asked before the run is locked, so that
        it keeps nobody waiting, and by the rule once more.
        """
        if check is not None:
            self._check_unlocked(call, check, session)
        return self._database.in_transaction(
            session, lambda connection: self._acted(connection, call, rule), _tell
        ).answer

    def _check_unlocked(
        self, call: CommandCall, check: Callable[[CommandContext], object], session: AnySession | None
    ) -> None:
        looking = self._database.read() if session is None else nullcontext(self._database.seen_by(session))
        with looking as connection:
            run = fact_rows.run_fact(connection, call.run_id, *call.scope.within(WorkflowRun))
            try:
                if run is not None and _stored(connection, call) is None:
                    acting = self._context(connection, call, run)
                    _check_decision_token(acting)
                    check(acting)
            except PayloadError:
                raise
            except SquidMeshError:
                return  # it is said under the lock, where nothing changes any more

    def _acted(self, connection: sa.Connection, call: CommandCall, rule: CommandRule) -> CommandResult:
        run = fact_rows.run_fact(connection, call.run_id, *call.scope.within(WorkflowRun), lock=True)
        if run is None:
            raise RunNotFoundError(call.run_id)
        stored = _stored(connection, call)
        if stored is not None:
            return CommandResult(answer=stored)
        acting = self._context(connection, call, run)
        _check_decision_token(acting)
        concerned, told = rule(acting)
        answer = summary_in(connection, concerned)
        self._store(connection, call, answer)
        return CommandResult(answer=answer, told=tuple(told))

    def _context(self, connection: sa.Connection, call: CommandCall, run: RunFact) -> CommandContext:
        rows = fact_rows.step_facts(connection, step_runs.c.run_id == call.run_id)
        try:
            spec = self._registry.get(run.workflow)
        except UnknownWorkflowError:
            spec = None
        named = [renamed(spec, row) for row in rows] if spec else rows
        now = self._clock.now()
        return CommandContext(
            registry=self._registry,
            now=now,
            patient_until=now - self._patience,
            connection=connection,
            call=call,
            run=run,
            rows=named,
            stored=rows,
            spec=spec,
        )

    def _store(self, connection: sa.Connection, call: CommandCall, answer: RunSummary) -> None:
        if call.key is None:
            return
        row = {"run_id": call.run_id, "call": call.name, "key": call.key, "fingerprint": call.told}
        connection.execute(sa.insert(control_calls).values(**row, answer=answer.to_dict(), at=self._clock.now()))


def _told(decider: Decider, arguments: Mapping[str, object]) -> str:
    """The same for the same person and arguments; "", which no call is kept with, where no call could succeed."""
    try:
        return fingerprint([identity(decider.actor), decider.comment, decider.metadata, arguments])
    except ValueNotJsonError:
        return ""


def _tell(acted: CommandResult) -> None:
    for then in acted.told:
        then()


def summary_in(connection: sa.Connection, run_id: str) -> RunSummary:
    """The run as this transaction sees it."""
    return summary_of(connection.execute(sa.select(*SUMMARY_COLUMNS).where(runs.c.id == run_id)).mappings().one())


def _stored(connection: sa.Connection, call: CommandCall) -> RunSummary | None:
    if call.key is None:
        return None
    query = sa.select(control_calls.c.answer, control_calls.c.fingerprint).where(
        control_calls.c.run_id == call.run_id, control_calls.c.call == call.name, control_calls.c.key == call.key
    )
    found = connection.execute(query).one_or_none()
    if found is None:
        return None
    if found.fingerprint != call.told:
        raise ConflictError(
            f"{call.name}: the idempotency key was used for this run by somebody else or with other arguments; nothing "
            "was done. Repeat the call as it was made, or use a new key.",
        )
    return summary_from(found.answer)


def _check_decision_token(acting: CommandContext) -> None:
    """Raise ConflictError where what the page showed as open is not open any more."""
    expected, run = acting.call.expected, acting.run
    if expected is None:
        return
    token, before = (
        decision_token(run.status, open_decisions(rows, acting.spec), run.replayed_as_id)
        for rows in (acting.rows, acting.stored)
    )
    unfinished = COMMANDS[acting.call.name].expects == "unfinished"
    holds = run.status not in TERMINAL if unfinished else expected in (token, before)
    if holds:
        return
    last = _last_event(acting)
    raise ConflictError(
        f"{acting.call.name}: the run has moved on since the page was shown; nothing was done. "
        f"Its status is {run.status} now. Look at it again and decide anew.",
        current={"status": run.status, "decision": token, "last_event": last},
    )


def _last_event(acting: CommandContext) -> dict[str, object] | None:
    columns = [audit_events.c[name] for name in ("type", "step", "actor", "comment", "at")]
    query = (
        sa.select(*columns).where(audit_events.c.run_id == acting.run.id).order_by(audit_events.c.id.desc()).limit(1)
    )
    row = acting.connection.execute(query).mappings().first()
    return {**row, "at": row["at"].isoformat()} if row else None


def _unregistered(run: RunFact) -> WorkflowSpec:
    """Stands in for a workflow that this process does not know, for control_calls that need none of its steps."""
    return WorkflowSpec(
        name=run.workflow,
        title=run.workflow,
        description="",
        style="flow",
        triggers={},
        steps={},
        entry=(),
        fingerprint="",
    )
