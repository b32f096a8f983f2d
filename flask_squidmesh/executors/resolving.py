"""From the setting SQUIDMESH_EXECUTOR to an executor."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from ..errors import ConfigurationError
from .contract import Executor, Identified, Metadata, Payload

if TYPE_CHECKING:
    from ..workflow.declaration import Workflow

SETTING: Final = "SQUIDMESH_EXECUTOR"
READY_MADE: Final = {
    "database": "flask_squidmesh.executors.database:DatabaseExecutor",
    "procrastinate": "flask_squidmesh.executors.procrastinate:ProcrastinateExecutor",
    "celery": "flask_squidmesh.executors.celery:CeleryExecutor",
}
METHODS: Final = ("enqueue_step", "enqueue_steps", "enqueue_compensation", "enqueue_cron")


class ForeignExecutor(Executor):
    """A host's object that has the four enqueue_ methods without being an Executor; the rest is asked of it too."""

    def __init__(self, host: Any) -> None:
        self._host = host

    def enqueue(self, payload: Payload, *, schedule_in: float | None = None) -> Metadata:
        """Not there: such an object takes steps, compensations and cron triggers by methods of their own."""
        raise NotImplementedError(f"{type(self._host).__qualname__} has no `enqueue`. Call one of its four methods.")

    def enqueue_step(self, run: Identified, step: str, **options: Any) -> Metadata:
        """Ask the host's object."""
        metadata: Metadata = self._host.enqueue_step(run, step, **options)
        return metadata

    def enqueue_steps(self, run: Identified, steps: Iterable[str], **options: Any) -> Sequence[Metadata]:
        """Ask the host's object."""
        metadata: Sequence[Metadata] = self._host.enqueue_steps(run, steps, **options)
        return metadata

    def enqueue_compensation(self, run: Identified, **options: Any) -> Metadata:
        """Ask the host's object."""
        metadata: Metadata = self._host.enqueue_compensation(run, **options)
        return metadata

    def enqueue_cron(self, workflow: str | type[Workflow], trigger: str, **options: Any) -> Metadata:
        """Ask the host's object."""
        metadata: Metadata = self._host.enqueue_cron(workflow, trigger, **options)
        return metadata

    def continues(self, run: Identified, step: str) -> bool:
        """Ask the host's object, if it can say."""
        asked = getattr(self._host, "continues", None)
        return asked is not None and bool(asked(run, step))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._host, name)


def resolve(setting: Any) -> Executor:
    """The executor that SQUIDMESH_EXECUTOR means.

    setting: the name of a ready-made one, an import string ("shop.jobs:ShopExecutor" or with a dot), a class, which is
    made without arguments, or an instance. A class that is no `Executor` will do when it has all four enqueue_ methods.

    Raises ConfigurationError when it cannot be imported or made, or lacks methods, and names them.
    """
    found = _imported(setting) if isinstance(setting, str) else setting
    if type(found).__module__ == "builtins" and not isinstance(found, type):
        raise ConfigurationError(
            f"SQUIDMESH_EXECUTOR leads to a {type(found).__name__}. It must lead to a class or an instance of one."
        )
    _check_methods(found if isinstance(found, type) else type(found))
    executor = _made(found) if isinstance(found, type) else found
    return executor if isinstance(executor, Executor) else ForeignExecutor(executor)


def require_executor(executor: Executor, owner: type[Executor], engine: str) -> None:
    """Raise ConfigurationError where the workers of this engine would have no work to do."""
    if not isinstance(executor, owner):
        raise ConfigurationError(
            f"SQUIDMESH_EXECUTOR leads to {type(executor).__qualname__}, so no worker of {engine}'s has work to do. "
            f'Set it to "{engine.lower()}".'
        )


def missing_methods(owner: type[Any]) -> tuple[str, ...]:
    """The methods that a class must still have before it can serve as an executor."""
    if issubclass(owner, Executor):
        return tuple(sorted(owner.__abstractmethods__))
    return tuple(name for name in METHODS if not callable(getattr(owner, name, None)))


def _check_methods(owner: type[Any]) -> None:
    names = missing_methods(owner)
    if not names:
        return
    advice = "Write it." if issubclass(owner, Executor) else "Write them, or derive from Executor and write `enqueue`."
    raise ConfigurationError(
        f"SQUIDMESH_EXECUTOR leads to {owner.__module__}.{owner.__qualname__}, which lacks {', '.join(names)}. {advice}"
    )


def _made(owner: type[Any]) -> Any:
    try:
        return owner()
    except Exception as error:
        raise ConfigurationError(
            f"SQUIDMESH_EXECUTOR leads to {owner.__module__}.{owner.__qualname__}, which could not be made without "
            f"arguments ({type(error).__name__}: {error}). Set it to an instance instead."
        ) from error


def _imported(name: str) -> Any:
    if name in READY_MADE:
        return _ready_made(name)
    if not re.search(r"\w[.:]\w", name):
        raise ConfigurationError(
            f"SQUIDMESH_EXECUTOR is a text that is neither one of {', '.join(map(repr, READY_MADE))} nor an import "
            'string. Write it like "shop.jobs:ShopExecutor".'
        )
    return imported(SETTING, name)


def _ready_made(name: str) -> Any:
    module, _, attribute = READY_MADE[name].partition(":")
    try:
        return getattr(import_module(module), attribute)
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"SQUIDMESH_EXECUTOR is {name!r}, which needs the package {error.name}, but it is not installed. "
            f"Run: pip install 'flask-squidmesh[{name}]'"
        ) from error


def imported(setting: str, name: str) -> Any:
    """What an import string leads to, such as "shop.jobs:ShopExecutor" or the same with a dot.

    setting: the key it was found under. Raises ConfigurationError where it leads nowhere.
    """
    module_name, _, attribute = name.replace(":", ".").rpartition(".")
    try:
        module = import_module(module_name)
    except Exception as error:
        raise ConfigurationError(
            f"{setting} leads to the module {module_name}, whose import failed ({type(error).__name__}: {error}). "
            "Correct the name, or mend the module."
        ) from error
    try:
        return getattr(module, attribute)
    except AttributeError:
        raise ConfigurationError(
            f"{setting} leads to {attribute} in the module {module_name}, which has no such name. Correct it."
        ) from None
