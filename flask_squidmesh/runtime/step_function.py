"""Running a step's function: what it sees of its run, the context it has, its outcome caught."""

from __future__ import annotations

import decimal
import inspect
import logging
import os
import sys
from collections.abc import Callable, Mapping
from contextvars import copy_context
from functools import partial
from types import MappingProxyType, TracebackType
from typing import Any, Final, NamedTuple, NoReturn, TypeVar

import sqlalchemy as sa
from flask import Flask
from pydantic import BaseModel

from ..definition.binding import bind, needed_by
from ..definition.context import CompensationContext, StepContext
from ..definition.spec import Compensation, StepSpec, WorkflowSpec
from ..definition.state_expressions import names, render
from ..definition.values import JsonObject, JsonValue, ValueNotJsonError, size_of, step_output
from ..engine.adoption import entered_as, names_of
from ..engine.facts import Failure
from ..host import HostApp
from ..storage import fact_rows
from ..storage.database import Database
from ..storage.tables import runs, step_runs
from ..storage.work_queue import Claim
from .claim_renewal import ClaimKeeper
from .outcomes import (
    MOST_DETAILS,
    Outcome,
    StepCompleted,
    StepFailed,
    blocked_by,
    error_record,
    failure_of,
    let_ctrl_c_through,
    let_shutdown_through,
    log_error,
    safely,
)
from .run_starter import RunStarter
from .signal_publisher import SignalPublisher, signalled
from .uncommitted_rows import left_in

Outputs = list[tuple[str, JsonObject]]


class VisibleState(NamedTuple):
    """Payload and outputs, merged, the newest winning.

    disputed: keys that two steps returned which ran side by side, with both steps.
    """

    state: JsonObject
    disputed: Mapping[str, tuple[str, str]] = MappingProxyType({})


class RunState:
    """A run's outputs as the steps of one delivery see them. What was read or made once is not read again."""

    def __init__(self, spec: WorkflowSpec, database: Database, claims: ClaimKeeper) -> None:
        self._spec, self._database, self._claims = spec, database, claims
        self._known: dict[str, JsonValue] = {}
        self._read: set[str] = set()

    def at(self, claim: Claim, keys: frozenset[str] | None) -> dict[str, JsonValue]:
        """Payload and outputs that the claimed visit may see, at least for these keys."""
        return dict(self.seen(claim, keys).state)

    def seen(self, claim: Claim, keys: frozenset[str] | None) -> VisibleState:
        """The same, with what is disputed of it."""
        base = {**claim.payload, **({"schedule": dict(claim.schedule)} if claim.schedule else {})}
        if self._spec.style == "dependency" and claim.visit.kind == "step":
            return self._of_ancestors(claim, keys, base)
        if keys is None:
            return VisibleState(state=base | self._load(claim, None))
        unknown = keys - self._known.keys() - self._read
        if unknown:
            self._known = self._load(claim, unknown) | self._known
            self._read |= unknown
        return VisibleState(state=base | {key: value for key, value in self._known.items() if key in keys})

    def add(self, output: JsonObject) -> None:
        """A step of this delivery completed with this output."""
        self._known.update(output)

    def _of_ancestors(self, claim: Claim, keys: frozenset[str] | None, base: dict[str, JsonValue]) -> VisibleState:
        ancestors = self._spec.ancestors.get(claim.visit.step, frozenset())
        sources: dict[str, list[str]] = {}
        # A newer version may have renamed them since this process claimed the visit.
        names = frozenset[str]().union(*(names_of(self._spec, step) for step in ancestors))
        for step, output in self._outputs(claim, keys, names):
            for key in output.keys() if keys is None else output.keys() & keys:
                base[key] = output[key]
                sources.setdefault(key, []).append(self._spec.step_names[step])
        disputed = {key: both for key, steps in sources.items() if (both := self._side_by_side(steps))}
        return VisibleState(state=base, disputed=disputed)

    def _side_by_side(self, steps: list[str]) -> tuple[str, str] | None:
        """Two of the steps of which none waits for the other, nor a third for both."""
        above = [self._spec.ancestors.get(step, frozenset()) for step in steps]
        last = sorted({step for step in steps if not any(step in others for others in above)})
        return (last[0], last[1]) if len(last) > 1 else None

    def _outputs(self, claim: Claim, keys: frozenset[str] | None, steps: frozenset[str]) -> Outputs:
        if claim.visit.sees == 0 or keys == frozenset():
            return []

        def outputs() -> Outputs:
            with self._database.read() as connection:
                sees = claim.visit.sees
                return fact_rows.outputs_of(connection, claim.run.id, sees=sees, keys=keys, steps=steps)

        return self._claims.until_lost(claim, "reading its state", outputs)

    def _load(self, claim: Claim, keys: frozenset[str] | None) -> dict[str, JsonValue]:
        if claim.visit.sees == 0 or keys == frozenset():
            return {}

        def outputs() -> dict[str, JsonValue]:
            with self._database.read() as connection:
                return fact_rows.outputs(connection, claim.run.id, sees=claim.visit.sees, keys=keys)

        return self._claims.until_lost(claim, "reading its state", outputs)


Performed = TypeVar("Performed")

step_logger = logging.getLogger("flask_squidmesh.steps")


def in_own_context(perform: Callable[..., Performed], *given: Any) -> Performed:
    """Have it performed with context variables of its own, and decimal settings, so that what it sets ends with it."""

    def act() -> Performed:
        decimal.setcontext(decimal.getcontext().copy())
        return perform(*given)

    return copy_context().run(act)


class StepPerformer:
    """Calls the functions of steps. hides: whether what has this name is left out of logs."""

    def __init__(
        self,
        *,
        host: HostApp,
        database: Database,
        claims: ClaimKeeper,
        publisher: SignalPublisher,
        starter: RunStarter,
        hides: Callable[[str], bool],
    ) -> None:
        self._host, self._app, self._settings = host, host.app, host.settings
        self._database, self._claims = database, claims
        self._publisher, self._starter, self._hides = publisher, starter, hides

    def perform(self, spec: WorkflowSpec, claim: Claim, state: RunState) -> Outcome:
        """Perform the claimed attempt in contexts of its own, outside any transaction of ours."""
        return in_own_context(self._performed, spec, claim, state)

    def perform_here(self, spec: WorkflowSpec, claim: Claim, state: RunState) -> Outcome:
        """Perform the claimed attempt in the present app context."""
        step = spec.steps[claim.visit.step]
        if claim.visit.kind == "compensation":
            return self._compensate(spec, claim, state, step.compensate)
        if step.kind not in ("log", "wait"):
            return self._call(spec, claim, state, step)
        self._began(claim)
        if step.kind == "log":
            return self._log(claim, state, step)
        return StepCompleted(output={})

    def without_context(self, exception: Exception) -> StepFailed:
        """The failure of a step that did not begin, because the host's functions that begin an app context raised."""
        error = error_record(exception, retryable=True, most=self._settings.max_payload_bytes)
        return StepFailed(failure=Failure(error=error, asked=True, certain=True))

    def state_of(self, spec: WorkflowSpec) -> RunState:
        """What the steps of one delivery see of their run."""
        return RunState(spec, self._database, self._claims)

    def _performed(self, spec: WorkflowSpec, claim: Claim, state: RunState) -> Outcome:
        has_begun = False
        try:
            with OwnContext(self._app):
                has_begun = True
                outcome = self.perform_here(spec, claim, state)
                session = self._host.session_here() if isinstance(outcome, StepCompleted) else None
                left = left_in(session) if session is not None else None
        except Exception as exception:
            if has_begun:
                raise
            return self.without_context(exception)
        if left is not None and left.is_lost and isinstance(outcome, StepCompleted):
            error = error_record(left.error(claim.visit.step), retryable=False, most=MOST_DETAILS)
            return StepFailed(failure=Failure(error=error, final=True), input=outcome.input)
        return outcome

    def _call(self, spec: WorkflowSpec, claim: Claim, state: RunState, step: StepSpec) -> Outcome:
        return self._invoke(spec, claim, state, step, self._context(claim, state), key=step.output)

    def _compensate(self, spec: WorkflowSpec, claim: Claim, state: RunState, undo: Compensation | None) -> Outcome:
        if undo is None:
            return blocked_by(
                LookupError(f"Step {claim.visit.step} no longer declares how it is undone."),
                self._settings.max_payload_bytes,
            )
        given, returned = self._undone(claim)
        context = CompensationContext(**vars(self._context(claim, state)), input=given, output=returned)
        return self._invoke(spec, claim, state, undo, context)

    def _invoke(
        self,
        spec: WorkflowSpec,
        claim: Claim,
        state: RunState,
        declared: StepSpec | Compensation,
        context: StepContext,
        *,
        key: str | None = None,
    ) -> Outcome:
        """Bind, call and catch. The state is read before, because a database that is away is no failure of the step.

        key: under which the output is kept.
        """
        assert declared.function is not None
        seen = state.seen(claim, needed_by(declared.parameters))
        try:
            model = _model(spec, claim)
            bound = bind(
                declared.parameters,
                payload=claim.payload,
                state=seen.state,
                context=context,
                payload_model=model,
                disputed=seen.disputed,
            )
            call = self._callable(declared.function)
        except Exception as exception:  # models and validators are the host's, and raise what they like
            return blocked_by(exception, self._settings.max_payload_bytes)
        self._began(claim)
        try:
            output = step_output(_called(call, bound.arguments))
            _check_size(output, self._settings.max_payload_bytes)
            return StepCompleted(output={key: output} if key else output, input=bound.input)
        except BaseException as exception:
            let_shutdown_through(exception)
            failure = failure_of(exception, declared.retry, self._settings.max_payload_bytes)
            return StepFailed(failure=failure, input=bound.input, cause=exception)

    def _began(self, claim: Claim) -> None:
        visit, run = claim.visit, claim.run
        facts = {"step": visit.step, "visit": visit.visit, "attempt": visit.attempts}
        self._publisher.send("step_started", signalled(run), facts)

    def _callable(self, function: Callable[..., Any]) -> Callable[..., Any]:
        return self._app.ensure_sync(function) if _is_coroutine(function) else function

    def _log(self, claim: Claim, state: RunState, step: StepSpec) -> StepCompleted:
        template = step.message or ""
        message = render(template, state.at(claim, names(template)), self._hides)
        facts = {
            "run_id": claim.run.id,
            "workflow": claim.run.workflow,
            "step": step.name,
            "attempt": claim.visit.attempts,
        }
        step_logger.log(getattr(logging, step.level.upper()), "%s", message, extra=facts)
        return StepCompleted(output={})

    def _context(self, claim: Claim, state: RunState) -> StepContext:
        visit = claim.visit
        name, ending = entered_as(visit.step, visit.settings), ":compensation" if visit.kind == "compensation" else ""
        return StepContext(
            run_id=claim.run.id,
            workflow=claim.run.workflow,
            tenant=claim.run.tenant,
            step=visit.step,
            visit=visit.visit,
            attempt=visit.attempts,
            idempotency_key=f"{claim.run.id}:{name}:{visit.visit}{ending}",
            failure=visit.failure,
            actor=claim.run.actor,
            read_state=lambda: state.at(claim, None),
            read_cancelled=partial(self._is_cancelling, claim.run.id),
            read_lost=lambda: self._claims.is_lost(claim.claim_id),
            begin_child=partial(self._begin_child, claim),
        )

    def _begin_child(self, claim: Claim, *given: Any, **options: Any) -> str:
        """Start a child: in the step's own transaction, where it has one."""
        db = self._host.db
        session = db.session if db is not None and claim.visit.settings.transaction else None
        return self._starter.start_child(claim, session, *given, **options)

    def _undone(self, claim: Claim) -> tuple[JsonObject, JsonValue]:
        """What the step that is being undone was given and returned."""
        query = sa.select(step_runs.c.input, step_runs.c.output, step_runs.c.settings).where(
            step_runs.c.id == claim.visit.settings.of
        )

        def undone() -> Any:
            with self._database.read() as connection:
                return connection.execute(query).one()

        row = self._claims.until_lost(claim, "reading what it undoes", undone)
        key = row.settings.get("output")
        output = (row.output or {}).get(key) if key else row.output
        return row.input or {}, output

    def _is_cancelling(self, run_id: str) -> bool:
        with self._database.read() as connection:
            status = connection.scalar(sa.select(runs.c.status).where(runs.c.id == run_id))
        return status in ("cancelling", "cancelled")


def _called(call: Callable[..., Any], arguments: Mapping[str, object]) -> object:
    process = os.getpid()
    try:
        return call(**arguments)
    finally:
        if os.getpid() != process:
            _end_child()


def _end_child() -> NoReturn:
    """End a process that a step forked off and that came back out of it: the outcome is for its parent to record."""
    error = sys.exc_info()[1]
    step_logger.log(logging.DEBUG if isinstance(error, SystemExit) else logging.WARNING, _CAME_BACK, exc_info=error)
    code = error.code if isinstance(error, SystemExit) else int(error is not None)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))


_CAME_BACK: Final = (
    "squidmesh: a process that a step had forked off came back out of the step's function and was ended. "
    "Have it end itself with os._exit, or use multiprocessing."
)


def _check_size(output: JsonObject, most: int) -> None:
    """Raise ValueNotJsonError where an output is larger than SQUIDMESH_MAX_PAYLOAD_BYTES."""
    size = size_of(output) if output else 0
    if size > most:
        raise ValueNotJsonError(
            "",
            f"a step returned {size} bytes of JSON; SQUIDMESH_MAX_PAYLOAD_BYTES allows {most}; store it elsewhere",
        )


def _is_coroutine(function: Callable[..., Any]) -> bool:
    plain = function.func if isinstance(function, partial) else function
    return inspect.iscoroutinefunction(plain)


def _model(spec: WorkflowSpec, claim: Claim) -> type[BaseModel] | None:
    trigger = spec.triggers.get(claim.run.trigger)
    return trigger.model if trigger else None


logger = logging.getLogger("flask_squidmesh")


class OwnContext:
    """An app context, with a database session of its own.

    What the host's functions raise at its end is logged, and nothing more: what was done in it is done. Where they
    raise at its beginning, so does the `with` statement, and no context is left.
    """

    def __init__(self, app: Flask) -> None:
        self._app, self._context = app, app.app_context()

    def __enter__(self) -> None:
        try:
            self._context.push()
        except BaseException:
            safely(lambda: self._context.pop(None), None)
            raise

    def __exit__(
        self, _type: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        try:
            self._context.pop(error)
        except BaseException as raised:
            if raised is error:
                return
            safely(self._drop_session, None)
            let_ctrl_c_through(raised)
            log_error(logger, raised, "squidmesh: the end of an app context of %s raised", self._app.name)

    def _drop_session(self) -> None:
        """Give back the connection of a session that the host's functions kept from being removed."""
        sessions: Any = self._app.extensions["sqlalchemy"].session.registry
        session = sessions.registry.pop(id(self._context), None)
        if session is not None:
            session.close()
