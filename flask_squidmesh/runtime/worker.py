"""The worker of the database executor: threads that take turns at looking for work."""

from __future__ import annotations

import atexit
import gc
import logging
import os
import threading
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from math import inf

from flask import Flask, request_started

from ..clock import Clock
from ..config import Config
from ..storage import work_queue
from ..storage.database import Database
from ..storage.work_queue import Claim
from .backoff import doubled
from .claimer import Claimer
from .deliveries import Deliverer
from .internal_work import InternalWork
from .maintenance.upkeep import Maintenance
from .outcomes import log_error
from .scheduler import Scheduler
from .waking import NOTIFIED_POLL_SECONDS, WakeSignal, Watch, watch

OUTAGE_SECONDS = 1.0
SHORTEST_WAIT_SECONDS = 0.005

logger = logging.getLogger("flask_squidmesh")


def keep_loaded() -> None:
    """Have the garbage collector leave alone what is loaded by now, in a process that does nothing but work."""
    gc.collect()
    gc.freeze()


class ThreadsLostError(RuntimeError):
    """The threads of a worker have ended by themselves, which nothing is known to bring about."""


class Worker:
    """Performs due steps until it is stopped.

    threads: how many steps at once. queue: whose work. maintenance: what the process does beside performing.
    in_context: an app context of our own.
    """

    def __init__(
        self,
        *,
        threads: int,
        queue: str,
        settings: Config,
        database: Database,
        clock: Clock,
        wake_signal: WakeSignal,
        claimer: Claimer,
        deliverer: Deliverer,
        scheduler: Scheduler,
        internal_work: InternalWork,
        maintenance: Maintenance,
        in_context: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._threads, self._queue, self._settings = threads, queue, settings
        self._database, self._clock, self._wake_signal = database, clock, wake_signal
        self._deliverer, self._scheduler, self._maintenance = deliverer, scheduler, maintenance
        self._in_context, self._internal_work = in_context, internal_work
        self._stopping = threading.Event()
        self._watch: Watch | None = None
        self._turn = threading.Lock()
        self._ready: deque[Claim] = deque()
        self._claiming = claimer.fair_claimer(queue)
        self._in_vain = 0
        self._expects_work = True
        self._obstructed = False
        self._idle = 0
        self._counting = threading.Lock()

    def run(self) -> None:
        """Work until `stop`; then finish the steps that run and put back the rest. Raises ThreadsLostError."""
        watching = self._watch = watch(self._database, self._queue, self._wake_signal)
        if watching is not None:
            watching.start()
        threads = [
            threading.Thread(target=self._work, name=f"squidmesh-worker-{number}") for number in range(self._threads)
        ]
        with self._maintenance:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        if watching is not None:
            watching.stop()
        if not self._stopping.is_set():
            raise ThreadsLostError("All threads of the worker have ended, though nobody has stopped it. See the log.")

    def stop(self) -> None:
        """Take no more work. Safe to call from a signal handler."""
        self._stopping.set()
        self._wake_signal.set()

    def _work(self) -> None:
        while not self._stopping.is_set():
            try:
                with self._in_context():
                    self._perform_due()
            except BaseException as error:  # nothing that the host's code raises may end the thread
                log_error(logger, error, "squidmesh: a thread of the worker was interrupted; it goes on")
                self._stopping.wait(OUTAGE_SECONDS)

    def _perform_due(self) -> None:
        while (claim := self._next()) is not None:
            try:
                self._deliverer.deliver(claim)
            except BaseException as error:  # the claim expires and the step is taken over
                message = "squidmesh: run %s: step %s was not recorded"
                log_error(logger, error, message, claim.run.id, claim.visit.step)

    def _next(self) -> Claim | None:
        """The next claim; one thread looks while the others wait for their turn. None when the worker stops."""
        if self._obstructed:  # perhaps by what this thread has just done
            self._wake_signal.set()
        with self._counting:
            self._idle += 1
        try:
            with self._turn:
                while not self._stopping.is_set():
                    if self._ready or self._look():
                        return self._ready.popleft()
                self._give_back()
                return None
        finally:
            with self._counting:
                self._idle -= 1

    def _give_back(self) -> None:
        """Let others have at once what was claimed and not begun, however long the running steps take."""
        claims = list(self._ready)
        self._ready.clear()
        try:
            with self._database.write() as connection:
                work_queue.put_back(connection, claims, self._clock.now())
        except Exception as error:  # the claims expire
            logger.warning("squidmesh: claimed work could not be put back (%s)", type(error).__name__)

    def _look(self) -> bool:
        """Claim as much as there are idle threads; sleep where there is nothing.

        Where the last look took all there was and nobody has rung since, only the time of the next work is asked for.
        """
        try:
            rung = self._wake_signal.take()
            looks = rung or self._expects_work
            if looks:
                self._ready.extend(self._claiming.claim(limit=max(self._idle, 1), news=rung))
                self._in_vain = 0 if self._ready else self._in_vain + 1
                self._obstructed = self._obstructed and not self._ready
                self._expects_work = self._claiming.left_some
            if not self._ready:
                self._sleep(looked=looks)
                self._expects_work = True
        except Exception as error:  # the database is away; look again in a moment
            logger.warning("squidmesh: looking for work failed (%s: %s)", type(error).__name__, error)
            self._stopping.wait(OUTAGE_SECONDS)
        return bool(self._ready)

    def _sleep(self, *, looked: bool) -> None:
        """Until there may be work to claim.

        looked: in vain, so that what is due already is not to be had for a moment, because others are at its run.
        """
        wait = doubled(SHORTEST_WAIT_SECONDS, self._in_vain, longest=OUTAGE_SECONDS)
        on_postgresql = self._database.dialect == "postgresql"
        poll = self._settings.poll_interval
        notified = on_postgresql and self._watch is not None and self._watch.hears
        poll = max(poll, NOTIFIED_POLL_SECONDS) if notified else poll
        while not self._stopping.is_set():
            due = self._next_due()
            if due.get(work_queue.INTERNAL, 1.0) <= 0:
                done = self._internal_work.perform_due()
                if not done:  # others are at it, or it has to wait for another version
                    self._wake_signal.wait(min(poll, OUTAGE_SECONDS))
                return
            if due.get("cron", 1.0) <= 0:
                self._scheduler.activate_next(self._queue)
                return
            soonest = min(due.values(), default=inf)
            self._obstructed = looked and soonest <= 0
            if soonest <= 0:
                if looked:
                    self._wake_signal.wait(min(poll, wait))
                return
            rung = self._wake_signal.wait(min(soonest, poll))
            if soonest <= poll or (rung and on_postgresql):
                return
            wait = 0.0

    def _next_due(self) -> dict[str, float]:
        return work_queue.next_due(self._database, self._queue)


def arrange(app: Flask, made: Callable[[], Worker]) -> None:
    """Make and start the worker of each process with its first request, so that making the app starts no thread."""
    begun: dict[int, object] = {}

    def begin(_app: Flask, **_: object) -> None:
        mine = object()
        if begun.setdefault(os.getpid(), mine) is mine:
            _start(made())

    request_started.connect(begin, sender=app, weak=False)


def _start(worker: Worker) -> None:
    process = os.getpid()

    def stop() -> None:
        if os.getpid() == process:
            worker.stop()

    threading.Thread(target=worker.run, name="squidmesh-dev-worker", daemon=True).start()
    atexit.register(stop)
