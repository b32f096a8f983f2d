"""The shop in one process, for smoke and seed: its payment company, a worker, and waiting for what they do."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Thread
from typing import TypeVar

from flask import Flask, current_app

from flask_squidmesh import Run
from flask_squidmesh.runtime.runtime import current_runtime
from flask_squidmesh.runtime.worker import Worker
from flask_squidmesh.testing import drain

from .clock import clock
from .extensions import mesh
from .gateway.client import GatewayBusy, mood
from .gateway.server import running_gateway

DEADLINE_SECONDS = 20.0
POLL_SECONDS = 0.05

T = TypeVar("T")


class Late(Exception):
    """What was waited for did not come about in time."""


@contextmanager
def own_stage() -> Iterator[Flask]:
    """A second app on the same database with a queue and a payment company of its own: no other worker joins in."""
    from . import create_app

    with tempfile.TemporaryDirectory() as folder, running_gateway(Path(folder) / "gateway.sqlite") as gateway:
        database = current_app.config["SQLALCHEMY_DATABASE_URI"]
        app = create_app({"SQLALCHEMY_DATABASE_URI": database, "SQUIDMESH_QUEUE": "smoke", "GATEWAY_URL": gateway})
        with app.app_context(), working():
            yield app


@contextmanager
def working(threads: int = 2) -> Iterator[None]:
    """Have a worker perform the current app's steps meanwhile."""
    worker = Worker(current_runtime(), threads=threads)
    thread = Thread(target=worker.run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        worker.stop()
        thread.join()


def later(seconds: float) -> None:
    """Move the clock on and perform what is due then, in this thread."""
    clock.advance(seconds)
    drain()


def wait_until(condition: Callable[[], T], what: str) -> T:
    """Ask until the answer is true, and return it.

    :raises Late: It was not true in time.
    """
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not (answer := condition()):
        if time.monotonic() > deadline:
            raise Late(f"{what}: not so within {DEADLINE_SECONDS:g} s")
        time.sleep(POLL_SECONDS)
    return answer


def run_once(run_id: str, *statuses: str, compensation: str | None = None) -> Run:
    """The run with its history, as soon as it has one of these statuses.

    :param compensation: Wait for this as well: completed or failed.
    :raises Late: It did not get there in time.
    """

    def there() -> Run | None:
        run = mesh.inspect_run(run_id)
        reached = run.status in statuses and compensation in (None, run.compensation)
        return mesh.inspect_run(run_id, include_history=True) if reached else None

    found = wait_until(there, f"run {run_id} {' or '.join(statuses)}")
    assert found is not None
    return found


@contextmanager
def gateway_at_hand() -> Iterator[None]:
    """Use the payment company that is running, or run one meanwhile."""
    with ExitStack() as stack:
        if not _gateway_answers():
            file = Path(current_app.instance_path) / "gateway.sqlite"
            current_app.config["GATEWAY_URL"] = stack.enter_context(running_gateway(file))
        yield


def _gateway_answers() -> bool:
    try:
        return bool(mood())
    except GatewayBusy:
        return False
