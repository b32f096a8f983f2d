"""The check as hosts call it."""

from __future__ import annotations

from typing import Any

from ...errors import ConfigurationError
from ...executors.contract import Executor
from ...executors.database import DatabaseExecutor
from ...executors.resolving import resolve
from ...runtime.runtime import current_runtime
from .asking import ask_everything
from .travelling import Deliver, let_travel
from .trial import Trial


def check_executor(executor: Any = None, *, deliver: Deliver | None = None, timeout: float = 30.0) -> None:
    """Check that an executor keeps to the contract, in the context of an app on a database with our tables.

    Each method is called as runs call it, alone and from several threads, with probes: payloads of runs that do not
    exist, so that a worker which gets one does nothing. Where the executor has `enqueue_in`, it is called in a
    transaction that is committed and in one that is rolled back.

    executor: what SQUIDMESH_EXECUTOR may be: an instance, a class or an import string; the app's own if left out.
    deliver: makes one pass of a worker, so that the probes travel through the queue. It is called again and again. What
    jobs in this process pass to `mesh.perform` is seen; where the worker is another process, or there is none, it
    returns the payloads that have arrived since it was called last. timeout: seconds for all of them to arrive.

    Raises AssertionError with everything that was found, what was expected, and what to do.
    """
    runtime = current_runtime()
    trial = Trial(runtime, _resolved(executor) if executor is not None else runtime.executor)
    ask_everything(trial)
    if deliver is not None:
        if isinstance(trial.executor, DatabaseExecutor):
            raise ValueError(
                "The database executor queues nothing: its workers read the runs' own rows. Leave out deliver."
            )
        let_travel(trial, deliver, timeout)
    if trial.problems:
        raise AssertionError(_told(trial))


def _resolved(setting: Any) -> Executor:
    try:
        return resolve(setting)
    except ConfigurationError as error:
        raise AssertionError(str(error)) from error


def _told(trial: Trial) -> str:
    owner = type(getattr(trial.executor, "_host", trial.executor))
    name = f"{owner.__module__}.{owner.__qualname__}"
    lines = [f"- {problem}" for problem in trial.problems]
    return "\n".join([f"The executor {name} does not keep to the contract:", *lines])
