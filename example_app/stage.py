"""The shop with a payment company and a worker of its own, for checks and seed, and waiting for what they do."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any, TypeVar

from flask import Flask, current_app

from flask_squidmesh import ConfigurationError, Run
from flask_squidmesh.runtime.runtime import current_runtime
from flask_squidmesh.testing import drain

from . import engines
from .clock import clock
from .extensions import mesh
from .gateway.client import GatewayBusy, mood
from .gateway.server import running_gateway
from .mailbox import running_mail_server
from .processes import Child
from .serving import address_of, listening, serving

SAME = (
    *("SQLALCHEMY_DATABASE_URI", "SQUIDMESH_EXECUTOR", "CELERY_BROKER_URL", "SQUIDMESH_CLAIM_TIMEOUT", "SECRET_KEY"),
    *("SQUIDMESH_EXTERNAL_URL", "GATEWAY_URL", "GATEWAY_SECRET", "SHOP_SMTP_PORT", "SHOP_MAILBOX"),
)
POLL_SECONDS = 0.05
HOUR = 3600.0
"""Until then a walk has the payment company call back itself, where it is late."""
PATIENCE_WITH_PROCESSES = 90.0

T = TypeVar("T")


class Late(Exception):
    """What was waited for did not come about in time."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A second app on the same database. worker: its process; None where a thread of this process performs steps."""

    app: Flask
    worker: Child | None

    @property
    def last_words(self) -> str:
        """What the worker's process wrote last."""
        return self.worker.last_lines if self.worker else ""


@contextmanager
def own_stage(
    queue: str,
    *,
    process: bool = False,
    claim_timeout: float | None = None,
    patience: float | None = None,
) -> Iterator[Stage]:
    """Set a stage up: a queue and a payment company of its own, so that no other worker joins in.

    :param queue: The queue's name.
    :param process: Whether a worker process performs the steps. Executors other than `database` always have one.
    :param claim_timeout: As SQUIDMESH_CLAIM_TIMEOUT; the app's own where left out.
    :param patience: How long to wait for anything where a process performs the steps, in seconds.
    :raises ConfigurationError: The executor lacks something, such as the tables of its queue.
    """
    _require_executor()
    executor = current_app.config["SQUIDMESH_EXECUTOR"]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        app = stack.enter_context(_served_app(queue, folder, claim_timeout))
        stack.enter_context(app.app_context())
        if process or executor != "database":
            app.config["SHOP_PATIENCE_SECONDS"] = patience or PATIENCE_WITH_PROCESSES
            worker = engines.worker(executor, _environment_of(app), folder / "worker.log")
            worker.start()
            stack.callback(worker.stop)
            yield Stage(app, worker)
        else:
            stack.enter_context(working())
            yield Stage(app, None)


@contextmanager
def _served_app(queue: str, folder: Path, claim_timeout: float | None) -> Iterator[Flask]:
    """A second app on the same database that the payment company can call back, and with a mail server of its own."""
    with ExitStack() as stack:
        listener = stack.enter_context(listening())
        config: dict[str, Any] = {"SQUIDMESH_EXTERNAL_URL": address_of(listener), "SHOP_MAILBOX": folder / "mailbox"}
        config["SHOP_SMTP_PORT"] = stack.enter_context(running_mail_server(folder / "mailbox"))
        if claim_timeout:
            config["SQUIDMESH_CLAIM_TIMEOUT"] = claim_timeout
        app = _app_on(queue, **config)
        stack.enter_context(serving(app, listener))
        secret = app.config["GATEWAY_SECRET"]
        file = folder / "gateway.sqlite"
        app.config["GATEWAY_URL"] = stack.enter_context(running_gateway(file, secret, late_seconds=HOUR))
        yield app


def _require_executor() -> None:
    runtime = current_runtime()
    with runtime.database.read() as connection:
        problems = list(runtime.executor.verify(connection))
    if problems:
        raise ConfigurationError(*problems)


def _app_on(queue: str, **config: Any) -> Flask:
    from . import create_app

    return create_app({**{name: current_app.config[name] for name in SAME}, "SQUIDMESH_QUEUE": queue, **config})


def _environment_of(app: Flask) -> dict[str, str]:
    """What brings a process to the same settings."""
    names = {"SQUIDMESH_QUEUE", *SAME} - {"SQLALCHEMY_DATABASE_URI", "SHOP_MAILBOX"}
    environment = {name: str(app.config[name]) for name in names}
    return environment | {"DATABASE_URL": app.config["SQLALCHEMY_DATABASE_URI"], "SHOP_INSTANCE": app.instance_path}


@contextmanager
def working(threads: int = 2) -> Iterator[None]:
    """Have a worker perform the current app's steps meanwhile."""
    worker = current_runtime().worker(threads=threads)
    thread = Thread(target=worker.run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        worker.stop()
        thread.join()


@contextmanager
def apart(queue: str) -> Iterator[None]:
    """Use the shop with a queue meanwhile that nobody takes work from, on the same database.

    :param queue: The queue's name.
    """
    with _app_on(queue).app_context():
        yield


def later(seconds: float) -> None:
    """Move the clock on and perform what is due then, in this thread."""
    clock.advance(seconds)
    drain()


def wait_until(condition: Callable[[], T], what: str) -> T:
    """Ask until the answer is true, and return it.

    :raises Late: It was not true within SHOP_PATIENCE_SECONDS.
    """
    patience = current_app.config["SHOP_PATIENCE_SECONDS"]
    deadline = time.monotonic() + patience
    while not (answer := condition()):
        if time.monotonic() > deadline:
            raise Late(f"{what}: not so within {patience:g} s")
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
            file, secret = Path(current_app.instance_path) / "gateway.sqlite", current_app.config["GATEWAY_SECRET"]
            current_app.config["GATEWAY_URL"] = stack.enter_context(running_gateway(file, secret))
        yield


def _gateway_answers() -> bool:
    try:
        return bool(mood())
    except GatewayBusy:
        return False
