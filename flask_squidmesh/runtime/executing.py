"""Running a step's function: its state bound, its context given, its outcome caught."""

from __future__ import annotations

import decimal
import inspect
import logging
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from contextvars import copy_context
from dataclasses import dataclass
from functools import lru_cache, partial
from types import FunctionType
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar

import sqlalchemy as sa

from ..engine.facts import Failure
from ..engine.naming import entered_as
from ..store.claiming import Claim
from ..store.tables import runs, step_runs
from ..workflow.binding import bind, needed_by, needed_keys
from ..workflow.context import CompensationContext, StepContext
from ..workflow.spec import Compensation, Parameter, RetryPolicy, StepSpec, WorkflowSpec
from ..workflow.templates import render
from ..workflow.values import step_output
from .announcing import facts_of, send
from .error_records import error_record
from .interrupts import let_shutdown_through
from .outcomes import MOST_DETAILS, Completed, Failed, Outcome, blocked_by, check_output, failure_of
from .patience import until_lost
from .run_state import RunState
from .starting import start_child
from .uncommitted import Uncommitted, left_in

if TYPE_CHECKING:
    from .runtime import Runtime

FUNCTIONS_KEPT = 1_000

Performed = TypeVar("Performed")

logger = logging.getLogger("flask_squidmesh.steps")


def execute(runtime: Runtime, spec: WorkflowSpec, claim: Claim, state: RunState) -> Outcome:
    """Perform the claimed attempt in contexts of its own, outside any transaction of ours."""
    return apart(_execute, runtime, spec, claim, state)


def apart(perform: Callable[..., Performed], *given: Any) -> Performed:
    """Have it performed with context variables of its own, and decimal settings, so that what it sets ends with it."""

    def act() -> Performed:
        decimal.setcontext(decimal.getcontext().copy())
        return perform(*given)

    return copy_context().run(act)


def _execute(runtime: Runtime, spec: WorkflowSpec, claim: Claim, state: RunState) -> Outcome:
    with ExitStack() as entered:
        if unable := entering(runtime, entered):
            return unable
        outcome = execute_here(runtime, spec, claim, state)
        left = _uncommitted(runtime) if isinstance(outcome, Completed) else None
    if isinstance(outcome, Completed) and left is not None and left.is_lost:
        error = error_record(left.error(claim.visit.step), retryable=False, most=MOST_DETAILS)
        return Failed(failure=Failure(error=error, final=True), input=outcome.input)
    return outcome


def entering(runtime: Runtime, contexts: ExitStack) -> Failed | None:
    """Enter an app context. The failure of the step where the host's functions that begin one raise."""
    try:
        contexts.enter_context(runtime.in_context())
        return None
    except Exception as exception:
        error = error_record(exception, retryable=True, most=runtime.settings.max_payload_bytes)
        return Failed(failure=Failure(error=error, asked=True, certain=True))


def _uncommitted(runtime: Runtime) -> Uncommitted | None:
    sessions = runtime.host_db.session
    return left_in(sessions()) if sessions.registry.has() else None


def execute_here(runtime: Runtime, spec: WorkflowSpec, claim: Claim, state: RunState) -> Outcome:
    """Perform the claimed attempt in the present app context."""
    step = spec.steps[claim.visit.step]
    if claim.visit.kind == "compensation":
        return _compensate(runtime, spec, claim, state, step.compensate)
    if step.kind not in ("log", "wait"):
        return _call(runtime, spec, claim, state, step)
    _began(runtime, claim)
    if step.kind == "log":
        return _log(runtime, claim, state, step)
    return Completed(output={})


def _call(runtime: Runtime, spec: WorkflowSpec, claim: Claim, state: RunState, step: StepSpec) -> Outcome:
    assert step.function is not None
    called = _Callee(function=step.function, parameters=step.parameters, retry=step.retry, key=step.output)
    return _invoke(runtime, spec, claim, state, called, StepContext(**_context(runtime, claim, state)))


def _compensate(
    runtime: Runtime, spec: WorkflowSpec, claim: Claim, state: RunState, undo: Compensation | None
) -> Outcome:
    if undo is None:
        return blocked_by(
            LookupError(f"Step {claim.visit.step} no longer declares how it is undone."),
            runtime.settings.max_payload_bytes,
        )
    called = _Callee(function=undo.function, parameters=undo.parameters, retry=undo.retry)
    context = CompensationContext(**_context(runtime, claim, state), **_undone(runtime, claim))
    return _invoke(runtime, spec, claim, state, called, context)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Callee:
    """A function of the host's, and under which key its output is kept."""

    function: Callable[..., Any]
    parameters: tuple[Parameter, ...]
    retry: RetryPolicy
    key: str | None = None


def _invoke(
    runtime: Runtime, spec: WorkflowSpec, claim: Claim, state: RunState, called: _Callee, context: StepContext
) -> Outcome:
    """Bind, call and catch. The state is read before, because a database that is away is no failure of the step."""
    seen = state.seen(claim, needed_by(called.parameters))
    try:
        model = _model(spec, claim)
        bound = bind(
            called.parameters,
            payload=claim.payload,
            state=seen.state,
            context=context,
            payload_model=model,
            disputed=seen.disputed,
        )
        call = _callable(runtime, called.function)
    except Exception as exception:  # models and validators are the host's, and raise what they like
        return blocked_by(exception, runtime.settings.max_payload_bytes)
    _began(runtime, claim)
    try:
        output = step_output(_called(call, bound.arguments))
        check_output(output, runtime.settings.max_payload_bytes)
        return Completed(output={called.key: output} if called.key else output, input=bound.input)
    except BaseException as exception:
        let_shutdown_through(exception)
        failure = failure_of(exception, called.retry, runtime.settings.max_payload_bytes)
        return Failed(failure=failure, input=bound.input, cause=exception)


def _began(runtime: Runtime, claim: Claim) -> None:
    visit, run = claim.visit, claim.run
    facts = {"step": visit.step, "visit": visit.visit, "attempt": visit.attempts}
    send(runtime, "step_started", {**facts_of(run), **facts})


def _callable(runtime: Runtime, function: Callable[..., Any]) -> Callable[..., Any]:
    return runtime.app.ensure_sync(function) if _is_coroutine(function) else function


def _called(call: Callable[..., Any], arguments: Mapping[str, Any]) -> Any:
    process = os.getpid()
    try:
        return call(**arguments)
    finally:
        if os.getpid() != process:
            _end_child()


def _end_child() -> NoReturn:
    """End a process that a step forked off and that came back out of it: the outcome is for its parent to record."""
    error = sys.exc_info()[1]
    logger.log(logging.DEBUG if isinstance(error, SystemExit) else logging.WARNING, _CAME_BACK, exc_info=error)
    code = error.code if isinstance(error, SystemExit) else int(error is not None)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))


_CAME_BACK: Final = (
    "squidmesh: a process that a step had forked off came back out of the step's function and was ended. "
    "Have it end itself with os._exit, or use multiprocessing."
)


def _is_coroutine(function: Callable[..., Any]) -> bool:
    plain = function.func if isinstance(function, partial) else function
    return _is_async(plain) if isinstance(plain, FunctionType) else inspect.iscoroutinefunction(plain)


_is_async = lru_cache(FUNCTIONS_KEPT)(inspect.iscoroutinefunction)


def _log(runtime: Runtime, claim: Claim, state: RunState, step: StepSpec) -> Completed:
    message = render(step.message or "", state.at(claim, needed_keys(step)), runtime.hides)
    facts = {"run_id": claim.run.id, "workflow": claim.run.workflow, "step": step.name, "attempt": claim.visit.attempts}
    logger.log(getattr(logging, step.level.upper()), "%s", message, extra=facts)
    return Completed(output={})


def _context(runtime: Runtime, claim: Claim, state: RunState) -> dict[str, Any]:
    visit = claim.visit
    name, ending = entered_as(visit.step, visit.settings), ":compensation" if visit.kind == "compensation" else ""
    return {
        "run_id": claim.run.id,
        "workflow": claim.run.workflow,
        "tenant": claim.run.tenant,
        "step": visit.step,
        "visit": visit.visit,
        "attempt": visit.attempts,
        "idempotency_key": f"{claim.run.id}:{name}:{visit.visit}{ending}",
        "failure": visit.failure,
        "actor": claim.run.actor,
        "read_state": lambda: state.at(claim, None),
        "read_cancelled": partial(_is_cancelling, runtime, claim.run.id),
        "read_lost": lambda: runtime.claims.is_lost(claim.claim_id),
        "begin_child": partial(start_child, runtime, claim),
    }


def _undone(runtime: Runtime, claim: Claim) -> dict[str, Any]:
    """What the step that is being undone was given and returned."""
    query = sa.select(step_runs.c.input, step_runs.c.output, step_runs.c.settings).where(
        step_runs.c.id == claim.visit.settings["of"]
    )

    def undone() -> Any:
        with runtime.database.read() as connection:
            return connection.execute(query).one()

    row = until_lost(runtime, claim, "reading what it undoes", undone)
    key = row.settings.get("output")
    output = (row.output or {}).get(key) if key else row.output
    return {"input": row.input or {}, "output": output}


def _is_cancelling(runtime: Runtime, run_id: str) -> bool:
    with runtime.database.read() as connection:
        status = connection.scalar(sa.select(runs.c.status).where(runs.c.id == run_id))
    return status in ("cancelling", "cancelled")


def _model(spec: WorkflowSpec, claim: Claim) -> Any:
    trigger = spec.triggers.get(claim.run.trigger)
    return trigger.model if trigger else None
