"""What many steps cost where they are declared."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from itertools import pairwise
from types import FrameType
from typing import Any

import pytest
from pydantic import BaseModel

from flask_squidmesh.definition import Manual, Step, Workflow

_FEW, _MANY = 100, 200
_DEEP = 1200  # more than Python lets calls nest


class Beginning(BaseModel):
    value: int


def add(value: int) -> Mapping[str, int]:
    return {"value": value + 1}


def _links(count: int, **first: Any) -> list[Step]:
    """Steps that each take what the one before gives."""
    rest = (Step(add, input={"value": f"state_{number}"}, output=f"state_{number + 1}") for number in range(1, count))
    return [Step(add, output="state_1", **first), *rest]


def chain(count: int) -> dict[str, Any]:
    steps = _links(count)
    return {**_named(steps), "flow": [before >> step for before, step in pairwise(steps)]}


def loop(count: int) -> dict[str, Any]:
    parts = chain(count)
    first, last = parts["step_1"], parts[f"step_{count}"]
    return {**parts, "flow": [*parts["flow"], last.when("value", less_than=9) >> first]}


def waiting_chain(count: int) -> dict[str, Any]:
    steps = _links(count, after=[])
    for before, step in pairwise(steps):
        step.after = [before]
    return _named(steps)


def fan_out(count: int) -> dict[str, Any]:
    root, join = Step(add, after=[]), Step(add)
    branches = [Step(add, after=[root]) for _ in range(count)]
    join.after = branches
    return {"root": root, **_named(branches), "join": join}


def _named(steps: list[Step]) -> dict[str, Step]:
    return {f"step_{number}": step for number, step in enumerate(steps, 1)}


@pytest.mark.rule("declaring-cost")
@pytest.mark.parametrize("body", [chain, loop, waiting_chain, fan_out])
def test_twice_as_many_steps_take_twice_as_much_work(body: Callable[[int], dict[str, Any]]) -> None:
    _work(body(_FEW))
    assert _work(body(_MANY)) < 2.05 * _work(body(_FEW))


def _work(body: dict[str, Any]) -> int:
    """How many instructions it takes to declare a workflow and to ask for what is known of its order."""
    done = 0

    def count(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal done
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        done += event == "opcode"
        return count

    traced = sys.gettrace()
    sys.settrace(count)
    try:
        _declare(body)
    finally:
        sys.settrace(traced)
    return done


def _declare(body: dict[str, Any]) -> None:
    spec = type("Long", (Workflow,), {"start": Manual(Beginning), **body}).__dict__["__squidmesh__"]
    assert spec.dependents
    assert spec.revisited.issubset(spec.steps)
    assert spec.ancestors


def test_a_long_chain_can_be_declared_from_its_end() -> None:
    body = dict(reversed(waiting_chain(_DEEP).items()))
    spec = type("Long", (Workflow,), {"start": Manual(Beginning), **body}).__dict__["__squidmesh__"]
    assert len(spec.ancestors[f"step_{_DEEP}"]) == _DEEP - 1
