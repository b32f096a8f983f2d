"""A workflow as plain data: what a class body became once it was found valid."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property, reduce
from graphlib import TopologicalSorter
from operator import or_
from typing import Any, Literal

from pydantic import BaseModel, TypeAdapter

_Edges = Mapping[str, Collection[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Precedence:
    """A bit for each node; and for each node the bits of those that lead to it, its own among them in a circle."""

    bit: Mapping[str, int]
    before: Mapping[str, int]


def precedence(edges: _Edges) -> Precedence:
    """What leads to each node, at the price of its edges: joining two sets of bits takes no loop over their members."""
    bit = {name: 1 << number for number, name in enumerate(edges)}
    back = _reversed(edges)
    before: dict[str, int] = {}
    for group in _groups(edges, back):
        entered_from = {each for name in group for each in back[name]}
        outside = [before[name] | bit[name] for name in entered_from - group]
        inside = [] if entered_from.isdisjoint(group) else [bit[name] for name in group]
        before.update(dict.fromkeys(group, reduce(or_, outside + inside, 0)))
    return Precedence(bit=bit, before=before)


def _reversed(edges: _Edges) -> _Edges:
    back: dict[str, list[str]] = {name: [] for name in edges}
    for name, targets in edges.items():
        for target in targets:
            back[target].append(name)
    return back


def _groups(edges: _Edges, back: _Edges) -> Iterator[set[str]]:
    """The nodes that lead to one another, else each by itself; every group after those that lead to it."""
    placed: set[str] = set()
    for start in reversed(_left(edges)):
        group, waiting = set[str](), [start]
        while waiting:
            name = waiting.pop()
            if name not in placed:
                placed.add(name)
                group.add(name)
                waiting.extend(back[name])
        if group:
            yield group


def _left(edges: _Edges) -> list[str]:
    """All nodes as a walk leaves them: each after everything that it reached first through it."""
    left, entered = list[str](), set[str]()
    for start in edges:
        path = [] if start in entered else [(start, iter(edges[start]))]
        entered.add(start)
        while path:
            name, targets = path[-1]
            following = next((each for each in targets if each not in entered), None)
            if following is None:
                left.append(name)
                path.pop()
            else:
                entered.add(following)
                path.append((following, iter(edges[following])))
    return left


StepKind = Literal["function", "wait", "log", "pause", "approval"]
Recovery = Literal["compensation", "undo"]
Path = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """A test on one value of the state. A missing path is false."""

    path: Path
    operator: Literal["equals", "greater_than", "less_than"]
    value: Any


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

    function: Callable[..., Any]
    name: str
    parameters: tuple[Parameter, ...]
    retry: RetryPolicy = field(default_factory=RetryPolicy)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSpec:
    """One declared step."""

    name: str
    aliases: tuple[str, ...] = ()
    kind: StepKind = "function"
    function: Callable[..., Any] | None = None
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
    duration: timedelta | None = None
    prompt: str | None = None
    approvals: int = 1
    not_starter: bool = False
    message: str | None = None
    level: Literal["debug", "info", "warning", "error"] = "info"
    max_visits: int | None = None

    @property
    def manual(self) -> bool:
        """Whether the step waits for a person."""
        return self.kind in ("pause", "approval")

    @property
    def targets(self) -> frozenset[str]:
        """Where the routes out of the step lead."""
        error = [self.error.target] if self.error else []
        return frozenset([*(route.target for route in self.ok), *error])

    @property
    def blocks_replay(self) -> bool:
        """Whether the step's effect cannot be taken back, so that a replay asks first."""
        return self.irreversible or not self.compensatable


@dataclass(frozen=True, slots=True, kw_only=True)
class TriggerSpec:
    """One way to start the workflow."""

    name: str
    kind: Literal["manual", "cron"]
    model: type[BaseModel] | None = None
    expression: str | None = None
    timezone: str | None = None
    idempotency: Literal["return_existing", "skip", "none"] = "return_existing"


@dataclass(frozen=True, kw_only=True)
class WorkflowSpec:
    """One declared workflow. `steps` and `triggers` keep the order of declaration."""

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
    fingerprint: str

    @property
    def default_trigger(self) -> TriggerSpec:
        """The first trigger."""
        return next(iter(self.triggers.values()))

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
        if step not in self.steps:
            return frozenset()
        return self.steps[step].targets.union(self.dependents[step])

    def visits_allowed(self, step: str) -> int:
        """How often a run may enter the step."""
        return self.steps[step].max_visits or self.max_visits
