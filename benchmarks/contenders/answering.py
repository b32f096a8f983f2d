"""How a contender is asked for a work and answers."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

Answer = Mapping[str, Any]

SIZES: Final = {
    "chain": 100,
    "chains": 500,
    "singles": 2000,
    "singles2": 2000,
    "start": 200,
    "start_busy": 200,
    "latency": 100,
    "event": 100,
    "idle": 20,
    "sqlite_chain": 100,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What to do. database, redis: URLs, that of PostgreSQL as libpq has it. size: runs, samples or seconds."""

    work: str
    database: str
    redis: str | None
    size: int
    threads: int
    processes: int


def answer(works: Mapping[str, Callable[[Task], Answer]]) -> None:
    """Do the work that the command line names, and print the answer as the last line.

    An answer has `seconds` and `units` (throughput), `samples` in seconds (latencies), or what an idle worker costs in
    `transactions_per_second` and `cpu_seconds_per_minute`; and where it was counted `commits`, `wal_bytes` and
    `statements`. A `note` says what a reader has to know. A work that is not among these is answered as unsupported.

    :param works: By name; each takes the task and returns the answer.
    """
    task = _task()
    perform = works.get(task.work)
    said: Answer = {"unsupported": "it has no such thing"} if perform is None else perform(task)
    print(json.dumps(said), flush=True)


def percentile(samples: list[float], share: float) -> float:
    """The smallest sample that this share of all does not exceed."""
    return sorted(samples)[max(math.ceil(share * len(samples)) - 1, 0)]


def _task() -> Task:
    parser = argparse.ArgumentParser()
    parser.add_argument("work")
    parser.add_argument("--database", required=True)
    parser.add_argument("--redis")
    parser.add_argument("--size", type=int)
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--processes", type=int)
    given = vars(parser.parse_args())
    given["size"] = given["size"] or SIZES.get(given["work"], 100)
    given["processes"] = given["processes"] or (2 if given["work"] == "singles2" else 1)
    return Task(**given)
