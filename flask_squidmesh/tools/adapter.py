"""What an adapter is given, what it answers, and how it says that it failed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from ..errors import FailStep, RetryStep, seconds_of


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolResult:
    """What a call gave.

    adapter: the adapter's name. payload: the answer. metadata: facts about the call itself, without secrets.
    """

    adapter: str
    payload: Mapping[str, Any]
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, object]:
        """The same as a dictionary."""
        return {"adapter": self.adapter, "payload": dict(self.payload), "metadata": dict(self.metadata)}


class ToolError(Exception):
    """A call gave no usable answer. Let it leave the step, and the step's retry policy does what is right.

    One that is retryable is tried again, after `retry_after` seconds where that is known; one that is not fails the
    step at once. An irreversible step is interrupted by it, because nobody knows what the step did before, unless its
    policy names ToolError or the step raises `as_step_signal()`.

    message: what went wrong, for people, without secrets. adapter: the adapter's name. kind: a short stable name, such
    as "http" or "timeout". details: anything JSON can hold, without secrets. retryable: whether the same call may
    succeed later. retry_after: seconds that the other side asks us to wait; what is no delay is taken for none.
    certain: the call surely had no effect.
    """

    def __init__(
        self,
        message: str,
        *,
        adapter: str,
        kind: str,
        details: Mapping[str, object] | None = None,
        retryable: bool = False,
        retry_after: float | None = None,
        certain: bool = False,
    ) -> None:
        self.message, self.adapter, self.kind = message, adapter, kind
        self.details: Mapping[str, Any] = dict(details or {})
        self.retryable, self.retry_after, self.certain = retryable, seconds_of(retry_after), certain
        super().__init__(message)

    @property
    def code(self) -> str:
        """The kind: what the stored error of the step has as its code."""
        return self.kind

    def as_step_signal(self) -> FailStep | RetryStep | ToolError:
        """What an irreversible step raises whose only effect is this call.

        RetryStep or FailStep where the call is certain to have had no effect, and the error itself where it is not.
        """
        if not self.certain:
            return self
        if self.retryable:
            return RetryStep(self.message, after=self.retry_after, code=self.kind, details=self.details)
        return FailStep(self.message, code=self.kind, details=self.details)

    def to_dict(self) -> dict[str, object]:
        """The same as a dictionary."""
        return {
            "adapter": self.adapter,
            "kind": self.kind,
            "message": self.message,
            "details": dict(self.details),
            "retryable": self.retryable,
            "retry_after": self.retry_after,
            "certain": self.certain,
        }


class Adapter(Protocol):
    """Calls one kind of system. An adapter never retries by itself: the step's policy does, where people see it."""

    @property
    def name(self) -> str:
        """What results and errors call it."""
        ...

    def invoke(self, request: Mapping[str, object], context: Mapping[str, object]) -> ToolResult:
        """Make the call that `request` describes. Raises ToolError where it gives no usable answer.

        context: what the step tells about itself, such as its run's id.
        """
        ...


def invoke(adapter: Adapter, request: Mapping[str, object], context: Mapping[str, object] | None = None) -> ToolResult:
    """Have an adapter make a call, and hold it to the contract.

    Raises ToolError: the adapter's own; kind "invalid_request" or "invalid_context" where one of them is no mapping;
    kind "adapter_contract" where the adapter cannot be invoked or answers with anything but a ToolResult.
    """
    name = _name_of(adapter)
    context = {} if context is None else context
    for word, value in (("request", request), ("context", context)):
        if not isinstance(value, Mapping):
            raise ToolError(
                f"The {word} of a tool call is of type {type(value).__name__}. Pass a mapping.",
                adapter=name,
                kind=f"invalid_{word}",
                certain=True,
            )
    if not callable(getattr(adapter, "invoke", None)):
        raise ToolError(
            f"{name} has no method `invoke(request, context)`. Write it, or pass another adapter.",
            adapter=name,
            kind="adapter_contract",
            certain=True,
        )
    result = adapter.invoke(request, context)
    if not isinstance(result, ToolResult):
        raise ToolError(
            f"{name} answered with a value of type {type(result).__name__}. An adapter must return a ToolResult.",
            adapter=name,
            kind="adapter_contract",
        )
    return result


def _name_of(adapter: object) -> str:
    name = getattr(adapter, "name", None)
    return name if isinstance(name, str) and name else type(adapter).__name__
