"""Workers and relays as processes, stopped by signals."""

from __future__ import annotations

import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

SHOP = """
import os
import sys
import time
from pathlib import Path

from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from flask_squidmesh import Manual, SquidMesh, Step, Workflow


def tell():
    print("told", flush=True)


def wait_for_the_end():
    print("waiting", flush=True)
    while not Path(os.environ["END"]).exists():
        time.sleep(0.02)
    print("through", flush=True)


class Telling(Workflow):
    begin = Manual()
    tell = Step(tell)


class Waiting(Workflow):
    begin = Manual()
    wait_for_the_end = Step(wait_for_the_end)


app = Flask("shop")
app.config.update(SQLALCHEMY_DATABASE_URI=os.environ["URL"], SQUIDMESH_EXECUTOR="database")
app.config["SQUIDMESH_POLL_INTERVAL"] = 600  # other processes must wake a worker
db = SQLAlchemy(app)
mesh = SquidMesh(app)
mesh.register(Telling, Waiting)
"""


class Shop:
    """A host app in a file, called as processes of its own."""

    def __init__(self, folder: Path, url: str) -> None:
        (folder / "shop.py").write_text(SHOP)
        self.end = folder / "end"
        self._folder = folder
        self._environment = os.environ | {"URL": url, "END": str(self.end), "PYTHONPATH": os.pathsep.join(sys.path)}
        self._engine = sa.create_engine(url)
        self.started: list[subprocess.Popen[str]] = []

    def begin(self, workflow: str) -> None:
        """Start a run, in this process."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("URL", self._environment["URL"])
            names = runpy.run_path(str(self._folder / "shop.py"))
        with names["app"].app_context():
            names["mesh"].start_run(workflow)

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start `flask` with these words; its output is in `outputs`."""
        words = (sys.executable, "-W", "ignore", "-m", "flask", "--app", "shop", *words)
        log = (self._folder / f"{len(self.started)}.log").open("w")
        process = subprocess.Popen(
            words, cwd=self._folder, env=self._environment, stdout=log, stderr=subprocess.STDOUT, text=True
        )
        log.close()
        self.started.append(process)
        return process

    def output(self, process: subprocess.Popen[str]) -> str:
        return (self._folder / f"{self.started.index(process)}.log").read_text()

    def statuses(self) -> list[str]:
        with self._engine.connect() as connection:
            return list(connection.scalars(sa.text("SELECT status FROM squidmesh_runs")))

    def beats(self) -> int:
        with self._engine.connect() as connection:
            return connection.scalar(sa.text("SELECT count(*) FROM squidmesh_processes")) or 0

    def close(self) -> None:
        self.end.touch()
        for process in self.started:
            process.kill()
            process.wait(120)


@pytest.fixture
def shop(tmp_path: Path, migrated_url: str) -> Iterator[Shop]:
    with closing(Shop(tmp_path, migrated_url)) as made:
        yield made


@pytest.fixture
def sqlite_shop(tmp_path: Path, migrated_sqlite_url: str) -> Iterator[Shop]:
    with closing(Shop(tmp_path, migrated_sqlite_url)) as made:
        yield made


@pytest.mark.rule("worker-woken")
def test_a_worker_performs_steps_until_it_is_told_to_stop(shop: Shop, eventually: Callable[..., object]) -> None:
    worker = shop.start("squidmesh", "worker", "--threads", "2")
    eventually(lambda: "2 at a time" in shop.output(worker))
    shop.begin("telling")
    eventually(lambda: shop.statuses() == ["completed"])
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(120) == 0
    assert "told" in shop.output(worker)
    assert shop.output(worker).endswith("Stopped.\n")
    assert shop.beats() == 0


def test_a_stopping_worker_finishes_the_step_it_is_at(shop: Shop, eventually: Callable[..., object]) -> None:
    shop.begin("waiting")
    worker = shop.start("squidmesh", "worker")
    eventually(lambda: "waiting" in shop.output(worker))
    worker.send_signal(signal.SIGINT)
    eventually(lambda: "Stopping after what is being done" in shop.output(worker))
    assert worker.poll() is None
    shop.end.touch()
    assert worker.wait(120) == 0
    assert shop.statuses() == ["completed"]


def test_a_second_signal_ends_a_worker_at_once(sqlite_shop: Shop, eventually: Callable[..., object]) -> None:
    sqlite_shop.begin("waiting")
    worker = sqlite_shop.start("squidmesh", "worker")
    eventually(lambda: "waiting" in sqlite_shop.output(worker))
    worker.send_signal(signal.SIGTERM)
    eventually(lambda: "Stopping after what is being done" in sqlite_shop.output(worker))
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(120) == 128 + signal.SIGTERM
    assert "through" not in sqlite_shop.output(worker)


def test_a_relay_keeps_its_rounds_until_it_is_told_to_stop(
    sqlite_shop: Shop, eventually: Callable[..., object]
) -> None:
    relay = sqlite_shop.start("squidmesh", "relay", "--every", "0.05")
    eventually(lambda: sqlite_shop.output(relay).count("Handed over: 0") >= 3)
    assert sqlite_shop.beats() == 1
    relay.send_signal(signal.SIGTERM)
    assert relay.wait(120) == 0
