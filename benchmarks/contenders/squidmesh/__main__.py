"""`python -m benchmarks.contenders.squidmesh WORK ...`"""

from __future__ import annotations

from ..answering import Answer, Task, answer
from . import works


def _long_chain(task: Task) -> Answer:
    from .growing import long_chain

    return long_chain(task)


def _fan_out(task: Task) -> Answer:
    from .growing import fan_out

    return fan_out(task)


def _memory(task: Task) -> Answer:
    from .memory import memory

    return memory(task)


def _pages(task: Task) -> Answer:
    from .pages import pages

    return pages(task)


answer(
    {
        "chain": works.chain,
        "chain_here": works.chain_here,
        "chains": works.chains,
        "singles": works.singles,
        "singles2": works.singles,
        "start": works.start,
        "start_busy": works.start_busy,
        "latency": works.latency,
        "event": works.event,
        "idle": works.idle,
        "sqlite_chain": works.chain_here,
        "counts": works.counts,
        "long_chain": _long_chain,
        "fan_out": _fan_out,
        "memory": _memory,
        "pages": _pages,
    }
)
