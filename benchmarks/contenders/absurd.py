"""absurd: the SQL that its absurdctl brings, in the database, and its Python SDK with the defaults.

Chains one after another are spawned and worked off by the same client; all else is worked off by `start_worker` with
the concurrency asked for, whose threads share one connection and which polls every 0.25 s when it has nothing to do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
from absurd_sdk import Absurd
from absurdctl import BUNDLED_SCHEMA_SQL

from .answering import answer
from .peer import STEPS, Peer, works
from .workers import last_step, opened, step

TASK, ORDER = "run", "order"


def perform(params: Any, context: Any) -> None:
    """A run of so many steps."""
    steps = params["steps"]
    for number in range(1, steps):
        context.step(f"step-{number}", step)
    context.step(f"step-{steps}", last_step)


def fulfil(params: Any, context: Any) -> None:
    """An order that waits for its payment."""
    context.step("charge", last_step)
    context.await_event(f"paid:{params['key']}", timeout=600)
    context.step("ship", last_step)


class AbsurdPeer(Peer):
    """absurd."""

    polling_seconds = 0.25

    def install(self) -> None:
        """Put its SQL into the database, and make the queue."""
        with psycopg.connect(self.task.database, autocommit=True) as connection:
            connection.execute(BUNDLED_SCHEMA_SQL.encode())
        self._connect()
        self._app.create_queue()

    def here(self) -> Callable[[], object]:
        """Spawn, and work it off."""
        self.install()

        def run() -> None:
            self.start(STEPS)
            self._app.work_batch()

        return run

    def start(self, steps: int) -> None:
        """Spawn."""
        self._app.spawn(TASK, {"steps": steps})

    def order(self, key: str) -> None:
        """Spawn."""
        self._app.spawn(ORDER, {"key": key})

    def settle(self, key: str) -> None:
        """Emit."""
        self._app.emit_event(f"paid:{key}", {"status": "settled"})

    def ended(self) -> int:
        """By state."""
        return self.number("SELECT count(*) FROM absurd.t_default WHERE state = 'completed'")

    def work(self) -> None:
        """Its worker."""
        self._connect()
        opened()
        self._app.start_worker(concurrency=self.task.threads)

    def close(self) -> None:
        """Close the client."""
        self._app.close()

    def _connect(self) -> None:
        self._app = Absurd(self.task.database)
        self._app.register_task(name=TASK)(perform)
        self._app.register_task(name=ORDER)(fulfil)


if __name__ == "__main__":
    answer(
        works(AbsurdPeer, "chain", "chains", "singles", "singles2", "start", "start_busy", "latency", "event", "idle")
    )
