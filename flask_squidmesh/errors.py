"""Every error a caller can meet.

SquidMeshError
├── ConfigurationError      .problems
├── DefinitionError         .problems
├── SchemaError
├── PayloadError            .missing_fields .unknown_fields .invalid_types
├── UnknownWorkflowError
├── UnknownTriggerError
├── RunNotFoundError        .run_id
├── TransitionError         .status .allowed
├── ConflictError           .current
├── UnsafeReplayError       .steps
├── ManualActionError       .field
├── FilterError             .name
└── ChannelError           .retry_after

FailStep and RetryStep are signals that a step raises to say how its failure is to be treated; they are no errors
of the library.
"""

from __future__ import annotations

import reprlib
from collections.abc import Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final, TypedDict
from uuid import UUID

LONGEST_DELAY: Final = timedelta(days=36_500)
_SHORT: Final = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 120
_NUMBERS: Final = (int, float, Decimal, Fraction, timedelta)


def given(value: object) -> str:
    """What a caller gave, as a message may quote it: short, printable, and made whatever the value is."""
    return _SHORT.repr(value)


class SquidMeshError(Exception):
    """Catches everything that the library raises to its caller."""


def _listed(heading: str, problems: Sequence[str]) -> str:
    return "\n".join([heading, *(f"- {problem}" for problem in problems)])


class ConfigurationError(SquidMeshError):
    """The app's configuration is missing something or holds something wrong.

    `problems` holds one sentence for each fault, all of them at once.
    """

    def __init__(self, *problems: str) -> None:
        self.problems = problems
        text = problems[0] if len(problems) == 1 else _listed("The Squid Mesh configuration has faults:", problems)
        super().__init__(text)


class DefinitionError(SquidMeshError):
    """A workflow class breaks rules of the authoring language.

    `problems` holds one sentence for each fault; each names the step or transition and what to write instead.
    """

    def __init__(self, workflow: str, problems: Sequence[str]) -> None:
        self.workflow = workflow
        self.problems = tuple(problems)
        super().__init__(_listed(f"Workflow {workflow} is not valid:", problems))


class SchemaError(SquidMeshError):
    """The database lacks our tables or holds an older version of them. The message ends with the commands to run."""


class PayloadError(SquidMeshError):
    """The payload does not fit the trigger's model; nothing was written.

    `missing_fields` in order of declaration, `unknown_fields` sorted, `invalid_types` as {field: what is wrong}.
    """

    def __init__(
        self,
        message: str,
        *,
        missing_fields: Sequence[str] = (),
        unknown_fields: Sequence[str] = (),
        invalid_types: Mapping[str, str] | None = None,
    ) -> None:
        self.missing_fields = list(missing_fields)
        self.unknown_fields = list(unknown_fields)
        self.invalid_types = dict(invalid_types or {})
        super().__init__(message)


class UnknownWorkflowError(SquidMeshError):
    """No registered workflow has this name."""


class UnknownTriggerError(SquidMeshError):
    """The workflow has no trigger of this name."""


class RunNotFoundError(SquidMeshError):
    """No run has this id, or the text is not an id at all."""

    def __init__(self, run_id: object) -> None:
        self.run_id = run_id if isinstance(run_id, str) else str(run_id) if isinstance(run_id, UUID) else given(run_id)
        super().__init__(f"There is no run {given(self.run_id)}. Run ids are UUIDs as start_run returned them.")


class TransitionError(SquidMeshError):
    """The call is not possible in the run's present status.

    `status` is that status, `allowed` the calls that would succeed now.
    """

    def __init__(self, message: str, *, status: str, allowed: Sequence[str] = ()) -> None:
        self.status = status
        self.allowed = tuple(allowed)
        super().__init__(message)


class ConflictError(SquidMeshError):
    """What the caller relied on no longer holds; nothing was done. `current` says what holds now."""

    def __init__(self, message: str, *, current: Any = None) -> None:
        self.current = current
        super().__init__(message)


class BlockingStep(TypedDict):
    """A step that a replay would repeat although its effect cannot be taken back, and how it ended.

    reason: completed, or may_have_taken_effect for a step that began and did not complete.
    """

    step: str
    irreversible: bool
    compensatable: bool
    status: str
    reason: str


class ErrorRecord(TypedDict):
    """What is kept of an error that a step raised.

    type: the name of the exception. code: a short stable name for programs. details: anything JSON can hold.
    retryable: False where the step said that another attempt is of no use.
    """

    type: str
    message: str
    code: str | None
    details: Any
    traceback: str | None
    retryable: bool


class UnsafeReplayError(SquidMeshError):
    """A replay would repeat steps that cannot be undone.

    `steps` lists them: the name, why each blocks, and how it ended. `allow_irreversible=True` overrides.
    """

    def __init__(self, steps: Sequence[Mapping[str, Any]]) -> None:
        self.steps = [_blocking(step) for step in steps]
        names = ", ".join(step["step"] for step in self.steps)
        super().__init__(
            f"Replay would run steps again whose effects cannot be undone: {names}. "
            "Pass allow_irreversible=True if that is what you want."
        )


def _blocking(step: Mapping[str, Any]) -> BlockingStep:
    return BlockingStep(
        step=step["step"],
        irreversible=step["irreversible"],
        compensatable=step["compensatable"],
        status=step["status"],
        reason=step["reason"],
    )


class ManualActionError(SquidMeshError):
    """The actor, comment or metadata of a control call is missing or of the wrong kind. `field` names it."""

    def __init__(self, field: str, message: str) -> None:
        self.field = field
        super().__init__(message)


class FilterError(SquidMeshError, ValueError):
    """A list was asked for with a filter, limit or cursor that means nothing. `name` is the argument's."""

    def __init__(self, name: str, message: str) -> None:
        self.name = name
        super().__init__(message)


class ChannelError(SquidMeshError):
    """Raise it in a channel to say why a notice could not be delivered; it is tried again.

    message: why, which is logged and shown to operators, so that it holds no secret. retry_after: not before so much
    time has passed, in seconds or as a timedelta; None leaves it to us. Raises ValueError for any other.
    """

    def __init__(self, message: str, *, retry_after: float | timedelta | None = None) -> None:
        seconds = seconds_of(retry_after)
        if retry_after is not None and seconds is None:
            raise ValueError(f"ChannelError(retry_after={given(retry_after)}): write seconds, or a timedelta")
        self.retry_after = None if seconds is None else timedelta(seconds=seconds)
        super().__init__(message)


class FailStep(Exception):
    """Raise it in a step to fail at once: no retry, straight to the error route or the end of the run.

    message: what went wrong, for people. code: a short stable name for programs. details: anything JSON can hold.
    """

    def __init__(self, message: str = "", *, code: str | None = None, details: object = None) -> None:
        self.message, self.code, self.details = message, code, details
        super().__init__(message)


class RetryStep(Exception):
    """Raise it in a step to fail this attempt and have the step's retry policy try again.

    message: what went wrong, for people. after: seconds until the next attempt, or a timedelta, instead of the policy's
    delay; at most 100 years. code, details: as in FailStep. Raises TypeError and ValueError for any other `after`.
    """

    def __init__(
        self,
        message: str = "",
        *,
        after: float | Decimal | Fraction | timedelta | None = None,
        code: str | None = None,
        details: object = None,
    ) -> None:
        if after is not None and seconds_of(after) is None:
            known = isinstance(after, _NUMBERS) and not isinstance(after, bool)
            raise (ValueError if known else TypeError)(
                f"RetryStep(after={after!r}): write seconds from 0 to 100 years, as a number or a timedelta"
            )
        self.message, self.after, self.code, self.details = message, seconds_of(after), code, details
        super().__init__(message)


def seconds_of(delay: object) -> float | None:
    """A delay in seconds; None for what is none: no number or timedelta, negative, over 100 years, not finite."""
    if isinstance(delay, bool) or not isinstance(delay, _NUMBERS):
        return None
    try:
        seconds = delay.total_seconds() if isinstance(delay, timedelta) else float(delay)
    except (ArithmeticError, ValueError):
        return None
    return seconds if 0 <= seconds <= LONGEST_DELAY.total_seconds() else None
