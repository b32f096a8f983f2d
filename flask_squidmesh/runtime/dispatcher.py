"""Handing work over to the executor: inside the transaction where it can, else after the commit.

A hand-over that fails is written down and made again by the relay; it never fails a run.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import nullcontext, suppress
from datetime import datetime, timedelta
from itertools import groupby, zip_longest
from typing import NamedTuple

import sqlalchemy as sa

from ..clock import Clock
from ..engine.changes import Changes
from ..engine.facts import RunFact, StepFact
from ..executor import Executor, Metadata, Notification, Payload, Wake
from ..storage.database import Database
from ..storage.queues import HANDED_OVER
from ..storage.summaries import SUMMARY_COLUMNS, RunSummary, summary_of
from ..storage.tables import dispatches, runs, step_runs
from .backoff import doubled
from .outcomes import let_ctrl_c_through, log_error, safely, storable, told, type_name
from .signal_publisher import SignalledRun, SignalPublisher, signalled
from .waking import WakeSignal

FIRST_RETRY = timedelta(seconds=10)
LONGEST_RETRY = timedelta(hours=1)

logger = logging.getLogger("flask_squidmesh")


class Intent(NamedTuple):
    """Work to hand over, and when it is due; None means at once.

    queue: the run's; it may be left out of what is handed over after the commit, when the run is read again.
    """

    run_id: str
    kind: str
    step: str
    due_at: datetime | None
    queue: str | None = None

    def payload(self, own_queue: str) -> Payload:
        """What the executor is given. own_queue: the app's, which need not be said."""
        named = {"step": self.step} if self.kind == "step" else {}
        elsewhere = {"queue": self.queue} if self.queue not in (None, own_queue) else {}
        return Payload(kind=self.kind, run_id=self.run_id, **named, **elsewhere)


def intents(run: RunFact, changes: Changes, known: Sequence[StepFact] = ()) -> list[Intent]:
    """What these changes call for. known: the step runs whose work may be due once more, or later."""
    wanted = [(row.kind, row.step, row.due_at) for row in changes.entered if row.delivered and not row.claimed]
    wanted += [(row.kind, row.step, row.due_at) for row in changes.dispatched]
    if known:
        put_off: dict[str, datetime | None] = {**changes.released, **dict.fromkeys(changes.left)}
        wanted += [(row.kind, row.step, put_off[row.id]) for row in known if row.id in put_off]
    return [Intent(run_id=run.id, kind=kind, step=step, due_at=due, queue=run.queue) for kind, step, due in wanted]


class HandOver(NamedTuple):
    """What the executor took with the transaction, with its metadata, and what is left for after the commit.

    notice: what is to be sent with the commit.
    """

    taken: Sequence[tuple[Intent, Metadata]] = ()
    left: Sequence[Intent] = ()
    notice: Notification | None = None


class Dispatcher:
    """Hands work over to the executor.

    executor: answers the host's, made once.
    queue: the app's own. wake_signal: wakes the workers of this process.
    """

    def __init__(
        self,
        *,
        executor: Callable[[], Executor],
        queue: str,
        database: Database,
        clock: Clock,
        publisher: SignalPublisher,
        wake_signal: WakeSignal,
    ) -> None:
        self._executor, self._queue = executor, queue
        self._database, self._clock = database, clock
        self._publisher, self._wake_signal = publisher, wake_signal

    def announce_work(self, wanted: Sequence[Intent]) -> HandOver:
        """Hand over by a notice alone where the executor's workers look for due work themselves."""
        wake: Callable[..., Wake] | None = getattr(self._executor(), "wake", None) if wanted else None
        if wake is None:
            return HandOver(left=wanted)
        try:
            woken = [
                (intent, wake(intent.payload(self._queue), schedule_in=self._seconds(intent))) for intent in wanted
            ]
        except BaseException as error:  # the host's code; what is decided is recorded all the same
            let_ctrl_c_through(error)
            log_error(logger, error, "squidmesh: the executor could not wake its workers")
            return HandOver(left=wanted)
        notice = next((each.notice for _, each in woken if each.notice), None)
        return HandOver(taken=[(intent, each.metadata) for intent, each in woken], notice=notice)

    def enqueues_within(self) -> bool:
        """Whether the executor hands over inside the transaction."""
        return hasattr(self._executor(), "enqueue_in")

    def hand_over_within(self, connection: sa.Connection, wanted: Sequence[Intent]) -> HandOver:
        """Hand over inside the transaction where the executor can."""
        if not self.enqueues_within():
            return HandOver(left=wanted)
        enqueue_in: Callable[..., Metadata] = self._executor().enqueue_in  # type: ignore[attr-defined]
        taken, left = [], []
        for intent in wanted:
            try:
                with connection.begin_nested() if connection.dialect.name == "postgresql" else nullcontext():
                    metadata = enqueue_in(connection, intent.payload(self._queue), schedule_in=self._seconds(intent))
                taken.append((intent, metadata))
            except BaseException as error:  # the host's code; its failure must not fail the run
                let_ctrl_c_through(error)
                if connection.invalidated:
                    raise
                logger.warning("squidmesh: the executor could not hand over in the transaction (%s)", type_name(error))
                left.append(intent)
        return HandOver(taken=taken, left=left)

    def continues(self, run: RunFact, step: str) -> bool:
        """Whether a delivery may go on with this step in place."""
        try:
            return bool(self._executor().continues(run, step))
        except BaseException as error:  # the host's code; the step that was done is recorded all the same
            let_ctrl_c_through(error)
            message = "squidmesh: run %s: the executor could not say whether to go on with step %s"
            log_error(logger, error, message, run.id, step)
            return False

    def finish(self, run: SignalledRun, handed: HandOver) -> None:
        """After the commit: tell what was taken, and hand over what is left."""
        if handed.taken or handed.left:
            self._wake_signal.set()
        for intent, metadata in handed.taken:
            self._tell(run, intent.step, metadata, self._seconds(intent))
        if handed.left:
            self.hand_over(handed.left)

    def hand_over(self, wanted: Sequence[Intent], *, repeated: bool = False) -> None:
        """Hand over what was committed, one call for the steps of a run that are due together.

        repeated: whether the relay has counted this hand-over already.
        """
        by_run = sorted(wanted, key=lambda intent: intent.run_id)
        for run_id, of_run in groupby(by_run, key=lambda intent: intent.run_id):
            group = list(of_run)
            try:
                self._enqueue(self._summary(run_id), group)
            except BaseException as error:  # the host's code; the relay hands over again
                let_ctrl_c_through(error)
                logger.warning("squidmesh: work for run %s could not be handed over (%s)", run_id, type_name(error))
                with suppress(sa.exc.SQLAlchemyError):  # the relay looks at the row in its time all the same
                    self._note_failure(run_id, {intent.step for intent in group}, told(error), counted=repeated)

    def _enqueue(self, run: RunSummary | None, group: Iterable[Intent]) -> None:
        if run is None:
            return
        of_run = signalled(run)
        by_time: dict[tuple[str, float | None], list[str]] = {}
        for intent in group:
            by_time.setdefault((intent.kind, self._seconds(intent)), []).append(intent.step)
        longest = self._executor().longest_delay
        for (kind, seconds), steps in by_time.items():
            if seconds is not None and longest is not None and seconds > longest:
                self._leave_to_relay(run.id, steps)
                continue
            answers = self._given(run, kind, steps, seconds)
            for step, metadata in zip_longest(steps, safely(lambda answers=answers: list(answers), [])[: len(steps)]):  # type: ignore[misc]
                self._tell(of_run, step, metadata, seconds)

    def _given(self, run: RunSummary, kind: str, steps: Sequence[str], seconds: float | None) -> Sequence[Metadata]:
        """Give the executor what is due together, and answer its metadata for each."""
        executor = self._executor()
        if kind == "compensation":
            return [executor.enqueue_compensation(run, schedule_in=seconds)]
        if len(steps) == 1:
            return [executor.enqueue_step(run, steps[0], schedule_in=seconds)]
        return executor.enqueue_steps(run, steps, schedule_in=seconds)

    def _tell(self, run: SignalledRun, step: str, metadata: object, seconds: float | None) -> None:
        if not self._publisher.is_heard("run_dispatched"):
            return
        nothing: dict[str, object] = {}
        said = safely(lambda: _as_facts(metadata), nothing)
        self._publisher.send("run_dispatched", run, {"schedule_in": seconds, **said, "step": step})

    def _seconds(self, intent: Intent) -> float | None:
        if intent.due_at is None:
            return None
        seconds = (intent.due_at - self._clock.now()).total_seconds()
        return seconds if seconds > 0 else None

    def _summary(self, run_id: str) -> RunSummary | None:
        """The run as executors see it."""
        with self._database.read() as connection:
            row = connection.execute(sa.select(*SUMMARY_COLUMNS).where(runs.c.id == run_id)).mappings().first()
        return summary_of(row) if row else None

    def _leave_to_relay(self, run_id: str, steps: Collection[str]) -> None:
        """Have it handed over when its time has come: being looked at then tells that it is in no queue."""
        with self._database.write() as connection:
            connection.execute(
                sa.update(dispatches).where(_unclaimed(run_id, steps)).values(relay_at=dispatches.c.due_at)
            )

    def _note_failure(self, run_id: str, steps: Collection[str], error: str, *, counted: bool) -> None:
        """Write the failure down, and have the relay try again after a growing while."""
        mine = _unclaimed(run_id, steps)
        with self._database.write() as connection:
            tries: int = connection.scalar(sa.select(sa.func.max(dispatches.c.hand_overs)).where(mine)) or 0
            before = max(tries - 1, 0) if counted else tries
            after = doubled(FIRST_RETRY, before, longest=LONGEST_RETRY)
            connection.execute(
                sa.update(dispatches)
                .where(mine)
                .values(
                    hand_over_error=storable(error),
                    hand_overs=dispatches.c.hand_overs + (0 if counted else 1),
                    relay_at=self._clock.now() + after,
                )
            )


def _as_facts(metadata: object) -> dict[str, object]:
    """The executor's metadata as keywords."""
    if metadata is None:
        return {}
    if not isinstance(metadata, Mapping):
        return {"result": metadata}
    return {str.__str__(str(name)): value for name, value in metadata.items()}


def _unclaimed(run_id: str, steps: Collection[str]) -> sa.ColumnElement[bool]:
    concerned = sa.select(step_runs.c.id).where(step_runs.c.run_id == run_id, step_runs.c.step.in_(steps))
    return sa.and_(HANDED_OVER, dispatches.c.step_run_id.in_(concerned), dispatches.c.claim_id.is_(None))
