"""Whether an executor keeps to the contract: it is asked everything that runs ask of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import Any, Final, TypeVar, Unpack

import sqlalchemy as sa

from ..errors import ConfigurationError
from ..executor import Executor, ForeignExecutor, HandOverOptions, Identified, Metadata, Payload, resolve
from ..integrations.database_executor import DatabaseExecutor
from ..runtime.deliveries import Delivery
from ..runtime.runtime import Runtime, current_runtime
from ..storage.summaries import RunSummary, new_id
from ..storage.tables import dispatches, queues

T = TypeVar("T")
PROBE: Final = "squidmesh_probe"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A probe that the executor took. key: text that stands in no other probe. wanted: whether it should arrive."""

    call: str
    key: str
    payload: Mapping[str, str]
    delay: float | None = None
    at: float = field(default_factory=time.monotonic)
    wanted: bool = True


class Trial:
    """One executor on trial: `problems` are sentences, `sent` is what its queue should deliver."""

    def __init__(self, runtime: Runtime, executor: Executor) -> None:
        self.runtime, self.executor = runtime, executor
        self.problems: list[str] = []
        self.sent: list[Sent] = []

    def problem(self, call: str, found: str, expected: str, advice: str) -> None:
        """Write a problem down, once."""
        text = f"{call}: found {found}; expected {expected}. {advice}"
        if text not in self.problems:
            self.problems.append(text)

    def ask(self, call: str, function: Callable[[], T]) -> T | None:
        """What the executor answers, or None where that is a problem of its own."""
        with self.runtime.in_context():
            try:
                answer = function()
            except Exception as error:
                found = f"{type(error).__name__}: {error}"
                self.problem(
                    call, found, "the job to be queued", "Take every call; raise only where the queue is away."
                )
                return None
            if self.runtime.host_db.session.registry.has():
                advice = "Any thread may call, and the caller's session is not yours: use a connection of your own."
                self.problem(call, "use of db.session", "none", advice)
            return answer

    def check_metadata(self, call: str, answer: object) -> bool:
        """Whether the answer is metadata."""
        if isinstance(answer, Mapping) and all(isinstance(key, str) for key in answer):
            return True
        advice = 'Return what tells of the job, such as {"job_id": job.id}.'
        self.problem(call, f"an answer of type {type(answer).__name__}", "a mapping with text as keys", advice)
        return False

    def takes(self, call: str, payload: Payload, function: Callable[[], object], delay: float | None = None) -> None:
        """Have the executor take one probe."""
        problems = len(self.problems)
        answer = self.ask(call, function)
        if len(self.problems) == problems and self.check_metadata(call, answer):
            self.sent.append(Sent(call=call, key=key_of(payload), payload=dict(payload), delay=delay))


def key_of(payload: Mapping[str, str]) -> str:
    """What stands in no other probe."""
    own = payload["run_id"] if payload["kind"] != "cron" else payload["signal_id"]
    return f"{own}{payload.get('step', '')}"


def probe_run() -> RunSummary:
    """A run that does not exist, as executors see runs."""
    now = datetime.now(UTC)
    nothing: dict[str, Any] = {each.name: None for each in fields(RunSummary)}
    counters = {"attempt": 1, "max_attempts": 1, "revision": 1}
    words = {"id": new_id(), "workflow": PROBE, "trigger": PROBE, "subject": "Probe", "status": "running"}
    return RunSummary(**{**nothing, **counters, **words, "awaits_event": False, "created_at": now, "updated_at": now})


STEPS: Final = ("probe_a", "probe_b", "probe_c")
DELAY: Final = 2.5
THREADS: Final = 4


class _UndoneError(Exception):
    """Rolls a transaction back."""


def ask_everything(trial: Trial) -> None:
    """Call each method as runs do, and write down what is wrong with its answers."""
    for delay in (None, DELAY):
        _ask_one_by_one(trial, delay)
    _ask_for_several(trial)
    _ask_whether_to_continue(trial)
    if callable(getattr(trial.executor, "enqueue_in", None)):
        _ask_within(trial, kept=True)
        _ask_within(trial, kept=False)
    _ask_from_threads(trial)
    _leave_no_rows(trial)


def _ask_one_by_one(trial: Trial, delay: float | None) -> None:
    run, executor, signal_id = probe_run(), trial.executor, new_id()
    window = datetime.now(UTC)
    given = Payload.step(probe_run(), "probe")
    if not isinstance(executor, ForeignExecutor):
        before = dict(given)
        trial.takes("enqueue", given, lambda: executor.enqueue(given, schedule_in=delay), delay)
        if dict(given) != before:
            trial.problem("enqueue", "a changed payload", "it as it was", "Copy the payload before you change it.")
    trial.takes(
        "enqueue_step",
        Payload.step(run, "probe"),
        lambda: executor.enqueue_step(run, "probe", schedule_in=delay),
        delay,
    )
    trial.takes(
        "enqueue_compensation",
        Payload.compensation(undone := probe_run()),
        lambda: executor.enqueue_compensation(undone, schedule_in=delay),
        delay,
    )
    trial.takes(
        "enqueue_cron",
        Payload.cron(PROBE, "tick", window, signal_id),
        lambda: executor.enqueue_cron(PROBE, "tick", schedule_in=delay, intended_window=window, signal_id=signal_id),
        delay,
    )


def _ask_for_several(trial: Trial) -> None:
    """One answer for each step, in order; told by which answer `enqueue_step` gave for which step, if it was asked."""
    call, run, executor, order = "enqueue_steps", probe_run(), trial.executor, _Order(trial)
    with order:
        answers = trial.ask(call, lambda: executor.enqueue_steps(run, STEPS, schedule_in=None))
    if answers is None:
        return
    advice = "Return a list with the metadata of each step, in the order of the steps."
    if not isinstance(answers, Sequence) or isinstance(answers, str):
        trial.problem(call, f"an answer of type {type(answers).__name__}", "a sequence", advice)
        return
    if len(answers) != len(STEPS):
        trial.problem(call, f"{len(answers)} answers for {len(STEPS)} steps", "one for each", advice)
        return
    steps = [order.steps.get(id(answer)) for answer in answers]
    if None not in steps and len(order.steps) == len(STEPS) and steps != list(STEPS):
        trial.problem(call, f"answers for {', '.join(map(str, steps))}", f"{', '.join(STEPS)}", advice)
    if all(trial.check_metadata(call, answer) for answer in answers):
        payloads = [Payload.step(run, step) for step in STEPS]
        trial.sent.extend(Sent(call=call, key=key_of(each), payload=dict(each)) for each in payloads)


class _Order:
    """Remembers, while the `with` block lasts, which answer `enqueue_step` gave for which step."""

    def __init__(self, trial: Trial) -> None:
        self._executor: Any = trial.executor
        self.steps: dict[int, str] = {}
        self._answers: list[object] = []

    def __enter__(self) -> None:
        asked: Callable[..., Metadata] = self._executor.enqueue_step

        def enqueue_step(run: Identified, step: str, **options: Unpack[HandOverOptions]) -> Metadata:
            answer = asked(run, step, **options)
            self._answers.append(answer)
            self.steps[id(answer)] = step
            return answer

        self._executor.enqueue_step = enqueue_step

    def __exit__(self, *_: object) -> None:
        del self._executor.enqueue_step


def _ask_whether_to_continue(trial: Trial) -> None:
    executor, advice = trial.executor, "Leave the method out, or answer one of them."
    answer = trial.ask("continues", lambda: executor.continues(probe_run(), "probe"))
    if not isinstance(answer, bool):
        trial.problem("continues", repr(answer), "True or False", advice)
        return
    answer = trial.ask("takes_over", lambda: executor.takes_over(probe_run(), "probe"))
    if not isinstance(answer, bool):
        trial.problem("takes_over", repr(answer), "True or False", advice)


def _ask_within(trial: Trial, *, kept: bool) -> None:
    """Hand over inside a transaction that also writes a row of ours, and look whether both share their fate."""
    call, marker, payload = "enqueue_in", f"{PROBE}-{new_id()}", Payload.step(probe_run(), "probe")
    executor: Any = trial.executor

    def hand_over() -> Metadata | None:
        answer = None
        try:
            with trial.runtime.database.write() as connection:
                connection.execute(sa.insert(queues).values(queue=marker))
                answer = executor.enqueue_in(connection, payload, schedule_in=None)
                if not kept:
                    raise _UndoneError
        except _UndoneError:
            pass
        return answer

    sent = len(trial.sent)
    trial.takes(call, payload, hand_over)
    advice = "Only use the connection; the run's transaction is not yours to end."
    if _stays(trial, marker) and not kept:
        trial.problem(call, "the run's transaction committed", "it left open", advice)
    if not kept:
        lost = trial.sent[sent:]
        del trial.sent[sent:]
        rolled_back = [Sent(call=call, key=each.key, payload=each.payload, wanted=False) for each in lost]
        trial.sent.extend(rolled_back)


def _stays(trial: Trial, marker: str) -> bool:
    with trial.runtime.database.write() as connection:
        return connection.execute(sa.delete(queues).where(queues.c.queue == marker)).rowcount == 1


def _ask_from_threads(trial: Trial) -> None:
    together = threading.Barrier(THREADS)

    def ask() -> None:
        run = probe_run()
        together.wait(10)
        trial.takes(
            "enqueue_step from several threads",
            Payload.step(run, "probe"),
            lambda: trial.executor.enqueue_step(run, "probe", schedule_in=None),
        )

    threads = [threading.Thread(target=ask) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _leave_no_rows(trial: Trial) -> None:
    """The database executor keeps activations as rows."""
    probes = dispatches.c.payload["workflow"].as_string() == PROBE
    with trial.runtime.database.write() as connection:
        connection.execute(sa.delete(dispatches).where(dispatches.c.kind == "cron", probes))


Deliver = Callable[[], Iterable[Mapping[str, str]] | None]

PAUSE: Final = 0.02
TOLERANCE: Final = 1.0


@dataclass(frozen=True, slots=True)
class Arrival:
    """What a job brought, and when."""

    payload: object
    at: float = field(default_factory=time.monotonic)

    def is_of(self, sent: Sent) -> bool:
        """Whether it is this probe, however changed."""
        text = str(self.payload)
        own = sent.payload.get("run_id") or sent.payload["signal_id"]
        return own in text and sent.payload.get("step", "") in text


def let_travel(trial: Trial, deliver: Deliver, timeout: float) -> None:
    """Have the queue deliver all probes, and write down which came late, early, changed or not at all."""
    arrivals: list[Arrival] = []
    with _seen(trial, arrivals):
        _deliver(trial, deliver, arrivals, timeout)
    for sent in trial.sent:
        came = [arrival for arrival in arrivals if arrival.is_of(sent)]
        if sent.wanted:
            _judge(trial, sent, came, timeout)
        elif came:
            advice = "Queue with the connection that you are given, so that the job shares the run's fate."
            trial.problem(sent.call, "a job of a transaction that was rolled back", "none", advice)


def _deliver(trial: Trial, deliver: Deliver, arrivals: list[Arrival], timeout: float) -> None:
    until = time.monotonic() + timeout
    while time.monotonic() < until:
        try:
            arrivals.extend(map(Arrival, deliver() or ()))
        except Exception as error:
            found = f"{type(error).__name__}: {error}"
            trial.problem("deliver", found, "one pass of your worker", "Correct it, or the job that it runs.")
            return
        if all(any(arrival.is_of(sent) for arrival in arrivals) for sent in trial.sent if sent.wanted):
            return
        time.sleep(PAUSE)


def _judge(trial: Trial, sent: Sent, came: list[Arrival], timeout: float) -> None:
    if not came:
        found = f"a job that did not come within {timeout:g} seconds"
        trial.problem(sent.call, found, "every job to be delivered", "See whether the worker looks into this queue.")
        return
    if any(arrival.payload != sent.payload for arrival in came):
        advice = "Queue dict(payload), as JSON or the like, and pass it to mesh.perform as it comes."
        trial.problem(sent.call, f"the payload {came[0].payload!r}", f"{dict(sent.payload)!r}", advice)
    early = (sent.delay or 0.0) - (came[0].at - sent.at)
    if early > TOLERANCE:
        found = f"a job that came {early:.1f} seconds before its time"
        trial.problem(sent.call, found, f"a delay of {sent.delay:g} seconds", "Pass schedule_in on to your queue.")


@contextmanager
def _seen(trial: Trial, arrivals: list[Arrival]) -> Iterator[None]:
    """While the block lasts, note what jobs in this process pass to `perform`; probes are not performed."""
    runtime: Any = trial.runtime
    performing = runtime.perform

    def perform(payload: object) -> Delivery:
        arrived = Arrival(payload)
        if any(arrived.is_of(sent) for sent in trial.sent) or PROBE in str(payload):
            arrivals.append(arrived)
            return Delivery(outcome="unknown_run")
        answer: Delivery = performing(payload)
        return answer

    runtime.perform = perform
    try:
        yield
    finally:
        del runtime.perform


def check_executor(executor: object = None, *, deliver: Deliver | None = None, timeout: float = 30.0) -> None:
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


def _resolved(setting: object) -> Executor:
    try:
        return resolve(setting)
    except ConfigurationError as error:
        raise AssertionError(str(error)) from error


def _told(trial: Trial) -> str:
    owner = type(getattr(trial.executor, "_host", trial.executor))
    name = f"{owner.__module__}.{owner.__qualname__}"
    lines = [f"- {problem}" for problem in trial.problems]
    return "\n".join([f"The executor {name} does not keep to the contract:", *lines])


__all__ = ["check_executor"]
