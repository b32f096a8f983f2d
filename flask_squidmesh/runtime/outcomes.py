"""How an attempt ended, as a value, and what is kept and told of an exception."""

from __future__ import annotations

import logging
import threading
import traceback
from asyncio import CancelledError
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple, TypeVar

import sqlalchemy as sa

from ..definition.binding import BindingError
from ..definition.spec import RetryPolicy
from ..definition.values import JsonObject, JsonValue, ValueNotJsonError, size_of, to_json
from ..engine.error_records import error as error_of
from ..engine.facts import Failure
from ..errors import ErrorRecord, FailStep, RetryStep, seconds_of
from ..storage.outages import reason_of
from ..tools.adapter import ToolError

MOST_NAME: Final = 200
MOST_TEXT: Final = 2_000
MOST_TRACEBACK: Final = 20_000
MOST_CAUSES: Final = 100
NOT_KEPT: Final = "(values are not kept)"

_HERE: Final = Path(__file__).parent
_Made = TypeVar("_Made")


def error_record(exception: BaseException, *, retryable: bool, most: int) -> ErrorRecord:
    """The error as it is stored: {type, message, code, details, traceback, retryable}. Never raises.

    most: how many bytes of JSON the details may take.
    """
    values = _hide_values(exception)
    return ErrorRecord(
        type=type_name(exception),
        message=storable(_without(values, _text_of(exception))),
        code=safely(lambda: _code_of(exception), None),
        details=details_of(said(exception, "details"), most),
        traceback=trace_of(exception),
        retryable=retryable,
    )


def told(exception: BaseException) -> str:
    """The exception in a line: its type and its text. Never raises."""
    text = storable(_without(_hide_values(exception), _text_of(exception)))
    return f"{type_name(exception)}: {text}" if text else type_name(exception)


def loggable(exception: BaseException) -> BaseException | None:
    """The exception, with what drivers quote of rows and parameters taken out of its text.

    None where its text is none that every log handler can write, because half a character stands in it. Never raises.
    """
    values = _hide_values(exception)
    for each in _with_causes(exception) if values else ():
        safely(partial(_take_out, values, each), None)
    return exception if safely(lambda: _is_writable(exception), False) else None


def _is_writable(exception: BaseException) -> bool:
    for line in traceback.format_exception(exception):
        line.encode()
    return True


def _take_out(values: list[str], exception: BaseException) -> None:
    exception.args = tuple(_without(values, part) if type(part) is str else part for part in exception.args)


def type_name(exception: BaseException) -> str:
    """The name of its class. Never raises."""
    return storable(type.__dict__["__name__"].__get__(type(exception)), MOST_NAME)


def trace_of(exception: BaseException) -> str:
    """Its traceback without the frames through which we called the step. Never raises."""
    frame = said(exception, "__traceback__")
    while isinstance(frame, TracebackType) and Path(frame.tb_frame.f_code.co_filename).parent == _HERE:
        frame = frame.tb_next
    shown = safely(lambda: "".join(traceback.format_exception(type(exception), exception, frame)), None)
    if shown is None:  # its notes or causes cannot be had
        shown = safely(lambda: "".join(traceback.format_tb(frame)), "") + told(exception)
    return storable(_without(_hide_values(exception), shown), MOST_TRACEBACK)


def details_of(value: object, most: int) -> JsonValue:
    """Details as JSON of at most so many bytes; {"omitted": why} where that cannot be. Never raises."""
    try:
        plain: JsonValue = to_json(value)
        size = size_of(plain)
    except BaseException as unfit:
        return {"omitted": told(unfit)}
    if size > most:
        return {"omitted": f"They are {size} bytes of JSON; SQUIDMESH_MAX_PAYLOAD_BYTES allows {most}."}
    return plain


def is_a(exception: BaseException, *classes: type[BaseException]) -> bool:
    """Whether it is of one of the classes, as an `except` clause sees it, whatever it or they say of themselves."""
    return any(type.__subclasscheck__(each, type(exception)) for each in classes)


def storable(text: object, most: int = MOST_TEXT) -> str:
    """Text that every database takes: without U+0000 and lone surrogates, and not too long."""
    cut = str.__getitem__(str(text), slice(0, most + 1))
    plain = cut.replace("\0", "�").encode("utf-8", "replace").decode("utf-8")
    return plain if len(plain) <= most else plain[: most - 1] + "…"


def log_error(logger: logging.Logger, error: BaseException, message: str, *given: object) -> None:
    """Log it with its traceback; what cannot be formatted is logged as far as it goes. Never raises."""
    raised = loggable(error)
    try:
        if raised is not None:
            logger.error(message, *given, exc_info=raised)
            return
    except BaseException:
        pass
    safely(lambda: logger.error(f"{message} (%s)", *given, told(error)), None)


def said(thing: Any, name: str) -> Any:
    """An attribute; None where it is not to be had. Never raises."""
    return safely(lambda: getattr(thing, name, None), None)


def safely(make: Callable[[], _Made], otherwise: _Made) -> _Made:
    """What the host's code makes; something else where it raises, whatever that is."""
    try:
        return make()
    except BaseException:
        return otherwise


def _text_of(exception: BaseException) -> str:
    return safely(lambda: str.__str__(str(exception)), f"{type_name(exception)} (its text could not be made)")


def _code_of(exception: BaseException) -> str | None:
    code = said(exception, "code")
    return storable(code, MOST_NAME) if isinstance(code, str | int) else None


def _hide_values(exception: BaseException) -> list[str]:
    """Have SQLAlchemy leave out the parameters of statements, and answer the texts in which drivers quote rows."""
    quoted: list[object] = []
    for each in _with_causes(exception):
        if is_a(each, sa.exc.StatementError):
            each.hide_parameters = True  # type: ignore[attr-defined]
        diagnosis = said(each, "diag")
        quoted += [said(diagnosis, "message_detail"), said(diagnosis, "context")]
    return [text for text in quoted if type(text) is str and text]


def _with_causes(exception: BaseException) -> Iterator[BaseException]:
    """The exception and those that it came from or holds, each once and not without end."""
    waiting: list[Any] = [exception]
    seen = set[int]()
    while waiting and len(seen) < MOST_CAUSES:
        each = waiting.pop()
        if id(each) in seen or not issubclass(type(each), BaseException):
            continue
        seen.add(id(each))
        yield each
        within = said(each, "exceptions")
        waiting += within if type(within) is tuple else ()
        waiting += [said(each, name) for name in ("orig", "__cause__", "__context__")]


def _without(values: list[str], text: str) -> str:
    for value in values:
        text = text.replace(value, NOT_KEPT)
    return text


MOST_DETAILS: Final = 1_000_000


class StepCompleted(NamedTuple):
    """The attempt succeeded. output is under its key already."""

    output: JsonObject
    input: JsonObject | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepFailed:
    """The attempt failed. cause: the exception that it raised."""

    failure: Failure
    input: JsonObject | None = None
    cause: BaseException | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepBlocked:
    """The step has not begun, because its input cannot be made."""

    error: ErrorRecord


Outcome = StepCompleted | StepFailed | StepBlocked


def failure_of(exception: BaseException, policy: RetryPolicy, most_details: int = MOST_DETAILS) -> Failure:
    """What an exception out of a step means for the step's retry policy.

    most_details: how many bytes of JSON its details may take.
    """
    return replace(_judged(exception, policy, most_details), exception=exception)


def _judged(exception: BaseException, policy: RetryPolicy, most_details: int) -> Failure:
    named = is_a(exception, *policy.on)
    final = bool(policy.on) and not named
    error = error_record(exception, retryable=not final, most=most_details)
    if is_a(exception, FailStep):
        return Failure(error=error | {"retryable": False}, final=True, certain=True)
    if is_a(exception, RetryStep):
        after = seconds_of(said(exception, "after"))
        return Failure(error=error | {"retryable": True}, asked=True, certain=True, after=after)
    if is_a(exception, ToolError):
        return _tool_failure(exception, error, named=named, final=final)
    if is_a(exception, ValueNotJsonError):
        return Failure(error=error | {"type": "OutputError", "retryable": False}, final=True)
    return Failure(error=error, final=final, asked=named, certain=named)


def blocked_by(exception: Exception, most_details: int) -> StepBlocked:
    """What stands in the way of a step's function being called."""
    error = error_record(exception, retryable=False, most=most_details)
    if isinstance(exception, BindingError):
        cause = exception.__cause__
        found = details_of(exception.error["details"], most_details)
        trace = trace_of(cause) if cause else None
        return StepBlocked(error=error | {"type": "InputError", "details": found, "traceback": trace})
    said = f"The step cannot begin: {error['type']}: {error['message']}"
    return StepBlocked(error=error | {"type": "InputError", "message": storable(said)})


def refused_by(error: sa.exc.SQLAlchemyError, outcome: Outcome) -> StepFailed | StepBlocked:
    """What has to be recorded instead of an outcome that the database refuses for good: in plain ASCII, which every
    database takes. A step that has begun has had its effect, so it is not attempted again."""
    begun = not isinstance(outcome, StepBlocked)
    what = type_name(getattr(error, "orig", None) or error)
    reason = reason_of(error) if isinstance(error, sa.exc.DBAPIError) else what
    said = "The step has ended, but" if begun else "The step's input cannot be made, and"
    told = f"{said} the database refuses its outcome: {reason}".encode("ascii", "backslashreplace").decode()[:MOST_TEXT]
    plain = error_of(what, told)
    return StepFailed(failure=Failure(error=plain, final=True)) if begun else StepBlocked(error=plain)


def _tool_failure(exception: BaseException, error: ErrorRecord, *, named: bool, final: bool) -> Failure:
    """A policy that names ToolError speaks for an irreversible step too."""
    retryable = _is_true(exception, "retryable") and not final
    return Failure(
        error=error | {"retryable": retryable},
        final=not retryable,
        asked=named and retryable,
        certain=named and (retryable or _is_true(exception, "certain")),
        after=seconds_of(said(exception, "retry_after")),
    )


def _is_true(exception: BaseException, name: str) -> bool:
    return safely(lambda: bool(getattr(exception, name)), False)


def let_shutdown_through(error: BaseException) -> None:
    """Raise it again unless a step may raise it for itself. In any other thread SystemExit and its like are its own."""
    if _is_in_main_thread() and not is_a(error, Exception, CancelledError, BaseExceptionGroup):
        raise error


def let_ctrl_c_through(error: BaseException) -> None:
    """Raise it again where somebody wants the process to end, whichever code of the host's was being called."""
    if _is_in_main_thread() and is_a(error, KeyboardInterrupt):
        raise error


def _is_in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
