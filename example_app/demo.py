"""The shop in one command: database, demo data, payment company, mail server, web server and worker.

`python -m example_app.demo`. Stop it with Ctrl-C and start it again: it goes on where it was.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from threading import Event

from . import engines
from .gateway.server import running_gateway
from .mailbox import running_mail_server
from .people import PASSWORD, PEOPLE
from .processes import GRACE_SECONDS, ROOT, Child
from .serving import HOST
from .settings import kept_secret

START_SECONDS = 30


def main() -> int:
    """Run the demo until it is asked to stop. Returns the exit code."""
    port, folder = int(os.environ.get("PORT", "5000")), Path(os.environ.get("SHOP_INSTANCE", ROOT / "instance"))
    if is_taken(port):
        say(f"Port {port} is taken by another program. Choose another one: PORT={port + 1} make demo")
        return 1
    folder.mkdir(parents=True, exist_ok=True)
    stop = Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    say("Preparing the database; the first start also fills the shop.")
    secret = kept_secret(folder, "gateway_secret")
    with (
        running_gateway(folder / "gateway.sqlite", secret) as gateway,
        running_mail_server(folder / "mailbox") as smtp_port,
    ):
        environment = {
            **{"SHOP_INSTANCE": str(folder), "SHOP_SHOW_LOGINS": "true", "SHOP_SMTP_PORT": str(smtp_port)},
            **{"GATEWAY_URL": gateway, "GATEWAY_SECRET": secret},
            "SQUIDMESH_EXTERNAL_URL": f"http://{HOST}:{port}",
        }
        return prepare(environment) or run(port, folder, environment, stop)


def prepare(environment: Mapping[str, str]) -> int:
    """Bring the database up to date and fill it the first time. Returns an exit code."""
    for command in (["db", "upgrade"], ["seed"]):
        done = engines.flask_command(command, environment)
        if done.returncode:
            say(f"`flask --app example_app {' '.join(command)}` failed:\n{done.stdout}{done.stderr}")
            return 1
    return 0


def run(port: int, folder: Path, environment: Mapping[str, str], stop: Event) -> int:
    """Run web server and worker until asked to stop, or until the web server ends by itself."""
    serve = (*engines.FLASK, "run", "--host", HOST, "--port", str(port), "--no-reload", "--no-debugger")
    web = Child("web server", serve, environment, folder / "web.log")
    executor = os.environ.get("SQUIDMESH_EXECUTOR", "database")
    worker = engines.worker(executor, environment, folder / "worker.log")
    web.start()
    worker.start()
    try:
        if not answers(port, web, stop):
            return 0 if stop.is_set() else told(web)
        say(welcome(port, worker, folder))
        return watch(web, worker, stop)
    finally:
        say(f"Stopping. Steps that are running get {GRACE_SECONDS} s to end; the next start goes on from here.")
        worker.stop()
        web.stop()


def watch(web: Child, worker: Child, stop: Event) -> int:
    """Start the worker again whenever it dies."""
    while not stop.wait(0.2):
        if web.ended:
            return told(web)
        if worker.ended:
            say(f"The worker (pid {worker.process.pid}) {worker.ended}.")
            stop.wait(1)
            worker.start()
            say(f"Started another worker (pid {worker.process.pid}); it takes over what the other one held.")
    return 0


def welcome(port: int, worker: Child, folder: Path) -> str:
    """What to read first."""
    address = f"http://{HOST}:{port}"
    return "\n".join(
        [
            f"Shop:       {address}/",
            f"Dashboard:  {address}/squidmesh/",
            f"Gateway:    {address}/gateway, where you say how the payment company behaves",
            f"Mailbox:    {address}/mailbox, with all mails that the shop sends",
            f"Log-ins, all with the password {PASSWORD}:",
            *(f"  {person.email:<18} {person.role}: {person.can}" for person in PEOPLE),
            f"Worker:     pid {worker.process.pid}. Kill it during a step (kill -9): the step is taken over.",
            f"Logs:       {folder}/web.log and worker.log",
            "Ctrl-C stops everything; the next start goes on from there.",
        ]
    )


def answers(port: int, web: Child, stop: Event) -> bool:
    """Wait until the web server listens."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and not web.ended and not stop.wait(0.1):
        if is_taken(port):
            return True
    return False


def told(child: Child) -> int:
    """Say how a process ended and what it wrote last; the exit code for that."""
    say(f"The {child.name} {child.ended or 'does not answer'}. Its last lines:\n{child.last_lines}")
    return 1


def is_taken(port: int) -> bool:
    """Whether somebody listens on the port."""
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


def say(text: str) -> None:
    """Print at once, also into a pipe."""
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
