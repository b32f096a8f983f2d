"""The port that a host's queue implements, and how SQUIDMESH_EXECUTOR leads to it."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple, Protocol, TypedDict, Unpack
from uuid import UUID

from flask import current_app

from .definition.values import is_storable
from .errors import ConfigurationError, PayloadError

if TYPE_CHECKING:
    import sqlalchemy as sa
    from flask import Flask

    from .definition.workflow import Workflow

Metadata = Mapping[str, object]

REQUIRED: Final[Mapping[str, tuple[str, ...]]] = {
    "step": ("run_id", "step"),
    "compensation": ("run_id",),
    "cron": ("workflow", "trigger"),
}
OPTIONAL: Final[Mapping[str, tuple[str, ...]]] = {"cron": ("intended_window", "signal_id")}


class Identified(Protocol):
    """Anything with a run's id, such as a RunSummary, whose `queue` is heeded too."""

    @property
    def id(self) -> str:
        """The id as text."""
        ...


class Payload(dict[str, str]):
    """What a queued job carries: a dictionary of text, which JSON can hold.

    A job gives it back unchanged: `mesh.perform(payload)`. It names what is to be done and holds no state. `queue` is
    in it where the run's is another than the app's SQUIDMESH_QUEUE.
    """

    @classmethod
    def step(cls, run: Identified, step: str) -> Payload:
        """Deliver a step of the run."""
        return cls(kind="step", run_id=run.id, step=step, **_queue_elsewhere(run))

    @classmethod
    def compensation(cls, run: Identified) -> Payload:
        """Deliver the run's next compensation."""
        return cls(kind="compensation", run_id=run.id, **_queue_elsewhere(run))

    @classmethod
    def cron(
        cls,
        workflow: str | type[Workflow],
        trigger: str,
        intended_window: datetime | str | None = None,
        signal_id: str | None = None,
    ) -> Payload:
        """Start a run by its cron trigger.

        workflow: class or name. intended_window: the time that the schedule meant, as a datetime or ISO 8601 text.
        signal_id: the scheduler's own name for this activation.
        """
        name = workflow if isinstance(workflow, str) else workflow.__squidmesh__.name
        window = intended_window.isoformat() if isinstance(intended_window, datetime) else intended_window
        given = {"intended_window": window, "signal_id": signal_id}
        named = {key: value for key, value in given.items() if value is not None}
        return cls(kind="cron", workflow=name, trigger=trigger, **named)


def _queue_elsewhere(run: Identified) -> dict[str, str]:
    """The queue of a run that an app with another one started."""
    queue = getattr(run, "queue", None)
    runtime = current_app.extensions.get("squidmesh") if current_app else None
    return {"queue": queue} if queue and runtime is not None and queue != runtime.settings.queue else {}


class Notification(NamedTuple):
    """A notification of PostgreSQL, which is sent when the transaction commits."""

    channel: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Wake:
    """How workers hear of work that they read from the database themselves. metadata: as `enqueue` returns it."""

    metadata: Metadata
    notice: Notification | None = None


class Executor(ABC):
    """Base class of a host's executor. Only `enqueue` must be written; the others build a payload and call it.

    Every method may be called from any thread and returns metadata of the host's choosing, such as the id of the
    job, which goes out with the signal `run_dispatched`. Whatever it raises is recorded and tried again later.

    An executor may also have `enqueue_in(connection, payload, *, schedule_in)`, which hands over inside the run's own
    transaction, under a savepoint; it returns metadata too. One whose workers look for due dispatches themselves has
    `wake(payload, *, schedule_in)` in its place, which returns a `Wake`.
    """

    worker_command: ClassVar[str | None] = None
    """What starts the workers, where they beat and relay by themselves as those of the ready-made executors do."""

    longest_delay: ClassVar[float | None] = None
    """The most seconds that a step is handed over ahead of its time; what is due later is left to the relay until then.
    None where the queue holds jobs for as long as it takes."""

    @abstractmethod
    def enqueue(self, payload: Payload, *, schedule_in: float | None = None) -> Metadata:
        """Queue a job that calls `mesh.perform(payload)`.

        schedule_in: seconds until it is due; None for at once.
        """

    def enqueue_step(self, run: Identified, step: str, *, schedule_in: float | None = None) -> Metadata:
        """Queue one step of the run."""
        return self.enqueue(Payload.step(run, step), schedule_in=schedule_in)

    def enqueue_steps(
        self, run: Identified, steps: Iterable[str], *, schedule_in: float | None = None
    ) -> Sequence[Metadata]:
        """Queue several steps of the run, and return the metadata of each in the same order."""
        return [self.enqueue_step(run, step, schedule_in=schedule_in) for step in steps]

    def enqueue_compensation(self, run: Identified, *, schedule_in: float | None = None) -> Metadata:
        """Queue the run's next compensation."""
        return self.enqueue(Payload.compensation(run), schedule_in=schedule_in)

    def enqueue_cron(
        self,
        workflow: str | type[Workflow],
        trigger: str,
        *,
        schedule_in: float | None = None,
        intended_window: datetime | str | None = None,
        signal_id: str | None = None,
    ) -> Metadata:
        """Queue the start of a run by its cron trigger. The host's own scheduler calls this."""
        return self.enqueue(Payload.cron(workflow, trigger, intended_window, signal_id), schedule_in=schedule_in)

    def continues(self, run: Identified, step: str) -> bool:
        """Whether a delivery may go on with this step in place, instead of queueing it. False unless overridden."""
        return False

    def takes_over(self, run: Identified, step: str) -> bool:
        """Whether a delivery that is done may go on with this step, which a dead worker held, although its new job is
        still in the queue. As `continues` says unless overridden."""
        return self.continues(run, step)

    def missing(self, app: Flask) -> Iterable[str]:
        """What the app's configuration lacks for this executor, one sentence each; ConfigurationError names them."""
        return ()

    def verify(self, connection: sa.Connection) -> Iterable[str]:
        """What the live database lacks for this executor, one sentence each; `flask squidmesh check` tells them."""
        return ()


def may_take_over(executor: Executor) -> bool:
    """Whether it can say yes to `takes_over` at all."""
    if isinstance(executor, ForeignExecutor):
        return executor.may_take_over()
    said = (executor.continues, executor.takes_over)
    return [getattr(method, "__func__", None) for method in said] != [Executor.continues, Executor.takes_over]


def check_payload(payload: object) -> Payload:
    """The payload that a job brought back, with ids in their usual form.

    Keys that are not known are left out, and the queue, which is that of the run's row. Raises PayloadError for
    anything that `Payload` would not have made.
    """
    if not isinstance(payload, Mapping):
        raise PayloadError(
            "A job's payload must be the mapping that the executor was given, not something of type "
            f"{type(payload).__name__}. Pass it to perform unchanged."
        )
    kind = payload.get("kind")
    if not isinstance(kind, str) or kind not in REQUIRED:
        is_there, known = "kind" in payload, ", ".join(REQUIRED)
        raise PayloadError(
            f"A job's payload must have a kind that is one of {known}. Pass it to perform unchanged.",
            missing_fields=() if is_there else ("kind",),
            invalid_types={"kind": f"must be one of {known}"} if is_there else None,
        )
    return _checked(kind, payload)


def _checked(kind: str, payload: Mapping[object, object]) -> Payload:
    optional = [key for key in OPTIONAL.get(kind, ()) if payload.get(key) is not None]
    absent = [key for key in REQUIRED[kind] if key not in payload]
    given = {key: payload[key] for key in (*REQUIRED[kind], *optional) if key in payload}
    wrong = {key: reason for key, value in given.items() if (reason := _reason(key, value))}
    if absent or wrong:
        said = [*(f"{key} is missing" for key in absent), *(f"{key} {reason}" for key, reason in wrong.items())]
        raise PayloadError(
            f"The payload of a {kind} job is malformed: {', '.join(said)}. Pass it to perform unchanged.",
            missing_fields=absent,
            invalid_types=wrong,
        )
    checked = Payload({key: str(value) for key, value in given.items()}, kind=kind)
    if "run_id" in checked:
        checked["run_id"] = str(UUID(checked["run_id"]))
    return checked


def _reason(key: str, value: object) -> str | None:
    """Why the value does not fit its key, or None."""
    if not isinstance(value, str) or not value or not is_storable(value):
        return "must be text that is not empty and that a database can hold"
    match key:
        case "run_id":
            return None if _parses(UUID, value) else "must be a UUID"
        case "intended_window":
            return None if _parses(datetime.fromisoformat, value) else "must be a time as ISO 8601 text"
        case _:
            return None


def _parses(read: Callable[[str], object], text: str) -> bool:
    try:
        read(text)
    except ValueError:
        return False
    return True


SETTING: Final = "SQUIDMESH_EXECUTOR"
READY_MADE: Final = {
    "database": "flask_squidmesh.integrations.database_executor:DatabaseExecutor",
    "procrastinate": "flask_squidmesh.integrations.procrastinate:ProcrastinateExecutor",
    "celery": "flask_squidmesh.integrations.celery:CeleryExecutor",
}
METHODS: Final = ("enqueue_step", "enqueue_steps", "enqueue_compensation", "enqueue_cron")


class HandOverOptions(TypedDict, total=False):
    """What the methods of executors are told beside what to queue. schedule_in: seconds until it is due."""

    schedule_in: float | None


class CronHandOverOptions(HandOverOptions, total=False):
    """The same of a cron activation."""

    intended_window: datetime | str | None
    signal_id: str | None


class ForeignExecutor(Executor):
    """A host's object that has the four enqueue_ methods without being an Executor; the rest is asked of it too."""

    def __init__(self, host: object) -> None:
        self._host: Any = host

    def enqueue(self, payload: Payload, *, schedule_in: float | None = None) -> Metadata:
        """Not there: such an object takes steps, compensations and cron triggers by methods of their own."""
        raise NotImplementedError(f"{type(self._host).__qualname__} has no `enqueue`. Call one of its four methods.")

    def enqueue_step(self, run: Identified, step: str, **options: Unpack[HandOverOptions]) -> Metadata:
        """Ask the host's object."""
        metadata: Metadata = self._host.enqueue_step(run, step, **options)
        return metadata

    def enqueue_steps(
        self, run: Identified, steps: Iterable[str], **options: Unpack[HandOverOptions]
    ) -> Sequence[Metadata]:
        """Ask the host's object."""
        metadata: Sequence[Metadata] = self._host.enqueue_steps(run, steps, **options)
        return metadata

    def enqueue_compensation(self, run: Identified, **options: Unpack[HandOverOptions]) -> Metadata:
        """Ask the host's object."""
        metadata: Metadata = self._host.enqueue_compensation(run, **options)
        return metadata

    def enqueue_cron(
        self, workflow: str | type[Workflow], trigger: str, **options: Unpack[CronHandOverOptions]
    ) -> Metadata:
        """Ask the host's object."""
        metadata: Metadata = self._host.enqueue_cron(workflow, trigger, **options)
        return metadata

    def continues(self, run: Identified, step: str) -> bool:
        """Ask the host's object, if it can say."""
        asked = getattr(self._host, "continues", None)
        return asked is not None and bool(asked(run, step))

    def takes_over(self, run: Identified, step: str) -> bool:
        """Ask the host's object, if it can say."""
        asked = getattr(self._host, "takes_over", self.continues)
        return bool(asked(run, step))

    def may_take_over(self) -> bool:
        """Whether the host's object can say."""
        return hasattr(self._host, "takes_over") or hasattr(self._host, "continues")

    def __getattr__(self, name: str) -> object:
        return getattr(self._host, name)


def resolve(setting: object) -> Executor:
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


def missing_methods(owner: type) -> tuple[str, ...]:
    """The methods that a class must still have before it can serve as an executor."""
    if issubclass(owner, Executor):
        return tuple(sorted(owner.__abstractmethods__))
    return tuple(name for name in METHODS if not callable(getattr(owner, name, None)))


def _check_methods(owner: type) -> None:
    names = missing_methods(owner)
    if not names:
        return
    advice = "Write it." if issubclass(owner, Executor) else "Write them, or derive from Executor and write `enqueue`."
    raise ConfigurationError(
        f"SQUIDMESH_EXECUTOR leads to {owner.__module__}.{owner.__qualname__}, which lacks {', '.join(names)}. {advice}"
    )


def _made(owner: type) -> object:
    try:
        return owner()
    except Exception as error:
        raise ConfigurationError(
            f"SQUIDMESH_EXECUTOR leads to {owner.__module__}.{owner.__qualname__}, which could not be made without "
            f"arguments ({type(error).__name__}: {error}). Set it to an instance instead."
        ) from error


def _imported(name: str) -> object:
    if name in READY_MADE:
        return _ready_made(name)
    if not re.search(r"\w[.:]\w", name):
        raise ConfigurationError(
            f"SQUIDMESH_EXECUTOR is a text that is neither one of {', '.join(map(repr, READY_MADE))} nor an import "
            'string. Write it like "shop.jobs:ShopExecutor".'
        )
    return imported(SETTING, name)


def _ready_made(name: str) -> object:
    module, _, attribute = READY_MADE[name].partition(":")
    try:
        found: object = getattr(import_module(module), attribute)
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"SQUIDMESH_EXECUTOR is {name!r}, which needs the package {error.name}, but it is not installed. "
            f"Run: pip install 'flask-squidmesh[{name}]'"
        ) from error
    return found


def imported(setting: str, name: str) -> object:
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
        found: object = getattr(module, attribute)
    except AttributeError:
        raise ConfigurationError(
            f"{setting} leads to {attribute} in the module {module_name}, which has no such name. Correct it."
        ) from None
    return found
