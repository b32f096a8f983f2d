"""Random workflows as plain values, which Hypothesis draws, shrinks and prints."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from hypothesis import strategies as st

Style = Literal["flow", "dependency"]
Kind = Literal["function", "wait", "log", "pause", "approval", "decision", "event"]
AtDeadline = Literal["fails", "is cancelled", "is undone"]

WAIT_SECONDS = 500.0
BACKOFF_SECONDS = 20.0
DEADLINE_SECONDS = 4_000.0
MOST_STEPS = 6

# What a call of a step function comes to: `ok` and `again` return, and `again` takes the conditional route.
GOOD = ("ok", "ok", "again")
BAD = ("retry", "later", "fail", "boom", "unfit")


@dataclass(frozen=True, kw_only=True)
class StepPlan:
    """One step. outcomes: what its calls come to, the last one for ever; undo: those of its compensation.

    had: the names that it had. after: steps that it waits for. when, error, reject: steps that its routes lead to; of a
    decision `reject` is where its other option does. within: whether it is to end in time; a decision that does not, or
    an event that does not come, ends the run, and of what calls a function people are told.
    """

    name: str = ""
    had: tuple[str, ...] = ()
    kind: Kind = "function"
    outcomes: tuple[str, ...] = ("ok",)
    undo: tuple[str, ...] = ()
    attempts: int = 1
    backoff: bool = False
    undo_attempts: int = 1
    irreversible: bool = False
    compensatable: bool = True
    transaction: bool = False
    keyed: bool = False
    within: bool = False
    after: tuple[str, ...] = ()
    when: str | None = None
    error: str | None = None
    recovery: Literal["compensation", "undo"] | None = None
    reject: str | None = None


@dataclass(frozen=True, kw_only=True)
class WorkflowPlan:
    """One workflow. In a flow each step leads to the next; other routes are added to that. deadline: what becomes of a
    run that takes longer than DEADLINE_SECONDS.
    """

    style: Style
    steps: tuple[StepPlan, ...]
    deadline: AtDeadline | None = None

    def step(self, name: str) -> StepPlan:
        """The step of this name."""
        return next(each for each in self.steps if each.name == name)

    def above(self, step: StepPlan) -> frozenset[str]:
        """The steps that the step waits for, directly or not, as they were called first."""
        return frozenset().union(*({first_name(name)} | self.above(self.step(name)) for name in step.after))


def step_name(index: int) -> str:
    """What the step of this index is called."""
    return f"s{index}"


def first_name(name: str) -> str:
    """What a step was called before it was renamed; the same of every name within a longer text."""
    return name.replace("_", "")


def outcomes() -> st.SearchStrategy[tuple[str, ...]]:
    """What the calls of one function come to."""
    one = st.sampled_from([*GOOD * 5, *BAD])
    return st.lists(one, min_size=1, max_size=3).map(tuple)


@st.composite
def function_steps(draw: st.DrawFn, *, irreversible: bool = True) -> StepPlan:
    """A step that calls a function."""
    last = draw(st.sampled_from(["plain", *["compensated"] * 3, "stuck", "irreversible"]))
    compensated = last == "compensated"
    return StepPlan(
        outcomes=draw(outcomes()),
        undo=draw(outcomes()) if compensated else (),
        undo_attempts=draw(st.integers(1, 2)) if compensated else 1,
        attempts=draw(st.integers(1, 3)),
        backoff=draw(st.booleans()),
        irreversible=irreversible and last == "irreversible",
        compensatable=last != "stuck",
        transaction=draw(st.integers(0, 3)) == 0,
        keyed=draw(st.booleans()),
        within=draw(st.integers(0, 2)) == 0,
    )


def other_steps() -> st.SearchStrategy[StepPlan]:
    """A step that calls none."""
    kinds: list[Kind] = ["wait", "log", "pause", "approval", "decision", "event"]
    return st.builds(StepPlan, kind=st.sampled_from(kinds), keyed=st.booleans(), within=st.booleans())


def any_step() -> st.SearchStrategy[StepPlan]:
    """A step of any kind, mostly one that calls a function."""
    return st.one_of(function_steps(), function_steps(), other_steps())


@st.composite
def flows(draw: st.DrawFn, steps: st.SearchStrategy[StepPlan] | None = None) -> WorkflowPlan:
    """A chain with branches, error routes and ways back."""
    drawn = draw(st.lists(steps or any_step(), min_size=3, max_size=MOST_STEPS))
    return WorkflowPlan(style="flow", steps=tuple(_routed(draw, step, at, len(drawn)) for at, step in enumerate(drawn)))


def _routed(draw: st.DrawFn, step: StepPlan, at: int, count: int) -> StepPlan:
    step = replace(step, name=step_name(at))
    anywhere = _names(0, count - 1)
    if step.kind in ("approval", "decision"):
        return replace(step, reject=draw(anywhere)) if at + 1 < count else replace(step, kind="pause")
    if step.kind != "function":
        return step
    return replace(
        step,
        when=draw(st.one_of(st.none(), _names(0, at), anywhere)),
        error=draw(st.one_of(st.none(), _names(at + 1, count - 1))) if at + 1 < count else None,
        recovery=draw(st.sampled_from([None, "compensation", "undo"])),
    )


def _names(first: int, last: int) -> st.SearchStrategy[str]:
    return st.integers(first, last).map(step_name)


@st.composite
def dependencies(draw: st.DrawFn, steps: st.SearchStrategy[StepPlan] | None = None) -> WorkflowPlan:
    """Steps that wait for others declared before them: fan-out and joins."""
    drawn = draw(st.lists(steps or any_step(), min_size=3, max_size=MOST_STEPS))
    return WorkflowPlan(style="dependency", steps=tuple(_waiting(draw, step, at) for at, step in enumerate(drawn)))


def _waiting(draw: st.DrawFn, step: StepPlan, at: int) -> StepPlan:
    step = replace(step, name=step_name(at))
    if at == 0:
        return step
    return replace(step, after=tuple(sorted(draw(st.sets(_names(0, at - 1), max_size=3)))))


def workflows() -> st.SearchStrategy[WorkflowPlan]:
    """A workflow of either style, one in three with a deadline."""
    deadlines: list[AtDeadline | None] = ["fails", "is cancelled", "is undone"]
    plans = st.one_of(flows(), dependencies())
    return st.builds(
        lambda plan, deadline: replace(plan, deadline=deadline), plans, st.sampled_from([*[None] * 6, *deadlines])
    )
