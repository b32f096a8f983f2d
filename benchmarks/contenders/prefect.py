"""Prefect, for orientation: a flow of ten tasks called directly, against its own server on PostgreSQL.

The server is a process of its own, in a home of its own, with telemetry, logging to the server and the result of each
task left out; everything else has its default.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable

from .answering import Task, answer
from .peer import STEPS, Peer, works
from .workers import DEADLINE, last_step, step

QUIET = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_LOGGING_LEVEL": "WARNING",
    "PREFECT_LOGGING_TO_API_ENABLED": "false",
    "PREFECT_SERVER_UI_ENABLED": "false",
}


class Prefect(Peer):
    """Prefect."""

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        self._home = tempfile.TemporaryDirectory(prefix="prefect-", ignore_cleanup_errors=True)
        self._port = _free_port()
        database = self.task.database.replace("postgresql://", "postgresql+asyncpg://")
        os.environ.update(
            QUIET,
            HOME=self._home.name,
            PREFECT_HOME=self._home.name,
            PREFECT_API_URL=f"http://127.0.0.1:{self._port}/api",
            PREFECT_SERVER_DATABASE_CONNECTION_URL=database,
        )

    def here(self) -> Callable[[], object]:
        """Start the server, and call the flow."""
        self._serve()
        from prefect import flow, task

        no_op = task(step, name="step")
        last_no_op = task(last_step, name="last_step")

        def perform() -> None:
            for _ in range(STEPS - 1):
                no_op()
            last_no_op()

        run: Callable[[], object] = flow(perform, name="run")
        return run

    def close(self) -> None:
        """Stop the server."""
        self._server.kill()
        self._server.wait()
        self._home.cleanup()

    def _serve(self) -> None:
        command = [sys.executable, "-m", __spec__.name, "server", str(self._port)]
        self._server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=sys.stderr)
        deadline = time.monotonic() + DEADLINE
        while not _answers(f"http://127.0.0.1:{self._port}/api/health"):
            if time.monotonic() > deadline or self._server.poll() is not None:
                raise RuntimeError("Prefect's server did not come up; see its standard error")
            time.sleep(0.2)


def _serve_until_abandoned(port: str) -> None:
    """Be the server, and die with the process that started it."""
    import threading

    import uvicorn
    from prefect.server.api.server import create_app

    from .workers import die_with_the_parent

    threading.Thread(target=die_with_the_parent, daemon=True).start()
    uvicorn.run(create_app(), host="127.0.0.1", port=int(port), log_level="warning")


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


if __name__ == "__main__":
    if sys.argv[1] == "server":
        _serve_until_abandoned(sys.argv[2])
    else:
        answer(works(Prefect, "chain"))
