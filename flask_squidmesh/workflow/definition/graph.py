"""The shape of a workflow: entries, what can be reached, cycles."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter

from ..spec import StepSpec

_Edges = Mapping[str, frozenset[str]]


def reachable(edges: _Edges, starts: Iterable[str]) -> frozenset[str]:
    """Everything that the edges lead to, the starts included."""
    found: set[str] = set()
    waiting = list(starts)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting.extend(edges[name])
    return frozenset(found)


def flow_problems(steps: Mapping[str, StepSpec]) -> Iterator[str]:
    """What is wrong with the routes of a flow."""
    yield from _approvals(steps)
    yield from _restless_loops(steps)


def dependency_problems(steps: Mapping[str, StepSpec]) -> Iterator[str]:
    """What is wrong with what the steps wait for."""
    for cycle in _cycles({name: frozenset(step.after) for name, step in steps.items()}):
        yield f"{_joined(cycle)} wait for each other in a circle; remove one of them from an after="


def unreachable(edges: _Edges, entry: str, excused: frozenset[str]) -> Iterator[str]:
    """What is wrong with steps that no route from the entry leads to, `excused` ones aside."""
    targets = excused.union(*edges.values())
    idle = [name for name in edges if name != entry and name not in targets]
    for name in idle:
        if edges[name]:
            yield (
                f"there are two entry steps, {entry} and {name}, and flow starts with its first step; "
                f"write {entry} >> ... >> {name}, or name {name} first"
            )
        else:
            yield f"step {name}: no line of flow leads to it; write ... >> {name}, or remove it"
    reached = reachable(edges, [entry, *idle, *excused])
    lost = [name for name in edges if name not in reached]
    if lost:
        yield f"{_joined(lost)} cannot be reached from {entry}; write a route ... >> {lost[0]}, or remove them"


def _approvals(steps: Mapping[str, StepSpec]) -> Iterator[str]:
    for name, step in steps.items():
        if step.kind == "approval" and not step.ok:
            yield f"step {name}: nothing says where an approval leads; write {name} >> some_step in flow"
        if step.kind == "approval" and step.error is None:
            yield f"step {name}: nothing says where a rejection leads; write {name}.on_reject >> some_step in flow"


def _restless_loops(steps: Mapping[str, StepSpec]) -> Iterator[str]:
    """Loops that nothing slows down and nothing ends."""
    restful = {name for name, step in steps.items() if step.manual or step.kind == "wait"}
    edges = {
        name: (_unconditional(step) - restful if name not in restful else frozenset()) for name, step in steps.items()
    }
    for cycle in _cycles(edges):
        yield (
            f"{_joined(cycle)}: a loop without a manual step, a wait or a condition; "
            f'write {cycle[0]}.when("done", equals=True) >> ... as the way out'
        )


def _unconditional(step: StepSpec) -> frozenset[str]:
    if any(route.condition for route in step.ok):
        return frozenset([step.error.target]) if step.error else frozenset()
    return step.targets


def _cycles(edges: _Edges) -> Iterator[list[str]]:
    """Cycles that share no step, each from its step declared first, in the direction of the edges."""
    left = dict(edges)
    while True:
        try:
            TopologicalSorter(left).prepare()
            return
        except CycleError as error:
            cycle = list(reversed(error.args[1][:-1]))
            start = min(range(len(cycle)), key=lambda index: list(edges).index(cycle[index]))
            yield cycle[start:] + cycle[:start]
            left = {name: after - set(cycle) for name, after in left.items() if name not in cycle}


def _joined(names: list[str]) -> str:
    return f"steps {', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else f"step {names[0]}"
