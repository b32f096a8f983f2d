"""Changes that a deploy makes to a workflow, as plain values; a step that is removed comes back in the end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from hypothesis import strategies as st

from tests.integration.state_machine.plans import StepPlan, WorkflowPlan, any_step, first_name

FEWEST_STEPS = 2


@dataclass(frozen=True, kw_only=True)
class Change:
    """What becomes of the step at a place, or what is added before it."""

    what: Literal["added", "removed", "renamed", "moved", "rolled back"]
    at: int
    step: StepPlan


def changes() -> st.SearchStrategy[Change]:
    """Any change."""
    what = st.sampled_from(["added", "added", "removed", "renamed", "moved", "rolled back"])
    return st.builds(Change, what=what, at=st.integers(0, 6), step=any_step())


def changed(versions: Sequence[WorkflowPlan], change: Change) -> WorkflowPlan:
    """The version that follows these; the last one again where the change cannot be made."""
    plan, steps = versions[-1], list(versions[-1].steps)
    at = change.at % len(steps)
    match change.what:
        case "added":
            return _with(plan, change.at % (len(steps) + 1), replace(change.step, name=f"n{len(versions)}"))
        case "removed" if len(steps) > FEWEST_STEPS:
            del steps[at]
        case "renamed":
            return _renamed(plan, steps[at])
        case "moved" if at + 1 < len(steps):
            return _moved(plan, at)
        case "rolled back" if len(versions) > 1:
            return versions[-2]
    return _fitted(plan, steps)


def restored(versions: Sequence[WorkflowPlan]) -> WorkflowPlan:
    """The last version, and at its end every step of another one that it declares no more."""
    plan = versions[-1]
    steps = {first_name(step.name): step for step in plan.steps}
    for version in reversed(versions):
        for step in version.steps:
            steps.setdefault(first_name(step.name), replace(step, when=None, error=None, reject=None, after=()))
    return _fitted(plan, list(steps.values()))


def leads_to(plan: WorkflowPlan, name: str) -> set[str]:
    """Where a run of a flow may be after this step, as the steps were called first; "" for the end.

    One that cannot be repeated may be passed by.
    """
    found: set[str] = set()
    at = {first_name(step.name): place for place, step in enumerate(plan.steps)}
    waiting = [at[name]] if name in at else []
    while waiting:
        place = waiting.pop()
        step = plan.steps[place]
        onward = plan.steps[place + 1].name if place + 1 < len(plan.steps) else ""
        late = "" if step.kind in ("decision", "event") and step.within else onward
        routes = (onward, step.when or onward, step.error or onward, step.reject or onward, late)
        for target in {first_name(each) for each in routes}:
            if target not in found and target in at:
                lasting = plan.steps[at[target]]
                waiting += [at[target]] if lasting.irreversible or not lasting.compensatable else []
            found.add(target)
    return found


def _with(plan: WorkflowPlan, at: int, added: StepPlan) -> WorkflowPlan:
    """With a step before the one at the place, which waits for it, and behind the one before."""
    steps = list(plan.steps)
    if plan.style == "dependency":
        added = replace(added, after=(steps[at - 1].name,) if at else ())
        steps[at : at + 1] = [replace(each, after=(*each.after, added.name)) for each in steps[at : at + 1]]
    steps.insert(at, added)
    return _fitted(plan, steps)


def _renamed(plan: WorkflowPlan, step: StepPlan) -> WorkflowPlan:
    new = f"{step.name}_"

    def now(name: str | None) -> str | None:
        return new if name == step.name else name

    steps = [
        replace(
            each,
            name=now(each.name) or "",
            after=tuple(now(name) or "" for name in each.after),
            when=now(each.when),
            error=now(each.error),
            reject=now(each.reject),
        )
        for each in plan.steps
    ]
    steps[plan.steps.index(step)] = replace(steps[plan.steps.index(step)], had=(step.name, *step.had))
    return replace(plan, steps=tuple(steps))


def _moved(plan: WorkflowPlan, at: int) -> WorkflowPlan:
    """With the step behind the next, for which it waits then."""
    steps = list(plan.steps)
    step, other = steps[at : at + 2]
    if plan.style == "dependency":
        step = replace(step, after=(*step.after, other.name))
    steps[at : at + 2] = [other, step]
    return _fitted(plan, steps)


def _fitted(plan: WorkflowPlan, steps: list[StepPlan]) -> WorkflowPlan:
    """The plan with these steps, of whose routes remain those that lead somewhere and are allowed."""
    names = [step.name for step in steps]
    return replace(plan, steps=tuple(_routed(plan, step, names, at) for at, step in enumerate(steps)))


def _routed(plan: WorkflowPlan, step: StepPlan, names: list[str], at: int) -> StepPlan:
    if plan.style == "dependency":
        return replace(step, after=tuple(sorted({*step.after} & {*names[:at]})))
    step = replace(
        step,
        when=step.when if step.when in names else None,
        error=step.error if step.error in names[at + 1 :] else None,
        reject=step.reject if step.reject in names else None,
    )
    if step.kind not in ("approval", "decision"):
        return step
    last = at + 1 == len(names)
    return replace(step, kind="pause", reject=None) if last else replace(step, reject=step.reject or names[at + 1])
