"""The worker of the executor that SQUIDMESH_EXECUTOR names, started by the command of its recipe in the docs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from .processes import ROOT, Child

FLASK: Final = (sys.executable, "-m", "flask", "--app", "example_app")
PROCRASTINATE: Final = (sys.executable, "-m", "procrastinate", "--app=example_app.workers.procrastinate.queue")
CELERY: Final = (sys.executable, "-m", "celery", "--app=example_app.workers.celery")

WORKERS: Final[Mapping[str, tuple[str, ...]]] = {
    "database": (*FLASK, "squidmesh", "worker", "--threads", "4"),
    "procrastinate": (*PROCRASTINATE, "worker", "--concurrency", "4"),
    "celery": (*CELERY, "worker", "--concurrency", "4"),
}


def worker(executor: str, environment: Mapping[str, str], log: Path) -> Child:
    """The worker, not yet started.

    :param executor: The value of SQUIDMESH_EXECUTOR.
    :param environment: What the worker finds besides this process's environment; it takes the same settings.
    :param log: The file that gets its output.
    :raises LookupError: There is no recipe for this executor.
    """
    if executor not in WORKERS:
        raise LookupError(f"SQUIDMESH_EXECUTOR is {executor!r}. This shop has recipes for {', '.join(WORKERS)}.")
    return Child("worker", WORKERS[executor], {**environment, "SQUIDMESH_EXECUTOR": executor}, log)


def flask_command(words: list[str], environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run one of the shop's own commands to its end."""
    inherited = {**os.environ, **environment}
    return subprocess.run([*FLASK, *words], cwd=ROOT, env=inherited, capture_output=True, text=True)
