"""A worker inside `flask run`, for development."""

from __future__ import annotations

import atexit
import os
import threading
from typing import TYPE_CHECKING

from flask import Flask

from .worker import Worker

if TYPE_CHECKING:
    from .runtime import Runtime


def arrange(app: Flask, runtime: Runtime) -> None:
    """Start the worker with the first request, so that making the app starts no thread."""
    starting = threading.Lock()

    @app.before_request
    def begin() -> None:
        if _is_reloader() or not starting.acquire(blocking=False):
            return
        _start(runtime)


def _is_reloader() -> bool:
    """The process that only watches files serves no requests, but make sure."""
    return os.environ.get("WERKZEUG_RUN_MAIN") == "false"


def _start(runtime: Runtime) -> None:
    worker = Worker(runtime, threads=2)
    threading.Thread(target=worker.run, name="squidmesh-dev-worker", daemon=True).start()
    atexit.register(worker.stop)
