"""What a workflow class is made of: triggers and steps, as their author wrote them and not yet checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from datetime import timedelta
from typing import Any, Literal

from pydantic import BaseModel

from .flow import Node
from .retries import Retry


@dataclass(eq=False)
class Element:
    """A part of one workflow class. `placed` says where it was declared first."""

    placed: str | None = field(default=None, init=False, repr=False)


@dataclass(eq=False)
class Trigger(Element):
    """A way to start the workflow."""


@dataclass(eq=False)
class Manual(Trigger):
    """Started by a call or from the dashboard.

    model: the pydantic model that the payload must fit; without one the payload must be empty.
    """

    model: type[BaseModel] | None = None


@dataclass(eq=False)
class Cron(Trigger):
    """Started by a schedule; may be started by hand as well.

    expression: five fields, as "0 9 * * 1-5". model: the payload comes from its defaults. timezone: the zone the
    expression is meant in. idempotency: what a second start for the same window does: "return_existing" answers with
    the first run, "skip" does nothing, "none" starts another.
    """

    expression: str
    model: type[BaseModel] | None = None
    _: KW_ONLY
    timezone: str = "UTC"
    idempotency: Literal["return_existing", "skip", "none"] = "return_existing"


@dataclass(eq=False)
class StepElement(Element, Node):
    """A step of any kind.

    after: in a workflow without `flow`, the steps this one waits for; `[]` marks a root. max_visits: how often a run
    may enter the step, instead of the workflow's number. aliases: names that the step had before, by which open runs
    still know it.
    """

    _: KW_ONLY
    after: Sequence[StepElement] | None = None
    max_visits: int | None = None
    aliases: Sequence[str] = ()


@dataclass(eq=False)
class Step(StepElement):
    """A step that calls a function of the host.

    function: a function, coroutine function, callable object or functools.partial. Its parameters are bound by name
    from the run's state; it returns a mapping, a pydantic model, a dataclass or None.
    retry: how often it is tried; once if left out. output: the key its result is kept under; without one the result's
    own keys join the state. input: for parameters named differently, the path of their value, as
    {"account_id": "account.id"}. compensate: the function that undoes it when the run fails later on;
    compensate_retry: how often that is tried. irreversible: its effect cannot be undone, so it is never repeated
    without being asked for. compensatable: False if it may be repeated but not undone. transaction: call it inside the
    transaction that records its completion.
    """

    function: Callable[..., Any]
    _: KW_ONLY
    retry: Retry | None = None
    output: str | None = None
    input: Mapping[str, str | Sequence[str]] | None = None
    compensate: Callable[..., Any] | None = None
    compensate_retry: Retry | None = None
    irreversible: bool = False
    compensatable: bool | None = None
    transaction: bool = False


@dataclass(eq=False)
class Wait(StepElement):
    """A step that waits. duration: a timedelta or seconds."""

    duration: timedelta | float


@dataclass(eq=False)
class Log(StepElement):
    """A step that writes a line to the log. message: may hold top-level names of the state, as "Digest for {day}"."""

    message: str
    level: Literal["debug", "info", "warning", "error"] = "info"


@dataclass(eq=False)
class ManualStep(StepElement):
    """A step that waits for a person."""

    prompt: str | None = None
    _: KW_ONLY
    output: str | None = None
    permission: str | None = None
    within: timedelta | float | None = None


@dataclass(eq=False)
class Pause(ManualStep):
    """A step that waits until a person lets the run go on.

    prompt: what that person reads; may hold top-level names of the state. output: the key the decision is kept under.
    permission: what the dashboard asks the host's access callback for. within: when the decision is due, as a
    timedelta or seconds from the start of the wait.
    """


@dataclass(eq=False)
class Approval(ManualStep):
    """A step that waits until a person approves or rejects; a rejection goes along `on_reject`.

    prompt: what that person reads; may hold top-level names of the state. output: the key the decision is kept under.
    permission: what the dashboard asks the host's access callback for. within: when the decision is due, as a
    timedelta or seconds from the start of the wait. approvals: how many different people have to approve; one
    rejection is enough. not_starter: whether the person who started the run may not approve.
    """

    _: KW_ONLY
    approvals: int = 1
    not_starter: bool = False
