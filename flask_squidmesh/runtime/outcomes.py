"""How an attempt ended, as a value; and exceptions as failures."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from ..engine.facts import Failure
from ..errors import FailStep, RetryStep
from ..store.outages import reason_of
from ..tools.contract import ToolError
from ..workflow.binding import BindingError
from ..workflow.spec import RetryPolicy
from ..workflow.values import ValueNotJsonError, size_of, to_json

HERE = Path(__file__).parent
MOST_TEXT = 2_000
MOST_TRACEBACK = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """The attempt succeeded. output is under its key already."""

    output: Mapping[str, Any]
    input: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The attempt failed. cause: the exception that it raised."""

    failure: Failure
    input: Mapping[str, Any] | None = None
    cause: BaseException | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocked:
    """The step has not begun, because its input cannot be made."""

    error: Mapping[str, Any]


Outcome = Completed | Failed | Blocked


def failure_of(exception: BaseException, policy: RetryPolicy) -> Failure:
    """What an exception out of a step means for the step's retry policy."""
    match exception:
        case FailStep():
            return Failure(error=_error(exception, retryable=False), final=True, certain=True)
        case RetryStep():
            error = _error(exception, retryable=True)
            return Failure(error=error, asked=True, certain=True, after=exception.after)
        case ToolError():
            return _tool_failure(exception, policy)
        case ValueNotJsonError():
            error = _error(exception, retryable=False) | {"type": "OutputError"}
            return Failure(error=error, final=True)
        case _:
            named = isinstance(exception, policy.on)
            final = bool(policy.on) and not named
            return Failure(error=_error(exception, retryable=not final), final=final, asked=named, certain=named)


def blocked_by(exception: Exception) -> Blocked:
    """What stands in the way of a step's function being called."""
    error = _error(exception, retryable=False)
    if isinstance(exception, BindingError):
        cause = exception.__cause__
        trace = storable(_traceback(cause), MOST_TRACEBACK) if cause else None
        found = _details(exception.error["details"])
        return Blocked(error=error | {"type": "InputError", "details": found, "traceback": trace})
    said = f"The step cannot begin: {error['type']}: {error['message']}"
    return Blocked(error=error | {"type": "InputError", "message": storable(said)})


def refused_by(error: sa.exc.SQLAlchemyError, outcome: Outcome) -> Failed | Blocked:
    """What has to be recorded instead of an outcome that the database refuses for good: in plain ASCII, which every
    database takes. A step that has begun has had its effect, so it is not attempted again."""
    begun = not isinstance(outcome, Blocked)
    what = type(getattr(error, "orig", None) or error).__name__
    reason = reason_of(error) if isinstance(error, sa.exc.DBAPIError) else what
    said = "The step has ended, but" if begun else "The step's input cannot be made, and"
    told = f"{said} the database refuses its outcome: {reason}".encode("ascii", "backslashreplace").decode()[:MOST_TEXT]
    plain: dict[str, Any] = {"type": what, "message": told, "code": None, "details": None, "traceback": None}
    plain["retryable"] = False
    return Failed(failure=Failure(error=plain, final=True)) if begun else Blocked(error=plain)


def _tool_failure(exception: ToolError, policy: RetryPolicy) -> Failure:
    """A policy that names ToolError speaks for an irreversible step too."""
    named = isinstance(exception, policy.on)
    retryable = exception.retryable and (named or not policy.on)
    return Failure(
        error=_error(exception, retryable=retryable),
        final=not retryable,
        asked=named and retryable,
        certain=named and (retryable or exception.certain),
        after=exception.retry_after,
    )


def check_output(output: Mapping[str, Any], most: int) -> None:
    """Raise ValueNotJsonError where an output is larger than SQUIDMESH_MAX_PAYLOAD_BYTES."""
    size = size_of(output) if output else 0
    if size > most:
        raise ValueNotJsonError(
            "",
            f"a step returned {size} bytes of JSON; SQUIDMESH_MAX_PAYLOAD_BYTES allows {most}; store it elsewhere",
        )


def storable(text: object, most: int = MOST_TEXT) -> str:
    """Text that every database takes: without U+0000 and lone surrogates, and not too long."""
    plain = str(text).replace("\0", "�").encode("utf-8", "replace").decode("utf-8")
    return plain if len(plain) <= most else plain[: most - 1] + "…"


def _error(exception: BaseException, *, retryable: bool) -> dict[str, Any]:
    return {
        "type": type(exception).__name__,
        "message": storable(_message(exception)),
        "code": _text(_said(exception, "code")),
        "details": _details(_said(exception, "details")),
        "traceback": storable(_traceback(exception), MOST_TRACEBACK),
        "retryable": retryable,
    }


def _traceback(exception: BaseException) -> str:
    """The exception's traceback without the frames through which we called the step."""
    frame = exception.__traceback__
    while frame is not None and Path(frame.tb_frame.f_code.co_filename).parent == HERE:
        frame = frame.tb_next
    return "".join(traceback.format_exception(type(exception), exception, frame))


def _message(exception: BaseException) -> str:
    try:
        return str(exception)
    except Exception:  # a host's exception that cannot say what it is
        return f"{type(exception).__name__} (its text could not be made)"


def _said(exception: BaseException, name: str) -> Any:
    try:
        return getattr(exception, name, None)
    except Exception:  # a property of a host's exception
        return None


def _text(value: object) -> str | None:
    return storable(value, 200) if isinstance(value, str | int) else None


def _details(value: Any) -> Any:
    try:
        return to_json(value)
    except ValueNotJsonError as unfit:
        return {"omitted": str(unfit)}
