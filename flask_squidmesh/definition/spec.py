"""A workflow as plain data: what a class body became once it was found valid."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cached_property
from graphlib import TopologicalSorter
from types import MappingProxyType
from typing import Any, Final, Literal, NamedTuple

from pydantic import BaseModel, TypeAdapter

from .precedence import precedence
from .values import JsonObject, JsonValue

StepKind = Literal["function", "wait", "log", "pause", "approval", "decision", "event"]
Recovery = Literal["compensation", "undo"]
Path = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """A test on one value of the state. A missing path is false."""

    path: Path
    operator: Literal["equals", "greater_than", "less_than"]
    value: object


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Where an ok outcome leads; without a condition it is the fallback."""

    target: str
    condition: Condition | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorRoute:
    """Where a final failure, or a rejection, leads."""

    target: str
    recovery: Recovery | None = None


END: Final = "end:"
_UNDONE: Final = "undo:"


@dataclass(frozen=True, slots=True, kw_only=True)
class EndSpec:
    """How a run completes that a route leads here: the word for it, and whether its completed steps are undone then."""

    outcome: str
    compensate: bool = False

    @property
    def target(self) -> str:
        """The same as the target of a route, beside names of steps, none of which holds a colon."""
        return f"{END}{_UNDONE if self.compensate else ''}{self.outcome}"


def end_at(target: str) -> EndSpec | None:
    """Return the end that the target of a route is; None where it is a step."""
    if not target.startswith(END):
        return None
    word = target.removeprefix(END)
    return EndSpec(outcome=word.removeprefix(_UNDONE), compensate=word.startswith(_UNDONE))


@dataclass(frozen=True, slots=True, kw_only=True)
class OptionSpec:
    """One answer that a person can give. routes: where it leads, none in dependency style. form: what it asks for."""

    name: str
    form: type[BaseModel] | None = None
    comment_required: bool = False
    routes: tuple[Route, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class EscalationSpec:
    """Whose a wait becomes when it has been open for `after`: a further assignee, further groups, as templates."""

    after: timedelta
    assignee: str | None = None
    groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadlineSpec:
    """How long a run may take, and what happens then: it fails, or is cancelled."""

    after: timedelta
    cancel: bool = False
    compensate: bool = False


Accept = Literal["all", "first"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AwaitedEvent:
    """What a step waits for. key: as a template. lookback: how old it may be, None for since the run began."""

    name: str
    key: str
    model: type[BaseModel] | None = None
    lookback: timedelta | None = None
    accept: Accept = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelOnSpec:
    """The event that cancels a run. key: as a template."""

    name: str
    key: str
    compensate: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Seconds between attempts: `first` doubled each time up to `most`, or `first` every time where they are equal."""

    first: float
    most: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How many attempts in all, how far apart, and on which exceptions; on any where `on` is empty, but an irreversible
    step only on those it names."""

    max_attempts: int = 1
    backoff: Backoff | None = None
    jitter: float = 0.0
    on: tuple[type[BaseException], ...] = ()


ONE_ATTEMPT: Final = RetryPolicy()


class VisitSettings(NamedTuple):
    """What is stored with a visit of a step, or with a compensation, and holds for it, whatever is deployed later.

    aliases: other names of the step. entered_as: what it was called when the visit was made, where it is called
    otherwise now. sources: from where in the state those inputs come that are not named as they are there. of, order:
    the visit that a compensation undoes, and its turn.
    """

    kind: str | None = None
    retry: RetryPolicy = ONE_ATTEMPT
    aliases: tuple[str, ...] = ()
    irreversible: bool = False
    compensatable: bool = True
    compensate: str | None = None
    compensate_retry: RetryPolicy = ONE_ATTEMPT
    transaction: bool = False
    sources: Mapping[str, Path] = MappingProxyType({})
    output: str | None = None
    permission: str | None = None
    entered_as: str | None = None
    of: str | None = None
    order: int = 0

    @classmethod
    def read(cls, stored: Mapping[str, Any]) -> VisitSettings:
        """Those that were stored; what a later version has added is left out."""
        settings = {name: value for name, value in stored.items() if name in _STORED}
        if "max_attempts" in settings:
            settings["retry"] = _policy(settings)
            for name in _SPACING:
                settings.pop(name, None)
        if "compensate_retry" in settings:
            settings["compensate_retry"] = _policy(settings["compensate_retry"])
        if "aliases" in settings:
            settings["aliases"] = tuple(settings["aliases"])
        if "sources" in settings:
            settings["sources"] = {name: tuple(path) for name, path in settings["sources"].items()}
        return cls(**settings)

    def stored(self) -> JsonObject:
        """The same as it is stored, without what is usual."""
        settings: dict[str, JsonValue] = {
            "kind": self.kind,
            "aliases": self.aliases,
            "irreversible": self.irreversible,
            "compensate": self.compensate,
            "transaction": self.transaction,
            "sources": self.sources,
            "output": self.output,
            "permission": self.permission,
            "entered_as": self.entered_as,
            "of": self.of,
        }
        settings = {name: value for name, value in settings.items() if value}
        if self.retry is not ONE_ATTEMPT:
            settings.update(_spacing(self.retry))
        if not self.compensatable:
            settings["compensatable"] = False
        if self.of is not None:
            settings["order"] = self.order
        elif self.compensate is not None:
            settings["compensate_retry"] = _spacing(self.compensate_retry)
        return settings


_SPACING: Final = ("max_attempts", "first", "most", "jitter")
_STORED: Final = frozenset((*VisitSettings._fields, *_SPACING))


def _policy(stored: Mapping[str, Any]) -> RetryPolicy:
    first, most = stored.get("first"), stored.get("most")
    return RetryPolicy(
        max_attempts=stored.get("max_attempts", 1),
        backoff=None if first is None or most is None else Backoff(first=first, most=most),
        jitter=stored.get("jitter", 0.0),
    )


def _spacing(policy: RetryPolicy) -> JsonObject:
    if policy.max_attempts == 1:
        return {}
    backoff = policy.backoff
    spaced = {"first": backoff.first, "most": backoff.most} if backoff else {}
    return {"max_attempts": policy.max_attempts, **spaced, "jitter": policy.jitter}


Source = Literal["state", "payload", "context"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One parameter of a step function: where its value comes from and what it must be."""

    name: str
    source: Source
    path: Path = ()
    adapter: TypeAdapter[Any] | None = None
    required: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Compensation:
    """The function that undoes a step, and how often it is tried."""

    function: Callable[..., object]
    name: str
    parameters: tuple[Parameter, ...]
    retry: RetryPolicy = field(default_factory=RetryPolicy)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSpec:
    """One declared step."""

    name: str
    aliases: tuple[str, ...] = ()
    kind: StepKind = "function"
    function: Callable[..., object] | None = None
    parameters: tuple[Parameter, ...] = ()
    output: str | None = None
    after: tuple[str, ...] = ()
    ok: tuple[Route, ...] = ()
    error: ErrorRoute | None = None
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    irreversible: bool = False
    compensatable: bool = True
    compensate: Compensation | None = None
    transaction: bool = False
    permission: str | None = None
    within: timedelta | None = None
    within_at: Path | None = None
    duration: timedelta | None = None
    until: Path | None = None
    prompt: str | None = None
    options: tuple[OptionSpec, ...] = ()
    form_input: Mapping[str, Path] = field(default_factory=dict)
    updates: tuple[str, ...] = ()
    approvals: int = 1
    not_starter: bool = False
    not_by: tuple[str, ...] = ()
    assignee: str | None = None
    groups: tuple[str, ...] = ()
    remind: tuple[timedelta, ...] = ()
    escalate: tuple[EscalationSpec, ...] = ()
    timeout: str | None = None
    awaits: AwaitedEvent | None = None
    message: str | None = None
    level: Literal["debug", "info", "warning", "error"] = "info"
    max_visits: int | None = None

    @property
    def manual(self) -> bool:
        """Whether the step waits for a person."""
        return self.kind in ("pause", "approval", "decision")

    @property
    def timed(self) -> bool:
        """Whether people are told of the step when it takes long."""
        return self.kind == "function" and (self.within is not None or self.within_at is not None)

    @property
    def opens_wait(self) -> bool:
        """Whether the step waits for a person or an event, so that nothing of it is delivered to a worker."""
        return self.manual or self.kind == "event"

    @property
    def routes(self) -> tuple[Route, ...]:
        """All routes out of the step, those without a condition behind it included."""
        error = [Route(target=self.error.target)] if self.error else []
        timeout = [Route(target=self.timeout)] if self.timeout else []
        return (*self.ok, *error, *(route for option in self.options for route in option.routes), *timeout)

    @property
    def targets(self) -> frozenset[str]:
        """The steps that the routes out of the step lead to."""
        return frozenset(route.target for route in self.routes if end_at(route.target) is None)

    @property
    def ends(self) -> tuple[EndSpec, ...]:
        """The ends that the routes out of the step lead to, each once."""
        found = (end_at(target) for target in dict.fromkeys(route.target for route in self.routes))
        return tuple(end for end in found if end is not None)

    @property
    def failure_route(self) -> ErrorRoute | None:
        """Where a failure of the step leads. That of an approval leads nowhere: to reject is a person's answer."""
        return None if self.options else self.error

    def option(self, name: str) -> OptionSpec | None:
        """Return the option of this name."""
        return next((each for each in self.options if each.name == name), None)

    @property
    def field_sources(self) -> Mapping[str, Path]:
        """For each field of a form where in the state the value is that it begins with."""
        fields = (field for option in self.options if option.form for field in option.form.model_fields)
        return {field: self.form_input.get(field, (field,)) for field in fields}

    @property
    def blocks_replay(self) -> bool:
        """Whether the step's effect cannot be taken back, so that a replay asks first."""
        return self.irreversible or not self.compensatable

    @property
    def visit_settings(self) -> VisitSettings:
        """What is stored with a visit of the step."""
        return VisitSettings(
            kind=self.kind,
            retry=_timing(self.retry),
            aliases=self.aliases,
            irreversible=self.irreversible,
            compensatable=not self.blocks_replay,
            compensate=self.compensate.name if self.compensate else None,
            compensate_retry=_timing(self.compensate.retry) if self.compensate else ONE_ATTEMPT,
            transaction=self.transaction,
            sources={each.name: each.path for each in self.parameters if each.path and each.path != (each.name,)},
            output=self.output,
            permission=self.permission,
        )


def _timing(policy: RetryPolicy) -> RetryPolicy:
    """The policy without the exceptions that it names, which are looked up in the definition of today."""
    return ONE_ATTEMPT if policy.max_attempts == 1 else replace(policy, on=())


Overlap = Literal["allow", "skip", "queue", "cancel"]
CatchUp = Literal["last", "all", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TriggerSpec:
    """One way to start the workflow. expression: of a schedule, a cron expression or as `cron.every` writes it."""

    name: str
    kind: Literal["manual", "cron", "event"]
    model: type[BaseModel] | None = None
    event: str | None = None
    expression: str | None = None
    timezone: str | None = None
    idempotency: Literal["return_existing", "skip", "none"] = "return_existing"
    overlap: Overlap = "allow"
    catch_up: CatchUp = "last"


@dataclass(frozen=True, kw_only=True)
class WorkflowSpec:
    """One declared workflow. `steps` and `triggers` keep the order of declaration.

    opening_keys: by step, the top-level names of the state that are read when it is entered.
    """

    name: str
    title: str
    description: str
    aliases: tuple[str, ...] = ()
    version: str | None = None
    subject: str | None = None
    style: Literal["flow", "dependency"]
    triggers: Mapping[str, TriggerSpec]
    steps: Mapping[str, StepSpec]
    entry: tuple[str, ...]
    max_visits: int = 100
    deadline: DeadlineSpec | None = None
    cancel_on: CancelOnSpec | None = None
    opening_keys: Mapping[str, frozenset[str]] = field(default_factory=dict)
    fingerprint: str

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The name that the workflow has, and then those that it had: runs are stored under any of them."""
        return (self.name, *self.aliases)

    @property
    def default_trigger(self) -> TriggerSpec:
        """The first trigger."""
        return next(iter(self.triggers.values()))

    @cached_property
    def ends(self) -> tuple[EndSpec, ...]:
        """The ends that routes lead to, each once, in the order of the steps that they come from."""
        return tuple(dict.fromkeys(end for step in self.steps.values() for end in step.ends))

    @cached_property
    def hears(self) -> frozenset[str]:
        """The names of the events that start its runs, that they wait for, and that cancel them."""
        awaited = {step.awaits.name for step in self.steps.values() if step.awaits}
        starting = {trigger.event for trigger in self.triggers.values() if trigger.event}
        return frozenset(awaited | starting | ({self.cancel_on.name} if self.cancel_on else set()))

    @cached_property
    def visit_settings(self) -> Mapping[str, VisitSettings]:
        """What is stored with visits, by step."""
        return {name: step.visit_settings for name, step in self.steps.items()}

    @cached_property
    def step_names(self) -> Mapping[str, str]:
        """The names of the steps as they are now, by each name that they have or had."""
        had = {alias: name for name, step in self.steps.items() for alias in step.aliases}
        return {**had, **{name: name for name in self.steps}}

    @cached_property
    def dependents(self) -> Mapping[str, tuple[str, ...]]:
        """For each step the steps that wait for it, in order of declaration."""
        found: dict[str, list[str]] = {name: [] for name in self.steps}
        for name, step in self.steps.items():
            for other in step.after:
                found[other].append(name)
        return {name: tuple(names) for name, names in found.items()}

    @cached_property
    def revisited(self) -> frozenset[str]:
        """The steps of a flow that a run can enter more than once, because a route leads back to them."""
        order = precedence({name: step.targets for name, step in self.steps.items()})
        return frozenset(name for name, before in order.before.items() if before & order.bit[name])

    @cached_property
    def ancestors(self) -> Mapping[str, frozenset[str]]:
        """For each step of a dependency workflow everything it waits for, directly or not."""
        found: dict[str, frozenset[str]] = {}
        for name in TopologicalSorter({name: step.after for name, step in self.steps.items()}).static_order():
            after = self.steps[name].after
            found[name] = frozenset(after).union(*(found[other] for other in after))
        return found

    def following(self, step: str) -> frozenset[str]:
        """The steps that may be entered when this one ends; none where it is not declared."""
        return self._following.get(step, frozenset())

    @cached_property
    def _following(self) -> Mapping[str, frozenset[str]]:
        return {name: step.targets.union(self.dependents[name]) for name, step in self.steps.items()}

    def visits_allowed(self, step: str) -> int:
        """How often a run may enter the step."""
        return self.steps[step].max_visits or self.max_visits
