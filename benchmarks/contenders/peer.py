"""What the peers' contenders share: the works, which are the same for all.

A peer says how it starts a run and how it works; what is timed, and when, is said here once.
"""

from __future__ import annotations

import dataclasses
import os
import random
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Final

import psycopg

from .answering import Answer, Task
from .counting import Counts, counted, libpq_url
from .workers import DEADLINE, MEASURED, TELLING_WORKER, WORKER, Workers, tell

STEPS: Final = 10
POLLS_EVERY: Final = 0.025


class Peer:
    """One peer, as set up for one work. A subclass fills in what raises here.

    measured: the work that is measured, also in a worker process. polls: how often `number` asked.
    polling_seconds: how often its idle worker looks for work, where nothing wakes it.
    """

    uses_database = True
    polling_seconds = 0.0

    def __init__(self, task: Task) -> None:
        self.task = dataclasses.replace(task, database=libpq_url(task.database))
        self.polls = 0
        self.measured = os.environ.get(MEASURED, task.work)

    def install(self) -> None:
        """Make the tables, and connect so that runs can be started."""
        raise NotImplementedError

    def start(self, steps: int) -> None:
        """Start a run of so many no-op steps; it is stored when this returns."""
        raise NotImplementedError

    def order(self, key: str) -> None:
        """Start a run of this key, which tells, waits for its event, and tells once more; stored when this returns."""
        raise NotImplementedError

    def settle(self, key: str) -> None:
        """Send the event that the run of this key waits for, as a webhook does."""
        raise NotImplementedError

    def ended(self) -> int:
        """How many of the runs are done."""
        raise NotImplementedError

    def work(self) -> None:
        """Be a worker, from `opened()` on, until the process is killed."""
        raise NotImplementedError

    def here(self) -> Callable[[], object] | None:
        """What does a run of ten steps in this process; None where only a worker can. Comes instead of `install`."""
        return None

    def close(self) -> None:
        """Let go of all connections."""

    def counting(self) -> AbstractContextManager[Counts]:
        """Counts the commits, where there are any."""
        return counted(self.task.database) if self.uses_database else nullcontext(Counts())

    def workers(self, *, telling: bool = False) -> Workers:
        """Its worker processes; `telling` where they have to say when a run's last step is reached."""
        return Workers(self.task, self.measured, telling=telling)

    def number(self, query: str) -> int:
        """The one number that this query has for an answer, by a connection of its own."""
        self.polls += 1
        with psycopg.connect(self.task.database, autocommit=True) as connection:
            [number] = connection.execute(query.encode()).fetchone() or (0,)
        return int(number)


def works(kind: Callable[[Task], Peer], *names: str) -> Mapping[str, Callable[[Task], Answer]]:
    """What `answer` needs: the works of this peer.

    :param kind: The peer's class.
    :param names: Of the works that it has; all of those on PostgreSQL if none is named.
    """

    def of(perform: Callable[[Peer], Answer]) -> Callable[[Task], Answer]:
        return lambda task: perform(kind(task))

    every = {name: of(perform) for name, perform in _WORKS.items() if not names or name in names}
    return {**every, WORKER: of(_work), TELLING_WORKER: of(_work)}


def _work(peer: Peer) -> Answer:
    tell(of_steps=peer.task.work == TELLING_WORKER)
    peer.work()
    return {}


def _chain(peer: Peer) -> Answer:
    run = peer.here()
    if run is not None:
        return _one_after_another(peer, run, peer.close)
    peer.install()
    with peer.workers(telling=True) as workers:
        workers.open()

        def start_and_wait() -> None:
            peer.start(STEPS)
            workers.heard()

        return _one_after_another(peer, start_and_wait, workers.stop)


def _one_after_another(peer: Peer, run: Callable[[], object], stop: Callable[[], None]) -> Answer:
    for _ in range(5):
        run()
    with peer.counting() as counts:
        begun = time.perf_counter()
        for _ in range(peer.task.size):
            run()
        seconds = time.perf_counter() - begun
        stop()
        peer.close()
    return {"seconds": seconds, "units": peer.task.size * STEPS, **counts.figures}


def _drain(peer: Peer, steps: int) -> Answer:
    peer.install()
    for _ in range(peer.task.size):
        peer.start(steps)
    with peer.workers() as workers, peer.counting() as counts:
        begun = time.perf_counter()
        workers.open()
        _wait_for_the_end(peer)
        seconds = time.perf_counter() - begun
        workers.stop()
        peer.close()
    if counts.commits is not None:
        counts.commits -= peer.polls
    return {"seconds": seconds, "units": peer.task.size * steps, **counts.figures}


def _wait_for_the_end(peer: Peer) -> None:
    deadline = time.monotonic() + DEADLINE
    while (ended := peer.ended()) < peer.task.size:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{ended} of {peer.task.size} runs ended within {DEADLINE:.0f} s")
        time.sleep(POLLS_EVERY)


def _start(peer: Peer) -> Answer:
    peer.install()
    samples = _starts(peer, warm=20)
    peer.close()
    return {"samples": samples}


def _start_busy(peer: Peer) -> Answer:
    peer.install()
    waiting = 10 * peer.task.size
    for _ in range(waiting):
        peer.start(1)
    with peer.workers() as workers:
        workers.open()
        while not peer.ended():
            time.sleep(POLLS_EVERY)
        samples = _starts(peer, warm=0)
        ended = peer.ended()
    peer.close()
    note = {"note": "the queue ran dry before the end"} if ended >= waiting else {}
    return {"samples": samples, **note}


def _starts(peer: Peer, warm: int) -> list[float]:
    samples = []
    for _ in range(warm + peer.task.size):
        begun = time.perf_counter()
        peer.start(1)
        samples.append(time.perf_counter() - begun)
    return samples[warm:]


def _latency(peer: Peer) -> Answer:
    peer.install()
    samples = []
    with peer.workers(telling=True) as workers:
        workers.open()
        for _ in range(3 + peer.task.size):
            # At any moment between two polls: the last run was taken at one.
            time.sleep(random.uniform(0.05, 0.1 + peer.polling_seconds))
            peer.start(1)
            returned = time.time()
            samples.append(max(workers.heard() - returned, 0.0))
    peer.close()
    return {"samples": samples[3:]}


def _event(peer: Peer) -> Answer:
    peer.install()
    samples = []
    with peer.workers(telling=True) as workers:
        workers.open()
        for number in range(3 + peer.task.size):
            key = f"order-{number}"
            peer.order(key)
            workers.heard()
            time.sleep(random.uniform(0.1, 0.2 + peer.polling_seconds))  # until it waits, and at any moment of a poll
            called = time.time()
            peer.settle(key)
            samples.append(max(workers.heard() - called, 0.0))
    peer.close()
    return {"samples": samples[3:]}


def _idle(peer: Peer) -> Answer:
    peer.install()
    with peer.workers() as workers:
        workers.open()
        time.sleep(3)
        with peer.counting() as counts:
            before = workers.cpu_seconds()
            time.sleep(peer.task.size)
            used = workers.cpu_seconds() - before
            workers.stop()
            peer.close()
    rate = None if counts.commits is None else counts.commits / peer.task.size
    return {"transactions_per_second": rate, "cpu_seconds_per_minute": used * 60 / peer.task.size}


_WORKS: Final[Mapping[str, Callable[[Peer], Answer]]] = {
    "chain": _chain,
    "sqlite_chain": _chain,
    "chains": lambda peer: _drain(peer, STEPS),
    "singles": lambda peer: _drain(peer, 1),
    "singles2": lambda peer: _drain(peer, 1),
    "start": _start,
    "start_busy": _start_busy,
    "latency": _latency,
    "event": _event,
    "idle": _idle,
}
