"""Asking an executor everything that runs ask of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import sqlalchemy as sa

from ...executors.contract import Payload
from ...executors.resolving import ForeignExecutor
from ...store.identity import new_id
from ...store.tables import dispatches, queues
from .trial import PROBE, Sent, Trial, key_of, probe_run

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
        self._answers: list[Any] = []

    def __enter__(self) -> None:
        asked: Callable[..., Any] = self._executor.enqueue_step

        def enqueue_step(run: Any, step: str, **options: Any) -> Any:
            answer = asked(run, step, **options)
            self._answers.append(answer)
            self.steps[id(answer)] = step
            return answer

        self._executor.enqueue_step = enqueue_step

    def __exit__(self, *_: object) -> None:
        del self._executor.enqueue_step


def _ask_whether_to_continue(trial: Trial) -> None:
    answer = trial.ask("continues", lambda: trial.executor.continues(probe_run(), "probe"))
    if not isinstance(answer, bool):
        trial.problem("continues", repr(answer), "True or False", "Leave the method out, or answer one of them.")


def _ask_within(trial: Trial, *, kept: bool) -> None:
    """Hand over inside a transaction that also writes a row of ours, and look whether both share their fate."""
    call, marker, payload = "enqueue_in", f"{PROBE}-{new_id()}", Payload.step(probe_run(), "probe")
    executor: Any = trial.executor

    def hand_over() -> Mapping[str, Any] | None:
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
