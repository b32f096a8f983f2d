"""Workflows that grow: does the thousandth step cost what the tenth did, and a step of a wide fan-out no more?"""

from __future__ import annotations

import time
from collections.abc import Mapping
from itertools import pairwise
from statistics import median
from typing import Final

from pydantic import BaseModel

from flask_squidmesh import Manual, Step, Workflow

from ..answering import Answer, Task
from .app import in_a_row, nothing, workflow
from .working import working_here

LENGTH: Final = 1000
EARLY, LATE = slice(5, 15), slice(LENGTH - 11, LENGTH - 1)
WIDTHS: Final = (10, 200)
AROUND: Final = 2

moments: list[float] = []


class Beginning(BaseModel):
    """What the long chain begins with."""

    value: int = 0


def add(value: int) -> Mapping[str, int]:
    """Add to the state what follows from the step before."""
    moments.append(time.perf_counter())
    return {"value": value + 1}


def long_chain(task: Task) -> Answer:
    """Time the steps 6 to 15 and 990 to 999 of runs of 1,000 steps, each from its first line to that of the next."""
    long = _long_chain()
    early, late = list[float](), list[float]()
    with working_here(task.database, threads=1) as worker:
        for _ in range(task.size + 1):
            moments.clear()
            worker.perform(long)
            durations = [after - before for before, after in pairwise(moments)]
            early.append(median(durations[EARLY]) * 1000)
            late.append(median(durations[LATE]) * 1000)
    first, last = median(early[1:]), median(late[1:])
    return {"early_ms": first, "late_ms": last, "growth": last / first}


def fan_out(task: Task) -> Answer:
    """Time runs that fan out to 10 and 200 steps and join them, one after another in turns, by eight threads."""
    narrow, wide = (_fan_out(width) for width in WIDTHS)
    times = dict[type[Workflow], list[float]]({narrow: [], wide: []})
    with working_here(task.database, threads=task.threads) as worker:
        for _ in range(task.size):
            for fan, repeats in ((narrow, WIDTHS[1] // WIDTHS[0]), (wide, 1)):
                begun = time.perf_counter()
                for _ in range(repeats):
                    worker.perform(fan)
                times[fan].append((time.perf_counter() - begun) / repeats)
    few, many = (
        median(times[fan]) / (width + AROUND) * 1000 for fan, width in zip((narrow, wide), WIDTHS, strict=True)
    )
    return {"narrow_ms": few, "wide_ms": many, "growth": many / few}


def _long_chain() -> type[Workflow]:
    steps = [Step(add, output="state_1")]
    for number in range(1, LENGTH):
        steps.append(Step(add, input={"value": f"state_{number}.value"}, output=f"state_{number + 1}"))
    named = {f"step_{number}": step for number, step in enumerate(steps, 1)}
    return workflow("Long", **named, started=Manual(Beginning), flow=[in_a_row(steps)])


def _fan_out(width: int) -> type[Workflow]:
    root = Step(nothing, after=[])
    branches = {f"branch_{number}": Step(nothing, after=[root]) for number in range(width)}
    return workflow(f"FanOut{width}", root=root, **branches, join=Step(nothing, after=list(branches.values())))
