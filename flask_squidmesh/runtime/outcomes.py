"""How an attempt ended, as a value; and exceptions as failures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import sqlalchemy as sa

from ..engine.facts import Failure
from ..errors import FailStep, RetryStep, seconds_of
from ..store.outages import reason_of
from ..tools.contract import ToolError
from ..workflow.binding import BindingError
from ..workflow.spec import RetryPolicy
from ..workflow.values import ValueNotJsonError, size_of
from .error_records import MOST_TEXT, details_of, error_record, is_a, safely, said, storable, trace_of, type_name

MOST_DETAILS: Final = 1_000_000


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


def blocked_by(exception: Exception, most_details: int) -> Blocked:
    """What stands in the way of a step's function being called."""
    error = error_record(exception, retryable=False, most=most_details)
    if isinstance(exception, BindingError):
        cause = exception.__cause__
        found = details_of(exception.error["details"], most_details)
        trace = trace_of(cause) if cause else None
        return Blocked(error=error | {"type": "InputError", "details": found, "traceback": trace})
    said = f"The step cannot begin: {error['type']}: {error['message']}"
    return Blocked(error=error | {"type": "InputError", "message": storable(said)})


def refused_by(error: sa.exc.SQLAlchemyError, outcome: Outcome) -> Failed | Blocked:
    """What has to be recorded instead of an outcome that the database refuses for good: in plain ASCII, which every
    database takes. A step that has begun has had its effect, so it is not attempted again."""
    begun = not isinstance(outcome, Blocked)
    what = type_name(getattr(error, "orig", None) or error)
    reason = reason_of(error) if isinstance(error, sa.exc.DBAPIError) else what
    said = "The step has ended, but" if begun else "The step's input cannot be made, and"
    told = f"{said} the database refuses its outcome: {reason}".encode("ascii", "backslashreplace").decode()[:MOST_TEXT]
    plain: dict[str, Any] = {"type": what, "message": told, "code": None, "details": None, "traceback": None}
    plain["retryable"] = False
    return Failed(failure=Failure(error=plain, final=True)) if begun else Blocked(error=plain)


def _tool_failure(exception: BaseException, error: dict[str, Any], *, named: bool, final: bool) -> Failure:
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


def check_output(output: Mapping[str, Any], most: int) -> None:
    """Raise ValueNotJsonError where an output is larger than SQUIDMESH_MAX_PAYLOAD_BYTES."""
    size = size_of(output) if output else 0
    if size > most:
        raise ValueNotJsonError(
            "",
            f"a step returned {size} bytes of JSON; SQUIDMESH_MAX_PAYLOAD_BYTES allows {most}; store it elsewhere",
        )
