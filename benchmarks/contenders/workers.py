"""The worker processes of a peer, as both sides see them.

They are processes of the contender's own module. They say when they are ready, begin at a word on their standard input,
and die when it is closed.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
import threading
import time
from types import TracebackType
from typing import Final, Self

from .answering import Task

WORKER, TELLING_WORKER = "worker", "telling_worker"
MEASURED: Final = "SQUIDMESH_BENCH_WORK"
DEADLINE: Final = 900.0


class Workers:
    """The worker processes of a peer: up and connected, but not at work before `open`.

    measured: the work that is measured. telling: whether they say when a run's last step is reached, see `heard`.
    """

    def __init__(self, task: Task, measured: str, *, telling: bool = False) -> None:
        self._command = _command(task, TELLING_WORKER if telling else WORKER)
        self._processes: list[subprocess.Popen[bytes]] = []
        self._count, self._measured = task.processes, measured

    def __enter__(self) -> Self:
        pipe, environment = subprocess.PIPE, {**os.environ, MEASURED: self._measured}
        for _ in range(self._count):
            process = subprocess.Popen(self._command, env=environment, stdin=pipe, stdout=pipe, bufsize=0)
            self._processes.append(process)
        for process in self._processes:
            _line(process)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def open(self) -> None:
        """Let them begin."""
        for process in self._processes:
            assert process.stdin
            process.stdin.write(b"begin\n")

    def heard(self) -> float:
        """The time (`time.time()`) of the next last step of a run that the first worker tells of."""
        return float(_line(self._processes[0]))

    def cpu_seconds(self) -> float:
        """What they have used of the processor since they were started."""
        ticks = 0
        for process in self._processes:
            with open(f"/proc/{process.pid}/stat") as file:
                fields = file.read().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def stop(self) -> None:
        """Kill them."""
        while self._processes:
            with self._processes.pop() as process:
                process.kill()


def _command(task: Task, work: str) -> list[str]:
    spec = sys.modules["__main__"].__spec__
    assert spec
    redis = ["--redis", task.redis] if task.redis else []
    return [
        *(sys.executable, "-m", spec.name, work, "--database", task.database, *redis),
        *("--threads", str(task.threads), "--processes", str(task.processes)),
    ]


def _line(process: subprocess.Popen[bytes]) -> bytes:
    assert process.stdout
    readable, _, _ = select.select([process.stdout], [], [], DEADLINE)
    line = process.stdout.readline() if readable else b""
    if not line:
        raise RuntimeError("A worker ended or hung instead of saying what was expected; see its standard error")
    return line


def tell(*, of_steps: bool) -> None:
    """In a worker, before anything is printed: what is told goes to the standard output, all else to the error."""
    _Telling.into, _Telling.of_steps = os.dup(1), of_steps
    os.dup2(2, 1)


class _Telling:
    """Where a worker process says things."""

    into: int | None = None
    of_steps = False


def opened() -> None:
    """In a worker: say that it is ready, and return when it may begin."""
    if _Telling.into is not None:
        os.write(_Telling.into, b"ready\n")
    if not sys.stdin.readline():
        os._exit(1)
    threading.Thread(target=die_with_the_parent, daemon=True).start()


def die_with_the_parent() -> None:
    """Wait for the end of the standard input, and of this process."""
    sys.stdin.read()
    os._exit(0)


def step() -> None:
    """A step that does nothing."""


def last_step() -> None:
    """The same; where it was asked for, it tells when it was reached."""
    if _Telling.of_steps and _Telling.into is not None:
        os.write(_Telling.into, f"{time.time()}\n".encode())
