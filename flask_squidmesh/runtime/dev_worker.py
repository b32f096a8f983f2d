"""A worker inside `flask run`, for development."""

from __future__ import annotations

import atexit
import os
import threading
from typing import TYPE_CHECKING

from flask import Flask, request_started

from .worker import Worker

if TYPE_CHECKING:
    from .runtime import Runtime


def arrange(app: Flask, runtime: Runtime) -> None:
    """Start the worker of each process with its first request, so that making the app starts no thread."""
    begun: dict[int, object] = {}

    def begin(_app: Flask, **_: object) -> None:
        mine = object()
        if begun.setdefault(os.getpid(), mine) is mine:
            _start(runtime)

    request_started.connect(begin, sender=app, weak=False)


def _start(runtime: Runtime) -> None:
    worker, process = Worker(runtime, threads=2), os.getpid()

    def stop() -> None:
        if os.getpid() == process:
            worker.stop()

    threading.Thread(target=worker.run, name="squidmesh-dev-worker", daemon=True).start()
    atexit.register(stop)
