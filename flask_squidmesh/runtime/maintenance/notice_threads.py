"""Delivering notices from threads of their own, so that a slow service keeps no step and no heartbeat waiting."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Final

from ...subscriptions import Subscription
from ..notice_deliverer import NoticeDeliverer
from ..outbox import Outbox
from ..outcomes import type_name

MOST_THREADS: Final = 4
OUTAGE_SECONDS: Final = 1.0

logger = logging.getLogger("flask_squidmesh")


class NoticeThreads:
    """Tells what is due for as long as the `with` block lasts; where nobody has subscribed there are no threads.

    One thread at a time is at a subscription, so that one which is slow or down holds up none of the others, as long as
    there are not many of them. poll: seconds between two looks where nothing wakes it.
    """

    def __init__(
        self,
        *,
        deliverer: NoticeDeliverer,
        outbox: Outbox,
        poll: float,
        in_context: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._deliverer, self._outbox, self._poll, self._in_context = deliverer, outbox, poll, in_context
        self._ended = threading.Event()
        self._busy: set[str] = set()
        self._changing = threading.Lock()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> NoticeThreads:
        """Begin."""
        if self._outbox.subscriptions:
            self._thread = threading.Thread(target=self._run, name="squidmesh-notices", daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End once what is being told is told."""
        self._ended.set()
        self._outbox.wake_signal.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        with ThreadPoolExecutor(MOST_THREADS, thread_name_prefix="squidmesh-notices") as pool:
            while not self._ended.is_set():
                wait = self._poll
                try:
                    with self._in_context():
                        wait = min(self._poll, self._hand_out(pool))
                except BaseException as error:  # the database is away, or the host's code raised; look again soon
                    logger.warning("squidmesh: looking for notices failed (%s)", type_name(error))
                    self._ended.wait(OUTAGE_SECONDS)
                self._outbox.wake_signal.wait(wait)

    def _hand_out(self, pool: ThreadPoolExecutor) -> float:
        """Have each subscription told that has something due, and return the seconds until something is due again."""
        with self._changing:
            free = [each for each in self._outbox.subscriptions if each.name not in self._busy]
        soonest = self._poll
        for subscription, seconds in self._deliverer.due(free):
            if seconds > 0:
                soonest = min(soonest, seconds)
                continue
            with self._changing:
                self._busy.add(subscription.name)
            pool.submit(self._tell, subscription)
        return soonest

    def _tell(self, subscription: Subscription) -> None:
        try:
            while self._deliverer.deliver_to(subscription, until=self._ended.is_set):
                pass
        except BaseException as error:  # what was claimed is due again after a while
            logger.warning("squidmesh: telling %s was interrupted (%s)", subscription.name, type_name(error))
            self._ended.wait(OUTAGE_SECONDS)
        finally:
            with self._changing:
                self._busy.discard(subscription.name)
            self._outbox.wake_signal.set()
