"""What a workflow class is made of: triggers, steps, retry policies, and the arrows of `flow`, not yet checked."""

from __future__ import annotations

import random as _random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final, Literal, Never

from pydantic import BaseModel

from .spec import CatchUp, Overlap, Recovery, RetryPolicy

_LARGEST_EXPONENT = 1000


@dataclass(frozen=True, slots=True)
class Exponential:
    """A delay that doubles: `first`, twice that, four times that, never over `most`. Seconds or timedeltas."""

    first: float | timedelta
    most: float | timedelta


@dataclass(frozen=True, slots=True)
class Fixed:
    """The same delay before every attempt. Seconds or a timedelta."""

    delay: float | timedelta


@dataclass(frozen=True, slots=True)
class Retry:
    """How often a step is tried.

    max_attempts: in all, the first one counted. backoff: the delay between attempts, none if left out. jitter: a
    fraction from 0 to 1 by which each delay varies at random. on: the exceptions to retry on besides RetryStep, all if
    left out; an irreversible step is retried on none but these.
    """

    max_attempts: int
    backoff: Exponential | Fixed | None = None
    jitter: float = 0.0
    on: type[BaseException] | Sequence[type[BaseException]] = ()


def delay(policy: RetryPolicy, attempt: int, *, random: Callable[[], float] = _random.random) -> float:
    """Seconds to wait after attempt number `attempt` (from 1) failed.

    random: gives a number from 0 to 1 for the jitter.
    """
    if policy.backoff is None:
        return 0.0
    doublings = min(attempt - 1, _LARGEST_EXPONENT)
    seconds = min(policy.backoff.first * 2.0**doublings, policy.backoff.most)
    return seconds * (1 + policy.jitter * (2 * random() - 1))


Outcome = Literal["ok", "error", "reject", "option", "timeout"]
Operator = Literal["equals", "greater_than", "less_than"]


class NotGiven:
    """What stands for an argument that was left out, where None is one that can be given."""

    def __repr__(self) -> str:
        return "<not given>"


NOT_GIVEN: Final = NotGiven()


@dataclass(frozen=True, eq=False)
class When:
    """What `when` was called with, not yet checked."""

    path: object
    tests: dict[Operator, object]

    def __str__(self) -> str:
        return ", ".join([repr(self.path), *(f"{name}={value!r}" for name, value in self.tests.items())])


@dataclass(frozen=True, eq=False)
class Link:
    """One arrow: from an outcome of a step to another step."""

    start: RouteStart
    target: object


@dataclass(frozen=True, eq=False)
class RouteStart:
    """An outcome of a step, ready for the arrow that says where it leads."""

    source: object
    outcome: Outcome = "ok"
    conditions: tuple[When, ...] = ()
    recovery: object = None
    option: object = None

    @property
    def plain(self) -> bool:
        """Whether this is no more than the step itself."""
        return self.outcome == "ok" and not self.conditions and self.recovery is None

    def when(
        self, path: str, *, equals: object = NOT_GIVEN, greater_than: object = NOT_GIVEN, less_than: object = NOT_GIVEN
    ) -> RouteStart:
        """Follow the arrow only when a value passes one test: `review.on("approve").when("sum", less_than=3) >> pay`.

        Only behind `.on(option)`. The value is looked up in the state with the answer in it. The tests are those of
        `Step.when`.
        """
        return replace(self, conditions=(*self.conditions, _test(path, equals, greater_than, less_than)))

    def __rshift__(self, target: Target) -> Chain:
        if not isinstance(target, Chain):
            return Chain((Link(self, target),))
        first = target.links[0].start
        return Chain((Link(self, first.source if first.plain else first), *target.links))

    def __call__(self, *, recovery: Recovery) -> RouteStart:
        """Name the kind of recovery for people and the audit: "compensation" or "undo". It undoes nothing by itself.

        Only after `on_error`: `charge.on_error(recovery="compensation") >> issue_credit`.
        """
        return replace(self, recovery=recovery)


@dataclass(frozen=True, eq=False)
class Chain:
    """Arrows in a row: `a >> b >> c`."""

    links: tuple[Link, ...]

    def __rshift__(self, target: Target) -> Chain:
        end = self.links[-1].target
        start = end if isinstance(end, RouteStart) else RouteStart(end)
        return Chain((*self.links, *(start >> target).links))


class Node:
    """Anything that an arrow can start from or lead to."""

    def __rshift__(self, target: Target) -> Chain:
        return RouteStart(self) >> target

    def __rrshift__(self, start: Never) -> Chain:
        """What stands before the arrow is no step: kept, so that it is refused together with all other faults."""
        return Chain((Link(RouteStart(start), self),))

    @property
    def on_error(self) -> RouteStart:
        """Where the final failure of a `Step` leads: `charge.on_error >> notify`."""
        return RouteStart(self, "error")

    @property
    def on_reject(self) -> RouteStart:
        """Where the rejection of an `Approval` leads: `review.on_reject >> decline`."""
        return RouteStart(self, "reject")

    @property
    def on_timeout(self) -> RouteStart:
        """Where a wait leads whose `within=` has passed: `review.on_timeout >> park`."""
        return RouteStart(self, "timeout")

    def on(self, option: str) -> RouteStart:
        """Where an option of a `Decision` leads: `review.on("ask_back") >> fix`. Of an `Approval`: approve, reject."""
        return RouteStart(self, "option", option=option)

    def when(
        self, path: str, *, equals: object = NOT_GIVEN, greater_than: object = NOT_GIVEN, less_than: object = NOT_GIVEN
    ) -> RouteStart:
        """Follow the arrow only when a value of the state passes one test: `classify.when("score", less_than=3) >> ok`.

        path: where the value is, as "account.tier". Give exactly one of the tests; numbers are compared as decimals,
        a missing path is false. The first route that matches is taken, then the one without a condition.
        """
        return RouteStart(self, conditions=(_test(path, equals, greater_than, less_than),))


def _test(path: object, equals: object, greater_than: object, less_than: object) -> When:
    given: dict[Operator, object] = {"equals": equals, "greater_than": greater_than, "less_than": less_than}
    return When(path, {name: value for name, value in given.items() if value is not NOT_GIVEN})


@dataclass(frozen=True, slots=True)
class End:
    """The end of a run, behind an arrow: the run completes, and says how: `tell >> End("rejected")`.

    outcome: the word for it, which `Run.outcome` has and lists show and filter: at most 40 letters, digits, underscores
    and hyphens, and no status of a run. compensate: undo what completed.
    """

    outcome: str
    _: KW_ONLY
    compensate: bool = False

    def __repr__(self) -> str:
        return f"End({self.outcome!r}{', compensate=True' if self.compensate else ''})"

    def __rrshift__(self, start: Never) -> Chain:
        """What stands before the arrow is no step: kept, so that it is refused together with all other faults."""
        return Chain((Link(RouteStart(start), self),))


Target = Node | Chain | End


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
    the first run, "skip" does nothing, "none" starts another. overlap: what happens at a window while a run of the
    schedule has not ended: "allow" starts beside it, "skip" leaves the window out. catch_up: which of the windows that
    passed while no worker was up are started: the "last", "all" of them in order, at most 100, or "none" that is more
    than a minute late.
    """

    expression: str
    model: type[BaseModel] | None = None
    _: KW_ONLY
    timezone: str = "UTC"
    idempotency: Literal["return_existing", "skip", "none"] = "return_existing"
    overlap: Overlap = "allow"
    catch_up: CatchUp = "last"


@dataclass(eq=False)
class Every(Trigger):
    """Started again and again after the same time; may be started by hand as well.

    interval: whole seconds, at least one. Its windows are counted from 1970-01-01 00:00 UTC, so that every process
    computes the same ones and neither a restart nor a deploy shifts them: `Every(timedelta(hours=6))` is due at 0, 6,
    12 and 18 o'clock UTC. The other arguments are as for `Cron`.
    """

    interval: timedelta
    model: type[BaseModel] | None = None
    _: KW_ONLY
    idempotency: Literal["return_existing", "skip", "none"] = "return_existing"
    overlap: Overlap = "allow"
    catch_up: CatchUp = "last"


@dataclass(eq=False)
class OnEvent(Trigger):
    """Started by every event of this name, with its payload; may be started by a call as well.

    name: the event's, as `send_event` takes it. model: the pydantic model that the payload must fit; without one the
    run is started without a payload. The run is of the event's tenant.
    """

    name: str
    model: type[BaseModel] | None = None


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
    within: by when it should have ended, retries included: a timedelta or seconds from when it could begin, or the path
    of a value of the state that says when, as `Wait(until=...)`. After that people are told and it is shown as late;
    nothing else happens. remind: when to tell them before, as a timedelta or seconds from when it could begin, or
    several, each less than `within=`.
    """

    function: Callable[..., object]
    _: KW_ONLY
    retry: Retry | None = None
    output: str | None = None
    input: Mapping[str, str | Sequence[str]] | None = None
    compensate: Callable[..., object] | None = None
    compensate_retry: Retry | None = None
    irreversible: bool = False
    compensatable: bool | None = None
    transaction: bool = False
    within: timedelta | float | str | None = None
    remind: timedelta | float | Sequence[timedelta | float] = ()


@dataclass(eq=False)
class Wait(StepElement):
    """A step that waits.

    duration: a timedelta or seconds. until: instead of it, the path of a value of the state that says when the wait is
    over, a time with its zone or a date, or for how long it is, as a duration: `Wait(until="order.ship_on")`.
    """

    duration: timedelta | float | None = None
    _: KW_ONLY
    until: str | None = None


@dataclass(eq=False)
class Log(StepElement):
    """A step that writes a line to the log. message: may hold top-level names of the state, as "Digest for {day}"."""

    message: str
    level: Literal["debug", "info", "warning", "error"] = "info"


@dataclass(frozen=True, slots=True, kw_only=True)
class Escalate:
    """Whose a wait becomes when nobody has ended it in time.

    after: a timedelta or seconds from when it was opened, less than `within=`. assignee: takes the place of whose it
    was. groups: join those whose it is. Both are as those of the step, and at least one of them is there.
    """

    after: timedelta | float
    assignee: str | None = None
    groups: Sequence[str] = ()


@dataclass(eq=False)
class WaitForEvent(StepElement):
    """A step that waits for an event from outside, which `send_event` brings. It holds no worker meanwhile.

    name: the event's. key: which of that name, as text with paths into the state in braces: `key="{payment_id}"`.
    model: the pydantic model that its payload must fit. output: the key that the payload is kept under, the step's own
    name if left out.
    within, remind, escalate: as those of a step for people. With a route `.on_timeout` the wait ends when `within=` has
    passed.
    lookback: how old an event may be that came before the step was entered, as a timedelta or seconds; if left out it
    may have come at any time since the run began. accept: "all", every run that waits takes the event, or "first", the
    one that has waited longest takes it and no other.
    """

    name: str
    _: KW_ONLY
    key: str
    model: type[BaseModel] | None = None
    output: str | None = None
    within: timedelta | float | str | None = None
    remind: timedelta | float | Sequence[timedelta | float] = ()
    escalate: Escalate | Sequence[Escalate] = ()
    lookback: timedelta | float | None = None
    accept: Literal["all", "first"] = "all"


@dataclass(frozen=True, slots=True)
class CancelOn:
    """An event that cancels the run: `class Order(Workflow, cancel_on=CancelOn("order.withdrawn", key="{order_id}"))`.

    name: the event's. key: which of that name, as text with paths into the payload in braces; `start_run` raises
    PayloadError where the payload does not hold it. compensate: undo what completed.
    """

    name: str
    _: KW_ONLY
    key: str
    compensate: bool = False


@dataclass(frozen=True, slots=True)
class Deadline:
    """How long a run may take, for `class Order(Workflow, deadline=Deadline(timedelta(days=3)))`.

    after: a timedelta or seconds from the start of the run. It fails then; cancel: it is cancelled instead.
    compensate: of one that is cancelled, undo what completed, as is always done of one that fails.
    """

    after: timedelta | float
    _: KW_ONLY
    cancel: bool = False
    compensate: bool = False


@dataclass(frozen=True, slots=True)
class Option:
    """One answer to a `Decision`.

    name: the word for it, which `.on(name)` and `decide_run` take: a plain name of at most 60 characters. form: the
    pydantic model of what is asked with it. comment_required: whether whoever takes it has to say why.
    """

    name: str
    _: KW_ONLY
    form: type[BaseModel] | None = None
    comment_required: bool = False


@dataclass(eq=False)
class ManualStep(StepElement):
    """A step that waits for a person.

    prompt: what that person reads; may hold top-level names of the state. output: the key the answer is kept under.
    permission: what the dashboard asks the host's access callback for.
    within: when it is due, as a timedelta or seconds from when it was opened, or the path of a value of the state that
    says when, as `Wait(until=...)`. Without a route `.on_timeout` nothing happens then but that people are told.
    remind: when to remind whoever has to answer, as a timedelta or seconds from when it was opened, or several, each
    less than `within=`. escalate: whose it becomes when it stays open, as one or several Escalate.
    assignee: the id of the person whose it is, groups: the groups whose it is, as text that may hold paths into the
    state in braces: `assignee="{manager_id}"`. On the pages only these may answer, and who has the right `assign`.
    """

    prompt: str | None = None
    _: KW_ONLY
    output: str | None = None
    permission: str | None = None
    within: timedelta | float | str | None = None
    remind: timedelta | float | Sequence[timedelta | float] = ()
    escalate: Escalate | Sequence[Escalate] = ()
    assignee: str | None = None
    groups: Sequence[str] = ()


@dataclass(eq=False)
class Pause(ManualStep):
    """A step that waits until a person lets the run go on.

    It takes what every step for people takes: see ManualStep.
    """


@dataclass(eq=False)
class Decision(ManualStep):
    """A step that waits until a person takes one of several options; each leads along `.on(option)`.

    options: names, or Option where there is more to say. form: the pydantic model of what is asked with those options
    that have no form of their own. input: the paths of values that the form's fields begin with and that are not named
    as the field is, as {"amount": "invoice.amount"}. updates: fields whose answers join the state under their names.
    approvals: how many different people have to take the first option; each other option needs one. not_starter:
    whether the person who started the run may not take the first option. not_by: names of decisions; who has decided
    there may not take the first option here.
    What was decided is kept under `output`, the step's own name if left out, as option, actor, decided_at, comment
    and answer. The rest is what every step for people takes: see ManualStep.
    """

    _: KW_ONLY
    if TYPE_CHECKING:
        options: Sequence[str | Option]
    else:  # one that is left out is refused with all other faults of the class
        options: Sequence[str | Option] = ()
    form: type[BaseModel] | None = None
    input: Mapping[str, str | Sequence[str]] | None = None
    updates: Sequence[str] = ()
    approvals: int = 1
    not_starter: bool = False
    not_by: Sequence[str] = ()


@dataclass(eq=False)
class Approval(Decision):
    """A Decision with the options approve and reject: `>>` leads on from an approval, `.on_reject` from a rejection.

    form: what is asked of whoever approves. It takes what a Decision takes but for `options`.
    """

    _: KW_ONLY
    options: Sequence[str | Option] = field(default=("approve", "reject"), init=False)
