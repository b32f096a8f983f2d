"""Workers, and who waits for what they do: in threads of this process, or in processes of their own.

A worker process is told on its standard input to `work` and to `rest`, and ends where that is closed. It tells on a
pipe, by the time as eight bytes, that it has done as told, and each run that is completed (or step that began).
"""

from __future__ import annotations

import argparse
import os
import select
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any, Final, Literal

from flask import Flask

from flask_squidmesh import Workflow
from flask_squidmesh.runtime.worker import keep_loaded
from flask_squidmesh.signals import run_transitioned

from . import app as measured
from .app import make_app, mesh, runtime_of

Told = Literal["completed", "began"]

NEWS: Final = struct.Struct("d")
PATIENCE_SECONDS: Final = 600.0
MODULE: Final = __name__


class WorkerHere:
    """A worker in threads of this process, where `perform` starts a run and waits until it is completed."""

    def __init__(self, app: Flask, threads: int) -> None:
        self._completed: SimpleQueue[None] = SimpleQueue()
        self._worker = runtime_of(app).worker(threads=threads)
        self._thread = threading.Thread(target=self._worker.run, name="worker")
        self._subscriber = on_completion(app, lambda: self._completed.put(None))

    def perform(self, workflow: type[Workflow]) -> None:
        """Start a run and wait for its end."""
        mesh.start_run(workflow)
        self._completed.get(timeout=PATIENCE_SECONDS)

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def stop(self) -> None:
        """Stop working."""
        self._worker.stop()
        self._thread.join()


@contextmanager
def working_here(url: str, threads: int) -> Iterator[WorkerHere]:
    """A worker in this process, and an app context to start runs in; all connections are closed afterwards."""
    with starting_here(url, threads + 1) as app:
        worker = WorkerHere(app, threads)
        worker.start()
        try:
            yield worker
        finally:
            worker.stop()


@contextmanager
def starting_here(url: str, threads: int = 1) -> Iterator[Flask]:
    """An app with its tables, in its context; all connections are closed afterwards."""
    from flask_squidmesh.storage.tables import Base

    app = make_app(url, threads)
    with app.app_context():
        runtime = runtime_of(app)
        Base.metadata.create_all(runtime.database.engine)
        try:
            yield app
        finally:
            hang_up(app)


def hang_up(app: Flask) -> None:
    """Close the connections of this process, so that the server has all their figures."""
    runtime = runtime_of(app)
    runtime.database.dispose()
    for engine in runtime.host_db.engines.values():
        engine.dispose()


class WorkerProcesses:
    """Worker processes that are up, at rest until `work`.

    :param told: Whether they tell of each run that is completed or of each step that began.
    """

    def __init__(self, url: str, *, processes: int, threads: int, told: Told = "completed") -> None:
        self._news, writing = os.pipe()
        words = ["--database", url, "--threads", str(threads), "--told", told, "--pipe", str(writing)]
        self._processes = [
            subprocess.Popen(
                [sys.executable, "-m", MODULE, *words], stdin=subprocess.PIPE, stdout=sys.stderr, pass_fds=[writing]
            )
            for _ in range(processes)
        ]
        os.close(writing)
        self.hear(processes)

    @property
    def pids(self) -> list[int]:
        """The ids of the processes."""
        return [process.pid for process in self._processes]

    def work(self) -> None:
        """Have all of them work from now on."""
        self._say("work")
        self.hear(len(self._processes))

    def rest(self) -> None:
        """Have all of them finish what they are at and stop."""
        self._say("rest")
        self.hear(len(self._processes))

    def go(self) -> None:
        """Have all of them work, without waiting for a word that they do."""
        self._say("work")

    def hear(self, pieces: int) -> list[float]:
        """Wait for so many pieces of news. Returns the time of each, as `time.time` has it."""
        heard = list[float]()
        while len(heard) < pieces:
            readable, _, _ = select.select([self._news], [], [], PATIENCE_SECONDS)
            got = os.read(self._news, NEWS.size * 4096) if readable else b""
            if not got:
                raise RuntimeError(f"The workers told {len(heard)} of {pieces} times and then no more.")
            heard.extend(moment for (moment,) in NEWS.iter_unpack(got))
        if len(heard) > pieces:
            raise RuntimeError(f"The workers told {len(heard)} times where {pieces} were expected.")
        return heard

    def end(self) -> None:
        """End the processes; what they were at is left as it is."""
        for process in self._processes:
            process.kill()
            process.wait()

    def hang_up(self) -> None:
        """Close the pipes."""
        os.close(self._news)
        for process in self._processes:
            if process.stdin:
                process.stdin.close()

    def _say(self, word: str) -> None:
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.write(word.encode() + b"\n")
            process.stdin.flush()


@contextmanager
def worker_processes(url: str, *, processes: int, threads: int, told: Told = "completed") -> Iterator[WorkerProcesses]:
    """Worker processes for as long as the block lasts, unless it ends them itself."""
    workers = WorkerProcesses(url, processes=processes, threads=threads, told=told)
    try:
        yield workers
    finally:
        workers.end()
        workers.hang_up()


def on_completion(app: Flask, told: Callable[[], object]) -> Callable[..., None]:
    """Call this after the commit that completes a run. Keep what is returned: the subscription ends with it."""

    def subscriber(_app: Flask, *, status: str, **_facts: Any) -> None:
        if status == "completed":
            told()

    run_transitioned.connect(subscriber, sender=app)
    return subscriber


def main() -> None:
    """Be a worker process."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--database", required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--told", required=True)
    parser.add_argument("--pipe", type=int, required=True)
    options = parser.parse_args()
    app = make_app(options.database, options.threads)

    def tell() -> None:
        os.write(options.pipe, NEWS.pack(time.time()))

    if options.told == "began":
        measured.began.append(tell)
        obey(app, options.threads, tell)
    else:
        _subscriber = on_completion(app, tell)
        obey(app, options.threads, tell)


def obey(app: Flask, threads: int, tell: Callable[[], None]) -> None:
    """Work and rest as standard input says, until it is closed."""
    worker, thread = None, None
    keep_loaded()
    tell()
    for line in sys.stdin:
        if line.strip() == "work":
            worker = runtime_of(app).worker(threads=threads)
            thread = threading.Thread(target=worker.run, name="worker")
            thread.start()
        elif worker is not None and thread is not None:
            worker.stop()
            thread.join()
        tell()
    os._exit(0)


if __name__ == "__main__":
    main()
