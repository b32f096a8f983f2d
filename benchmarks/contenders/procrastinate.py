"""Procrastinate's bare jobs, its schema in the database, its worker woken by LISTEN and otherwise with the defaults.

It has no workflows: a chain is a job that defers the next one. The jobs are coroutines, as its documentation asks for
where a worker has a concurrency above one; the pool has a connection for each and three more. As its worker loses
notifications that come while it fetches, chains are polled for every 0.02 s instead of every 5 s, and those one after
another have its default concurrency of one.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging

from procrastinate import App, PsycopgConnector, SyncPsycopgConnector

from .answering import Task, answer
from .peer import Peer, works
from .workers import last_step, opened, step


class Procrastinate(Peer):
    """Procrastinate."""

    def __init__(self, task: Task) -> None:
        super().__init__(dataclasses.replace(task, threads=1) if task.work == "chain" else task)
        logging.getLogger("procrastinate").setLevel(logging.ERROR)

    def install(self) -> None:
        """Apply its schema, and open the app that defers."""
        self._app = App(connector=SyncPsycopgConnector(conninfo=self.task.database))
        _register(self._app)
        self._app.open()
        self._app.schema_manager.apply_schema()

    def start(self, steps: int) -> None:
        """Defer the first job."""
        name, left = _job(steps)
        self._app.configure_task(name).defer(**left)

    def ended(self) -> int:
        """By status; a chain has ended when its last job has."""
        query = "SELECT count(*) FROM procrastinate_jobs WHERE status = 'succeeded' AND task_name = 'last'"
        return self.number(query)

    def work(self) -> None:
        """Its worker."""
        asyncio.run(self._work())

    async def _work(self) -> None:
        connector = PsycopgConnector(conninfo=self.task.database, min_size=4, max_size=self.task.threads + 3)
        app = App(connector=connector)
        _register(app)
        async with app.open_async():
            opened()
            await app.run_worker_async(
                concurrency=self.task.threads,
                fetch_job_polling_interval=0.02 if self.measured in ("chain", "chains") else 5.0,
                install_signal_handlers=False,
            )

    def close(self) -> None:
        """Close the app."""
        self._app.close()


def _register(app: App) -> None:
    @app.task(name="link")
    async def link(left: int) -> None:
        step()
        name, arguments = _job(left)
        await app.configure_task(name).defer_async(**arguments)

    @app.task(name="last")
    async def last() -> None:
        last_step()


def _job(left: int) -> tuple[str, dict[str, int]]:
    """The job that does the next of so many steps."""
    return ("last", {}) if left == 1 else ("link", {"left": left - 1})


if __name__ == "__main__":
    answer(works(Procrastinate, "chain", "chains", "singles", "singles2", "start", "start_busy", "latency", "idle"))
