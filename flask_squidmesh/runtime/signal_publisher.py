"""Sending signals, and log records of them, once what they tell is committed."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, TypedDict, TypeVar

from flask import Flask

from .. import signals
from ..engine.changes import Changes
from ..engine.facts import RunFact
from ..errors import FailStep
from ..storage.summaries import RunSummary
from .outcomes import is_a, let_ctrl_c_through, log_error, loggable

logger = logging.getLogger("flask_squidmesh")

KEPT = ("run_id", "workflow", "trigger", "tenant", "status", "current_step", "step", "visit", "attempt")

TOLD: dict[str, tuple[int, str]] = {
    "run_created": (logging.INFO, "run created"),
    "run_dispatched": (logging.DEBUG, "work handed over"),
    "run_transitioned": (logging.INFO, "run went from {from_status} to {status}"),
    "run_replayed": (logging.INFO, "run created as a replay of {replayed_from_id}"),
    "step_started": (logging.DEBUG, "step started"),
    "step_skipped": (logging.DEBUG, "step skipped: {reason}"),
    "step_completed": (logging.INFO, "step completed"),
    "step_failed": (logging.WARNING, "step failed"),
    "step_retry_scheduled": (logging.INFO, "step is tried again in {delay:g} s"),
    "step_reminded": (logging.INFO, "step takes long; it should end by {due_at}"),
    "step_overdue": (logging.WARNING, "step should have ended by {due_at}"),
    "decision_reminded": (logging.INFO, "reminded of what is to be decided"),
    "decision_escalated": (logging.INFO, "escalated, as nobody has decided"),
    "decision_timed_out": (logging.INFO, "nobody has decided in time"),
    "manual_action_taken": (logging.INFO, "{action} by a person"),
}


NOTHING: Final[Mapping[str, object]] = MappingProxyType({})


class SignalledRun(TypedDict):
    """What every signal says of its run."""

    run_id: str
    workflow: str
    trigger: str
    tenant: str
    status: str
    current_step: str | None


def signalled(run: RunFact | RunSummary, moved: Mapping[str, Any] = NOTHING) -> SignalledRun:
    """The run as signals tell of it. moved: columns that a decision has set."""
    return {
        "run_id": run.id,
        "workflow": run.workflow,
        "trigger": run.trigger,
        "tenant": run.tenant,
        "status": moved.get("status", run.status),
        "current_step": moved.get("current_step", run.current_step),
    }


@dataclass(frozen=True, slots=True)
class FailedAttempt:
    """An attempt that failed. raised: by the step, if it did. goes_on: whether it is tried again."""

    raised: BaseException | None
    goes_on: bool

    @property
    def is_error(self) -> bool:
        """Whether the step is at its end by what nobody meant; `FailStep` is its own word."""
        return not self.goes_on and self.raised is not None and not is_a(self.raised, FailStep)


def write(name: str, facts: Mapping[str, Any], failed: FailedAttempt | None = None) -> None:
    """Write the record of a signal. failed: of the one that tells of a failed attempt.

    What the step raised goes with it, where error trackers look for it.
    """
    level, text = TOLD[name]
    if failed is not None and failed.is_error:
        level = logging.ERROR
    if not logger.isEnabledFor(level):
        return
    place = "/".join(str(facts[key]) for key in ("workflow", "step") if facts.get(key))
    message = f"{place} {facts['run_id']}: {text.format(**facts)}"
    raised = loggable(failed.raised) if failed and failed.raised is not None else None
    if failed and raised is None:
        error = facts.get("error") or {}
        message += "".join(f": {error[part]}" for part in ("type", "message") if error.get(part))
    logger.log(level, message, exc_info=raised, extra={key: facts[key] for key in KEPT if key in facts})


PATIENCE = 1.0

_Ticket = tuple[int, int]
_Told = TypeVar("_Told")


class SignalSequencer:
    """Has the decisions about a run told in the order they were taken, whichever threads of this process took them.

    The run's revision is a turn's number, as only one decision about a revision is ever committed. A decision waits
    for those that are about to be told; one whose transaction was rolled back after all costs a second, once.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._told = threading.Condition(self._lock)
        self._taken: dict[str, set[_Ticket]] = {}

    def take(self, run: RunFact) -> None:
        """This thread decides about the run, and tells of it after the commit."""
        with self._lock:
            self._taken.setdefault(run.id, set()).add(_ticket(run))

    def forget(self, run: RunFact) -> None:
        """This thread's decision was not written after all."""
        with self._lock:
            taken = self._taken.get(run.id)
            if taken is not None:
                taken.discard(_ticket(run))
                if taken:
                    self._told.notify_all()
                else:
                    del self._taken[run.id]

    def written(self, run: RunFact, commit: Callable[[], bool]) -> bool:
        """Have this thread's decision about the run committed, and answer whether it was; it is told of if it was.

        commit: answers False where the fence held the writes back.
        """
        self.take(run)
        done = False
        try:
            done = commit()
            return done
        finally:
            if not done:
                self.forget(run)

    def tell(self, run: RunFact, telling: Callable[[], _Told]) -> _Told:
        """Call `telling` once the decisions before this one have been told, and answer what it answers."""
        with self._lock:
            taken_by_others = len(self._taken.get(run.id, ())) > 1
            if (
                taken_by_others
                and self._before(run)
                and not self._told.wait_for(lambda: not self._before(run), PATIENCE)
            ):
                self._taken[run.id] -= self._before(run)
        try:
            return telling()
        finally:
            self.forget(run)

    def _before(self, run: RunFact) -> set[_Ticket]:
        me, taken = threading.get_ident(), self._taken.get(run.id, ())
        return {(number, thread) for number, thread in taken if thread != me and number < run.revision}


def _ticket(run: RunFact) -> _Ticket:
    return run.revision, threading.get_ident()


class SignalPublisher:
    """Tells subscribers and the log of what has been committed.

    sequencer: keeps what is told of a run in the order in which it was decided.
    """

    def __init__(self, app: Flask) -> None:
        self._app = app
        self.sequencer = SignalSequencer()

    def announce(self, run: RunFact, changes: Changes, raised: BaseException | None = None) -> SignalledRun:
        """Tell what one decision about the run changed: its steps first, then the run's own move.

        raised: what the step that failed raised. Answer what every signal says of the run.
        """
        told = signalled(run, changes.run)
        for notice in changes.notices:
            failed = FailedAttempt(raised, _is_tried_again(changes)) if notice.signal == "step_failed" else None
            self.send(notice.signal, told, notice.data, failed)
        if told["status"] != run.status:
            self.send("run_transitioned", told, {"from_status": run.status})
        return told

    def is_heard(self, name: str) -> bool:
        """Whether the log or a subscriber takes the signal; one that nobody takes need not be made."""
        level, _ = TOLD[name]
        return bool(getattr(signals, name).receivers) or logger.isEnabledFor(level)

    def send(
        self, name: str, run: SignalledRun, further: Mapping[str, object] = NOTHING, failed: FailedAttempt | None = None
    ) -> None:
        """Write its log record and send the signal. A subscriber that raises is logged and changes nothing.

        further: what it says beside what every signal says of its run.
        """
        if failed is None and not self.is_heard(name):
            return
        facts = {**further, **run}
        try:
            write(name, facts, failed)
        except BaseException as error:  # a filter or a formatter of the host's
            let_ctrl_c_through(error)
            log_error(logger, error, "squidmesh: the log record of %s could not be written", name)
        signal = getattr(signals, name)
        if not signal.receivers:
            return
        for receiver in signal.receivers_for(self._app):
            try:
                receiver(self._app, **_keywords(receiver, facts))
            except BaseException as error:  # what is told has been committed, so nothing may end here
                let_ctrl_c_through(error)
                log_error(logger, error, "squidmesh: a subscriber to %s raised", name)


def _is_tried_again(changes: Changes) -> bool:
    return any(notice.signal == "step_retry_scheduled" for notice in changes.notices)


def _keywords(receiver: Any, facts: Mapping[str, Any]) -> Mapping[str, Any]:
    """The facts without the one that has the name of the subscriber's first parameter, which takes the app.

    An executor may call its metadata what it likes.
    """
    function = getattr(receiver, "__func__", receiver)
    if not hasattr(function, "__code__"):
        function = getattr(receiver.__call__, "__func__", None)
    code = getattr(function, "__code__", None)
    names = code.co_varnames[: code.co_argcount] if code is not None else ()
    first = names[function is not receiver :][:1]
    return {name: fact for name, fact in facts.items() if name not in first} if facts.keys() & first else facts
