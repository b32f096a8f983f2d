"""The works, as Flask-SquidMesh does them."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from flask_squidmesh import Workflow

from ..answering import Answer, Task
from ..counting import counted
from .app import PAID, One, Ordering, Telling, Ten, mesh
from .working import Told, WorkerProcesses, hang_up, starting_here, worker_processes, working_here

STEPS: Final = 10
WARM_UPS: Final = 40
LONG_QUEUE: Final = 5
SETTLING_SECONDS: Final = 3.0
PAUSES: Final = (0.05, 0.1)


def chain(task: Task) -> Answer:
    """Runs one after another, performed by a worker process of one thread."""
    with starting_here(task.database) as app, _processes(task, Ten, threads=1) as workers:
        workers.work()
        with counted(task.database) as counts:
            begun = time.perf_counter()
            for _ in range(task.size):
                mesh.start_run(Ten)
                workers.hear(1)
            seconds = time.perf_counter() - begun
            workers.end()
            hang_up(app)
    return {"seconds": seconds, "units": task.size * STEPS, **counts.figures}


def chain_here(task: Task) -> Answer:
    """Runs one after another, performed by a worker in this process."""
    with working_here(task.database, threads=1) as worker:
        for _ in range(WARM_UPS):
            worker.perform(Ten)
        begun = time.perf_counter()
        for _ in range(task.size):
            worker.perform(Ten)
        seconds = time.perf_counter() - begun
    return {"seconds": seconds, "units": task.size * STEPS}


def chains(task: Task) -> Answer:
    """Runs of ten steps, queued and then drained."""
    return _drained(task, Ten, STEPS)


def singles(task: Task) -> Answer:
    """Runs of one step, queued and then drained."""
    return _drained(task, One, 1)


def start(task: Task) -> Answer:
    """Start runs while nothing works."""
    with starting_here(task.database) as app:
        _start(Ten, WARM_UPS)
        with counted(task.database) as counts:
            samples = _timed_starts(task.size)
            hang_up(app)
    return {"samples": samples, "units": task.size, **counts.figures}


def start_busy(task: Task) -> Answer:
    """Start runs while a worker process drains a queue that outlasts it."""
    with starting_here(task.database), _processes(task, Ten, threads=task.threads) as workers:
        _start(Ten, task.size * LONG_QUEUE)
        workers.work()
        samples = _timed_starts(task.size)
    return {"samples": samples}


def latency(task: Task) -> Answer:
    """From the commit of a start to the first line of its step, in an idle worker process."""
    with starting_here(task.database), _processes(task, Telling, threads=task.threads, told="began") as workers:
        workers.work()
        samples = list[float]()
        for _ in range(task.size):
            time.sleep(random.uniform(*PAUSES))
            mesh.start_run(Telling)
            started = time.time()
            samples.append(max(workers.hear(1)[0] - started, 0.0))
    return {"samples": samples}


def event(task: Task) -> Answer:
    """From the call that sends an event to the first line of the step behind the wait, in an idle worker process."""
    with starting_here(task.database), _processes(task, Ordering, threads=task.threads, told="began") as workers:
        workers.work()
        samples = list[float]()
        for number in range(3 + task.size):
            key = f"order-{number}"
            mesh.start_run(Ordering, {"order_id": key})
            workers.hear(1)
            time.sleep(random.uniform(0.1, 0.2))  # until it waits
            called = time.time()
            mesh.send_event(PAID, key=key, payload={"status": "settled"})
            samples.append(max(workers.hear(1)[0] - called, 0.0))
    return {"samples": samples[3:]}


def idle(task: Task) -> Answer:
    """What a worker process costs that has nothing to do."""
    with starting_here(task.database) as app, _processes(task, One, threads=task.threads) as workers:
        workers.work()
        hang_up(app)
        time.sleep(SETTLING_SECONDS)
        [pid] = workers.pids
        with counted(task.database) as counts:
            before, begun = cpu_seconds(pid), time.perf_counter()
            time.sleep(task.size)
            seconds, busy = time.perf_counter() - begun, cpu_seconds(pid) - before
            workers.end()
    return {
        "transactions_per_second": _each(counts.commits, seconds),
        "queries_per_second": _each(counts.commits if counts.statements is None else counts.statements, seconds),
        "cpu_seconds_per_minute": busy / seconds * 60,
    }


def counts(task: Task) -> Answer:
    """Start runs of ten steps and drain them with one thread, all of it counted; and how much a further step asks."""
    ten, one = _counted(task, Ten), _counted(task, One)
    answer: dict[str, float | None] = {"commits_per_run": _each(ten["commits"], task.size)}
    answer["statements_per_run"] = _each(ten["statements"], task.size)
    if ten["statements"] is not None and one["statements"] is not None:
        answer["statements_per_further_step"] = (ten["statements"] - one["statements"]) / task.size / (STEPS - 1)
    return answer


def cpu_seconds(pid: int) -> float:
    """Processor time that the process has had so far."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def _drained(task: Task, workflow: type[Workflow], steps: int) -> Answer:
    with (
        starting_here(task.database) as app,
        _processes(task, workflow, threads=task.threads, processes=task.processes) as workers,
    ):
        _start(workflow, task.size)
        hang_up(app)
        with counted(task.database) as counts:
            begun = time.perf_counter()
            workers.go()
            workers.hear(task.processes + task.size)
            seconds = time.perf_counter() - begun
            workers.end()
    return {"seconds": seconds, "units": task.size * steps, **counts.figures}


def _counted(task: Task, workflow: type[Workflow]) -> dict[str, int | None]:
    with starting_here(task.database) as app, _processes(task, workflow, threads=1) as workers:
        with counted(task.database) as counts:
            _start(workflow, task.size)
            hang_up(app)
            workers.go()
            workers.hear(1 + task.size)
            workers.end()
        return counts.figures


@contextmanager
def _processes(
    task: Task, workflow: type[Workflow], *, threads: int, processes: int = 1, told: Told = "completed"
) -> Iterator[WorkerProcesses]:
    """Worker processes that have done some runs of the workflow and are at rest."""
    with worker_processes(task.database, processes=processes, threads=threads, told=told) as workers:
        workers.work()
        _start(workflow, WARM_UPS)
        workers.hear(WARM_UPS)
        workers.rest()
        yield workers


def _start(workflow: type[Workflow], runs: int) -> None:
    for _ in range(runs):
        mesh.start_run(workflow)


def _timed_starts(number: int) -> list[float]:
    samples = list[float]()
    for _ in range(number):
        begun = time.perf_counter()
        mesh.start_run(Ten)
        samples.append(time.perf_counter() - begun)
    return samples


def _each(number: int | None, of: float) -> float | None:
    return None if number is None else number / of
