"""Deleting runs that ended long ago, when somebody asks for it or as SQUIDMESH_RETENTION says."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

import sqlalchemy as sa

from ...clock import Clock
from ...config import Config
from ...definition.values import JsonValue
from ...definition.workflow import Registry, Workflow
from ...engine.transitions import TERMINAL
from ...errors import FilterError, UnknownWorkflowError, given
from ...storage import events, fact_rows, outbox_entries, retained_rows
from ...storage.database import Database
from ...storage.retained_rows import BEGINNING, DeletableRun, PruneWindow
from ...storage.summaries import document_of
from ...subscriptions import Subscriptions
from ..command_arguments import actor_of

BATCH: Final = 500
MOST_A_BATCH: Final = 10_000
LONGEST_AGO: Final = timedelta(days=365_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneGroup:
    """Runs of one workflow and status that went, or that stay for one reason. oldest, newest: when they ended.

    kept: None for those that went; else why they stay: undoing, executing, needs, parent, child, replay, untold or
    busy.
    """

    workflow: str
    status: str
    kept: str | None
    runs: int
    oldest: datetime
    newest: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneReport:
    """What pruning did, or would do."""

    dry_run: bool
    groups: tuple[PruneGroup, ...]

    @property
    def pruned(self) -> int:
        """How many runs went, or would go."""
        return sum(group.runs for group in self.groups if group.kept is None)

    @property
    def kept(self) -> int:
        """How many runs are old enough and stay."""
        return sum(group.runs for group in self.groups if group.kept is not None)

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON data."""
        return {**document_of(self), "pruned": self.pruned, "kept": self.kept}


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneBatch:
    """The next runs of a stretch, and why some of them stay."""

    found: Sequence[DeletableRun]
    kept: dict[str, str]

    @property
    def gone(self) -> list[DeletableRun]:
        """Those that went, or would go."""
        return [run for run in self.found if run.id not in self.kept]


class Pruner:
    """Deletes runs that ended long ago, with all that belongs to them."""

    def __init__(
        self,
        *,
        database: Database,
        clock: Clock,
        registry: Registry,
        settings: Config,
        subscriptions: Subscriptions,
    ) -> None:
        self._database, self._clock, self._registry, self._settings = database, clock, registry, settings
        self._subscriptions = subscriptions

    def prune(
        self,
        *,
        older_than: timedelta,
        status: str | Iterable[str] = "completed",
        workflow: type[Workflow] | str | None = None,
        including_unacknowledged: bool = False,
        dry_run: bool = False,
        batch: int = BATCH,
        actor: object = None,
        progress: Callable[[int], object] = lambda _: None,
    ) -> PruneReport:
        """Delete runs that ended so long ago; see `SquidMesh.prune`. progress: told how many runs each batch
        deleted.
        """
        who, statuses = actor_of(actor, self._settings.max_payload_bytes), _statuses(status)
        _check(older_than, batch)
        before = self._clock.now() - older_than
        groups: dict[tuple[PruneWindow, str | None], PruneGroup] = {}
        for stretch in self.stretches(self._names_of(workflow), statuses):
            for done in self.batches(
                stretch,
                lambda: before,
                size=batch,
                unacknowledged=including_unacknowledged,
                dry_run=dry_run,
            ):
                _count(groups, stretch, done)
                progress(len(done.gone))
        report = PruneReport(dry_run=dry_run, groups=tuple(groups.values()))
        if report.pruned and not dry_run:
            self._audit(report, before, who)
        self.forget_keys()
        self.forget_notices()
        return report

    def batches(
        self,
        stretch: PruneWindow,
        before: Callable[[], datetime],
        *,
        size: int,
        unacknowledged: bool = False,
        dry_run: bool = False,
    ) -> Iterator[PruneBatch]:
        """Delete the stretch's runs that ended before this time, each batch in a transaction of its own."""
        place, transaction = BEGINNING, self._database.read if dry_run else self._database.write
        while True:
            with transaction() as connection:
                found = retained_rows.ended(
                    connection, stretch, before=before(), after=place, limit=size, lock=not dry_run
                )
                kept = retained_rows.kept(connection, found, unacknowledged=unacknowledged, lock=not dry_run)
                batch = PruneBatch(found=found, kept=kept)
                if batch.gone and not dry_run:
                    retained_rows.delete(connection, batch.gone, self._clock.now())
            if found:
                yield batch
            if len(found) < size:
                return
            place = (found[-1].finished_at, found[-1].id)

    def stored_names(self) -> list[str]:
        """The workflows that have ended runs."""
        with self._database.read() as connection:
            return list(retained_rows.workflows(connection))

    def stretches(self, names: Iterable[str] | None, statuses: Iterable[str]) -> list[PruneWindow]:
        """The ended runs of these workflows, or of all, in these statuses."""
        chosen = self.stored_names() if names is None else list(names)
        return [PruneWindow(workflow=name, status=status) for name in chosen for status in statuses]

    def forget_keys(self) -> int:
        """Delete the start keys of runs that were pruned longer ago than SQUIDMESH_KEY_RETENTION, and return
        how many.
        """
        before = self._clock.now() - timedelta(seconds=self._settings.key_retention)
        return self._in_batches(partial(retained_rows.forget_keys, before=before, limit=BATCH))

    def forget_events(self) -> int:
        """Delete events that were sent longer ago than SQUIDMESH_EVENT_RETENTION, and return how many."""
        before = self._clock.now() - timedelta(seconds=self._settings.event_retention)
        tells = bool(self._subscriptions.to("event.unmatched", None))

        def forget(connection: sa.Connection) -> int:
            tell = partial(self._tell_of_untaken, connection) if tells else None
            return events.forget(connection, before=before, limit=BATCH, told=tell)

        return self._in_batches(forget)

    def _tell_of_untaken(self, connection: sa.Connection, ids: Sequence[str]) -> None:
        """Have it told of events that are forgotten and that nobody has taken."""
        for event in events.untaken(connection, ids):
            outbox_entries.add_beside_runs(
                connection,
                self._subscriptions,
                "event.unmatched",
                subject=event.id,
                number=0,
                now=self._clock.now(),
                data={
                    "event": event.name,
                    "key": event.key,
                    "event_id": event.event_id,
                    "sent_at": event.sent_at.isoformat(),
                },
                tenant=event.tenant,
            )

    def forget_notices(self) -> int:
        """Delete what was told longer ago than SQUIDMESH_NOTICE_RETENTION, and return how much that was. What nobody
        knows how to tell is given up."""
        with self._database.write() as connection:
            outbox_entries.give_up_unknown(connection, self._clock.now())
        before = self._clock.now() - timedelta(seconds=self._settings.notice_retention)
        return self._in_batches(partial(outbox_entries.forget, before=before, limit=BATCH))

    def _in_batches(self, forget: Callable[[sa.Connection], int]) -> int:
        """Forget a batch a commit until one is not full, and return how many rows that were."""
        total = 0
        while True:
            with self._database.write() as connection:
                forgotten = forget(connection)
            total += forgotten
            if forgotten < BATCH:
                return total

    def _names_of(self, workflow: type[Workflow] | str | None) -> list[str] | None:
        """The names that the workflow's runs may have; None for those of all. Raises UnknownWorkflowError.

        A workflow that is registered no more is known by the runs it has left.
        """
        if workflow is None:
            return None
        try:
            spec = self._registry.get(workflow)
        except UnknownWorkflowError:
            if isinstance(workflow, str) and workflow in self.stored_names():
                return [workflow]
            raise
        return [*spec.names]

    def _audit(self, report: PruneReport, before: datetime, who: JsonValue) -> None:
        went = [group for group in report.groups if group.kept is None]
        data = {
            "runs": report.pruned,
            "ended_before": before.isoformat(),
            "status": sorted({group.status for group in went}),
            "workflow": sorted({group.workflow for group in went}),
        }
        with self._database.write() as connection:
            fact_rows.note(connection, "pruned", actor=who, at=self._clock.now(), tenant=None, data=data)


def _check(older_than: timedelta, batch: int) -> None:
    if not isinstance(older_than, timedelta) or not timedelta(0) <= older_than <= LONGEST_AGO:
        raise FilterError(
            "older_than", f"older_than is {given(older_than)}; pass how long ago, as a timedelta that is not negative."
        )
    if not isinstance(batch, int) or isinstance(batch, bool) or not 1 <= batch <= MOST_A_BATCH:
        raise FilterError("batch", f"batch is {given(batch)}; pass 1 to {MOST_A_BATCH:,} runs a transaction.")


def _statuses(status: str | Iterable[str]) -> list[str]:
    chosen = [status] if isinstance(status, str) or not isinstance(status, Iterable) else list(status)
    wrong = [each for each in chosen if not isinstance(each, str) or each not in TERMINAL]
    if wrong or not chosen:
        found = ", ".join(map(given, wrong)) or "none"
        raise FilterError("status", f"status is {found}; only runs that are {', '.join(sorted(TERMINAL))} can go.")
    return list(dict.fromkeys(chosen))


def _count(groups: dict[tuple[PruneWindow, str | None], PruneGroup], stretch: PruneWindow, done: PruneBatch) -> None:
    """Runs come oldest first."""
    for run in done.found:
        reason, ended = done.kept.get(run.id), run.finished_at
        group = groups.get((stretch, reason)) or PruneGroup(
            workflow=stretch.workflow, status=stretch.status, kept=reason, runs=0, oldest=ended, newest=ended
        )
        groups[stretch, reason] = replace(group, runs=group.runs + 1, newest=ended)


RUNS_AT_ONCE: Final = 100
SECONDS: Final = 1.0
REST: Final = timedelta(minutes=5)

logger = logging.getLogger("flask_squidmesh")


class Retention:
    """Deletes what has been kept long enough. periods: by status or workflow, as SQUIDMESH_RETENTION has them.

    Two processes that do so at once are harmless: each passes over the runs that the other holds.
    """

    def __init__(
        self, pruner: Pruner, clock: Clock, registry: Registry, periods: Mapping[str, timedelta | None]
    ) -> None:
        self._pruner, self._clock, self._registry, self._own = pruner, clock, registry, periods
        self._sweep: Iterator[int] | None = None
        self._rests_until: datetime | None = None

    def keep(self, pause: Callable[[float], object] = time.sleep) -> int:
        """Delete for a second at most, going on where the last time ended, and return how many runs went.

        pause: waits so many seconds; between two batches as long as a batch took, so that others get at the database.
        """
        now = self._clock.now()
        if self._sweep is None:
            if self._rests_until is not None and now < self._rests_until:
                return 0
            self._sweep = self._swept()
        began, total, until = time.monotonic(), 0, time.monotonic() + SECONDS
        for went in self._sweep:
            total += went
            if time.monotonic() >= until:
                return total
            pause(time.monotonic() - began)
            began = time.monotonic()
        self._sweep, self._rests_until = None, now + REST
        return total

    def _swept(self) -> Iterator[int]:
        """Delete everything once that is old enough; the number of runs after each batch."""
        total = 0
        for stretch, period in self._periods():
            for batch in self._pruner.batches(stretch, partial(self._before, period), size=RUNS_AT_ONCE):
                total += len(batch.gone)
                yield len(batch.gone)
        self._pruner.forget_keys()
        self._pruner.forget_notices()
        self._pruner.forget_events()
        if total:
            logger.info("squidmesh: %s runs were pruned, as SQUIDMESH_RETENTION says", total)

    def _before(self, period: timedelta) -> datetime:
        return self._clock.now() - period

    def _periods(self) -> Iterator[tuple[PruneWindow, timedelta]]:
        for name in self._pruner.stored_names() if self._own else ():
            own = own_key(self._own, self._registry, name)
            for status in sorted(TERMINAL):
                period = self._own.get(own or status)
                if period is not None:
                    yield PruneWindow(workflow=name, status=status), period


def own_key(retention: Mapping[str, timedelta | None], registry: Registry, workflow: str) -> str | None:
    """Under which name the workflow has a period of its own, if it has one."""
    try:
        spec = registry.get(workflow)
    except UnknownWorkflowError:
        return workflow if workflow in retention else None
    return next((name for name in (workflow, *spec.names) if name in retention), None)


def unknown_keys(retention: Mapping[str, timedelta | None], registry: Registry) -> list[str]:
    """What is neither a status in which runs end nor a registered workflow."""
    names = {name for spec in registry for name in spec.names}
    return sorted(retention.keys() - names - TERMINAL)
