"""Celery with Redis: late acknowledgement, a prefetch of one, a pool of threads; results are not kept.

It stores no state of a workflow: a chain is Celery's own, each task's message carrying those that are to follow. Its
end is read off Redis, where a message is in the queue or unacknowledged until its task is done.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import Any
from urllib.parse import urlsplit

from celery import Celery, chain
from celery.signals import worker_ready
from redis import Redis

from .answering import Task, answer
from .peer import Peer, works
from .workers import last_step, opened, step

QUEUE, CLOSED = "work", "closed"


class CeleryPeer(Peer):
    """Celery."""

    uses_database = False

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        self._prefix = f"bench-{urlsplit(self.task.database).path[1:]}:"
        self._redis_url = task.redis or "redis://127.0.0.1:6379/0"
        self._app = Celery("bench", broker=self._redis_url)
        self._app.conf.update(
            task_acks_late=True,
            task_ignore_result=True,
            task_default_queue=QUEUE,
            worker_prefetch_multiplier=1,
            broker_transport_options={"global_keyprefix": self._prefix},
            worker_hijack_root_logger=False,
        )
        self._step = self._app.task(step, name="step")
        self._last = self._app.task(last_step, name="last_step")
        self._started = 0

    def install(self) -> None:
        """Connect; the keys have a prefix of their own."""
        self._redis = Redis.from_url(self._redis_url)

    def start(self, steps: int) -> None:
        """Publish."""
        self._started += 1
        if steps == 1:
            self._last.apply_async()
        else:
            chain(*(self._step.si() for _ in range(steps - 1)), self._last.si()).apply_async()

    def ended(self) -> int:
        """What was started and is not in Redis any more; asked again, as a message is nowhere while it is taken."""
        ended = 0
        for _ in range(2):
            waiting = self._redis.llen(f"{self._prefix}{QUEUE}") + self._redis.hlen(f"{self._prefix}unacked")
            ended = self._started - waiting
            if ended < self._started:
                break
            time.sleep(0.005)
        return ended

    def work(self) -> None:
        """Its worker, which takes up the queue when it may begin."""
        logging.basicConfig(level=logging.WARNING)

        def begin(sender: Any, **_: Any) -> None:
            threading.Thread(target=self._open, args=(sender,), daemon=True).start()

        worker_ready.connect(begin, weak=False)
        words = ["--quiet", "worker", "--pool", "threads", "--concurrency", str(self.task.threads)]
        self._app.worker_main([*words, "--queues", CLOSED, "--loglevel", "WARNING"])

    def _open(self, consumer: Any) -> None:
        opened()
        consumer.call_soon(consumer.add_task_queue, QUEUE)

    def close(self) -> None:
        """Leave nothing behind."""
        self._app.close()
        self._redis.delete(*self._redis.scan_iter(f"{self._prefix}*"))


if __name__ == "__main__":
    answer(works(CeleryPeer, "chain", "chains", "singles", "singles2", "start", "start_busy", "latency", "idle"))
