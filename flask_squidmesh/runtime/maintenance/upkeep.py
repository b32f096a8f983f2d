"""What every process that performs steps does beside them: it says that it lives, relays, takes over from dead workers,
fires schedules, goes on with actions on many runs, keeps to SQUIDMESH_RETENTION, and tells what is in the outbox.

A new periodic duty goes into `Maintenance.once`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager

from ...clock import Clock
from ...storage.database import Database
from ..bulk_jobs import BulkRunner
from ..claim_renewal import ClaimKeeper
from ..lost_claims import LOOKS_FOR_LOST
from ..outcomes import let_ctrl_c_through, type_name
from ..queue_watch import QueueWatch
from ..relay import Relay
from ..scheduler import Scheduler
from .heartbeats import Heartbeats
from .notice_threads import NoticeThreads
from .pruning import Retention

LONGEST_INTERVAL_SECONDS = 15.0
BULK_SECONDS = 5.0
UPKEEP = "upkeep"

logger = logging.getLogger("flask_squidmesh")


class Maintenance:
    """Does it from a thread of its own for as long as the `with` block lasts, however busy the process is.

    worker: the process's name. queue: whose work it takes. threads: how many steps it performs at once. looks_itself:
    whether the executor's workers look into the database by themselves. in_context: an app context of our own.
    """

    def __init__(
        self,
        *,
        worker: str,
        queue: str,
        threads: int,
        claim_timeout: float,
        looks_itself: bool,
        database: Database,
        clock: Clock,
        claims: ClaimKeeper,
        heartbeats: Heartbeats,
        relay: Relay,
        scheduler: Scheduler,
        bulk: BulkRunner,
        retention: Retention,
        notice_threads: NoticeThreads,
        queue_watch: QueueWatch,
        in_context: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._worker, self._queue, self._threads = worker, queue, threads
        self._claim_timeout, self._looks_itself = claim_timeout, looks_itself
        self._database, self._claims, self._heartbeats = database, claims, heartbeats
        self._relay, self._scheduler, self._bulk, self._retention = relay, scheduler, bulk, retention
        self._notice_threads, self._queue_watch, self._in_context = notice_threads, queue_watch, in_context
        self._since = clock.now()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="squidmesh-upkeep", daemon=True)

    def __enter__(self) -> Maintenance:
        """Begin."""
        self._claims.on_beat.append(self._beat)
        self._thread.start()
        self._notice_threads.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        """End, and take the process off the list of those that live."""
        self._ended.set()
        self._notice_threads.__exit__()
        self._claims.on_beat.remove(self._beat)
        self._thread.join()
        self._sign_off()

    def once(self) -> None:
        """Relay, fire schedules and go on with bulk actions now."""
        with self._in_context():
            for duty in (self._relay.once, self._fire, self._go_on_in_bulk, self._queue_watch.look):
                self._attend(duty)

    def _run(self) -> None:
        with self._database.reserved(UPKEEP):
            self._go_on()
        self._database.let_go(UPKEEP)

    def _go_on(self) -> None:
        # A process may take over from the dead only while its silences stay shorter than a claim holds.
        interval = min(LONGEST_INTERVAL_SECONDS, self._claim_timeout / 2)
        begins = True
        while True:
            try:
                with self._in_context():
                    self._beat()
                    if begins:
                        self._attend(self._heartbeats.forget_the_dead)
                    begins = False
                    self.once()
                    self._attend(lambda: self._retention.keep(self._ended.wait))
            except BaseException as error:  # the host's code too; the thread goes on
                logger.warning("squidmesh: the worker's upkeep failed (%s)", type_name(error))
            if self._waited(interval):
                return

    def _waited(self, seconds: float) -> bool:
        """Wait until the next round; answer whether this is the end. Meanwhile look for what dead workers held, where
        the executor's workers do not look into the database by themselves."""
        until, timeout = time.monotonic() + seconds, self._claim_timeout
        while (left := until - time.monotonic()) > 0:
            if self._ended.wait(left if self._looks_itself else min(left, timeout / LOOKS_FOR_LOST)):
                return True
            if not self._looks_itself:
                self._attend(self._take_over)
        return self._ended.is_set()

    def _attend(self, duty: Callable[[], object]) -> None:
        """One duty that cannot be done keeps nobody from the others."""
        if self._ended.is_set():
            return
        try:
            duty()
        except BaseException as error:
            let_ctrl_c_through(error)
            logger.warning("squidmesh: the worker's upkeep failed (%s)", type_name(error))

    def _fire(self) -> None:
        self._scheduler.fire_due(self._since)

    def _go_on_in_bulk(self) -> None:
        self._bulk.go_on_with_all(BULK_SECONDS)

    def _take_over(self) -> None:
        with self._in_context():
            self._relay.take_from_dead_workers()

    def _beat(self) -> None:
        self._heartbeats.record("worker", self._worker, queue=self._queue, threads=self._threads)

    def _sign_off(self) -> None:
        try:
            with self._in_context():
                self._heartbeats.forget(self._worker)
        except Exception as error:
            logger.warning("squidmesh: the worker could not sign off (%s)", type(error).__name__)
