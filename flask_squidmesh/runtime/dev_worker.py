"""A worker inside `flask run`, for development."""

from __future__ import annotations

import atexit
import threading
from typing import TYPE_CHECKING

from flask import Flask, request_started

from .worker import Worker

if TYPE_CHECKING:
    from .runtime import Runtime


def arrange(app: Flask, runtime: Runtime) -> None:
    """Start the worker with the first request, so that making the app starts no thread."""
    starting = threading.Lock()

    def begin(_app: Flask, **_: object) -> None:
        if starting.acquire(blocking=False):
            _start(runtime)

    request_started.connect(begin, sender=app, weak=False)


def _start(runtime: Runtime) -> None:
    worker = Worker(runtime, threads=2)
    threading.Thread(target=worker.run, name="squidmesh-dev-worker", daemon=True).start()
    atexit.register(worker.stop)
