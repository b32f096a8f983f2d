"""Deleting runs that ended long ago, when somebody asks for it or as SQUIDMESH_RETENTION says."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from ...definition.workflow import Registry
from ...engine.transitions import TERMINAL
from ...errors import FilterError, UnknownWorkflowError, given
from ...storage import fact_rows, retained_rows
from ...storage.retained_rows import BEGINNING, DeletableRun, PruneWindow
from ...storage.summaries import plain
from ..command_arguments import actor_of

if TYPE_CHECKING:
    from ..runtime import Runtime

BATCH: Final = 500
MOST_A_BATCH: Final = 10_000
LONGEST_AGO: Final = timedelta(days=365_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneGroup:
    """Runs of one workflow and status that went, or that stay for one reason. oldest, newest: when they ended.

    kept: None for those that went; else why they stay: undoing, executing, needs, parent, child, replay or busy.
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
        return {**plain(asdict(self)), "pruned": self.pruned, "kept": self.kept}


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneBatch:
    """The next runs of a stretch, and why some of them stay."""

    found: Sequence[DeletableRun]
    kept: dict[str, str]

    @property
    def gone(self) -> list[DeletableRun]:
        """Those that went, or would go."""
        return [run for run in self.found if run.id not in self.kept]


def prune(
    runtime: Runtime,
    *,
    older_than: timedelta,
    status: str | Iterable[str] = "completed",
    workflow: Any = None,
    including_unacknowledged: bool = False,
    dry_run: bool = False,
    batch: int = BATCH,
    actor: Any = None,
    progress: Callable[[int], object] = lambda _: None,
) -> PruneReport:
    """Delete runs that ended so long ago; see `SquidMesh.prune`. progress: told how many runs each batch deleted."""
    runtime.ensure_configured()
    who, statuses = actor_of(actor, runtime.settings.max_payload_bytes), _statuses(status)
    _check(older_than, batch)
    before = runtime.clock.now() - older_than
    groups: dict[tuple[PruneWindow, str | None], PruneGroup] = {}
    for stretch in stretches(runtime, names_of(runtime, workflow), statuses):
        for done in batches(
            runtime,
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
        _audit(runtime, report, before, who)
    forget_keys(runtime)
    return report


def batches(
    runtime: Runtime,
    stretch: PruneWindow,
    before: Callable[[], datetime],
    *,
    size: int,
    unacknowledged: bool = False,
    dry_run: bool = False,
) -> Iterator[PruneBatch]:
    """Delete the stretch's runs that ended before this time, each batch in a transaction of its own."""
    place, transaction = BEGINNING, runtime.database.read if dry_run else runtime.database.write
    while True:
        with transaction() as connection:
            found = retained_rows.ended(connection, stretch, before=before(), after=place, limit=size, lock=not dry_run)
            kept = retained_rows.kept(connection, found, unacknowledged=unacknowledged, lock=not dry_run)
            batch = PruneBatch(found=found, kept=kept)
            if batch.gone and not dry_run:
                retained_rows.delete(connection, batch.gone, runtime.clock.now())
        if found:
            yield batch
        if len(found) < size:
            return
        place = (found[-1].finished_at, found[-1].id)


def names_of(runtime: Runtime, workflow: Any) -> list[str] | None:
    """The names that the workflow's runs may have; None for those of all. Raises UnknownWorkflowError.

    A workflow that is registered no more is known by the runs it has left.
    """
    if workflow is None:
        return None
    try:
        spec = runtime.registry.get(workflow)
    except UnknownWorkflowError:
        if workflow in stored_names(runtime):
            return [workflow]
        raise
    return [spec.name, *spec.aliases]


def stored_names(runtime: Runtime) -> list[str]:
    """The workflows that have ended runs."""
    with runtime.database.read() as connection:
        return list(retained_rows.workflows(connection))


def stretches(runtime: Runtime, names: Iterable[str] | None, statuses: Iterable[str]) -> list[PruneWindow]:
    """The ended runs of these workflows, or of all, in these statuses."""
    chosen = stored_names(runtime) if names is None else list(names)
    return [PruneWindow(workflow=name, status=status) for name in chosen for status in statuses]


def forget_keys(runtime: Runtime) -> int:
    """Delete the start keys of runs that were pruned longer ago than SQUIDMESH_KEY_RETENTION, and return how many."""
    before = runtime.clock.now() - timedelta(seconds=runtime.settings.key_retention)
    total = 0
    while True:
        with runtime.database.write() as connection:
            forgotten = retained_rows.forget_keys(connection, before=before, limit=BATCH)
        total += forgotten
        if forgotten < BATCH:
            return total


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


def _audit(runtime: Runtime, report: PruneReport, before: datetime, who: Any) -> None:
    went = [group for group in report.groups if group.kept is None]
    data = {
        "runs": report.pruned,
        "ended_before": before.isoformat(),
        "status": sorted({group.status for group in went}),
        "workflow": sorted({group.workflow for group in went}),
    }
    with runtime.database.write() as connection:
        fact_rows.note(connection, "pruned", actor=who, at=runtime.clock.now(), tenant=None, data=data)


RUNS_AT_ONCE: Final = 100
SECONDS: Final = 1.0
REST: Final = timedelta(minutes=5)

logger = logging.getLogger("flask_squidmesh")


class Retention:
    """Deletes what has been kept long enough.

    Two processes that do so at once are harmless: each passes over the runs that the other holds.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._sweep: Iterator[int] | None = None
        self._rests_until: datetime | None = None

    def keep(self, pause: Callable[[float], object] = time.sleep) -> int:
        """Delete for a second at most, going on where the last time ended, and return how many runs went.

        pause: waits so many seconds; between two batches as long as a batch took, so that others get at the database.
        """
        now = self._runtime.clock.now()
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
        runtime, total = self._runtime, 0
        for stretch, period in self._periods():
            for batch in batches(runtime, stretch, partial(self._before, period), size=RUNS_AT_ONCE):
                total += len(batch.gone)
                yield len(batch.gone)
        forget_keys(runtime)
        if total:
            logger.info("squidmesh: %s runs were pruned, as SQUIDMESH_RETENTION says", total)

    def _before(self, period: timedelta) -> datetime:
        return self._runtime.clock.now() - period

    def _periods(self) -> Iterator[tuple[PruneWindow, timedelta]]:
        runtime, retention = self._runtime, self._runtime.settings.retention or {}
        for name in stored_names(runtime) if retention else ():
            own = own_key(retention, runtime.registry, name)
            for status in sorted(TERMINAL):
                period = retention.get(own or status)
                if period is not None:
                    yield PruneWindow(workflow=name, status=status), period


def own_key(retention: Mapping[str, timedelta | None], registry: Registry, workflow: str) -> str | None:
    """Under which name the workflow has a period of its own, if it has one."""
    try:
        spec = registry.get(workflow)
    except UnknownWorkflowError:
        return workflow if workflow in retention else None
    return next((name for name in (workflow, spec.name, *spec.aliases) if name in retention), None)


def unknown_keys(retention: Mapping[str, timedelta | None], registry: Registry) -> list[str]:
    """What is neither a status in which runs end nor a registered workflow."""
    names = {name for spec in registry for name in (spec.name, *spec.aliases)}
    return sorted(retention.keys() - names - TERMINAL)
