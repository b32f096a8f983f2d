"""The only door to the store: what the pages read, through `reading`, and the refusals they leave behind.

Every query is within the scope of the person at the page, and what tells of a run is left out where the host does not
let that person view it. Counts go by the scope alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from ..engine.status import UNFINISHED
from ..errors import UnknownWorkflowError
from ..reading import failing, judging, listing, looking, rates
from ..reading.audit import events
from ..reading.failing import Failures, failures
from ..reading.filters import Filters as Selection
from ..reading.fleet import Fleet, fleet
from ..reading.inbox import glance, inbox, inbox_counts
from ..reading.judging import Judged
from ..reading.listing import Standing
from ..reading.looking import Look
from ..reading.rates import EndedRun, Version
from ..reading.views import AuditEventView, AuditPage, Count, Inbox
from ..reading.words import stuck_among, word_of
from ..runtime import bulk
from ..runtime.checking import WORKER_SILENCE
from ..runtime.runtime import current_runtime
from ..runtime.scheduling import ScheduleView, schedules
from ..store import auditing
from ..store.summaries import RunSummary
from ..workflow.spec import WorkflowSpec
from ..workflow.tenants import NO_TENANT
from . import relatives
from .access import current_scope, current_tenant, may
from .request_memory import memory

Marks = list[tuple[Any, ...]]
_LIMITS = sa.text(
    "SELECT set_config('statement_timeout', :limit, true), set_config('jit', 'off', true), "
    "set_config('max_parallel_workers_per_gather', '0', true)"
)


@dataclass(frozen=True, slots=True)
class WordedRun:
    """A run and the word that operators have for its state."""

    run: RunSummary
    word: str


@dataclass(frozen=True, slots=True)
class WordedPage:
    """One page of a list. `next` is the cursor for the following page, None on the last."""

    runs: tuple[WordedRun, ...]
    next: str | None


def needs_count() -> int:
    """How many runs need a person."""
    with _connected() as connection:
        counts = inbox_counts(connection, current_scope(), now=current_runtime().clock.now())
    return sum(count.value for count in counts.values())


def inbox_of(kinds: Collection[str], most: int) -> Inbox:
    """What needs a person, of these kinds."""
    runtime = current_runtime()
    with _connected() as connection:
        now, scope = runtime.clock.now(), current_scope()
        return _seen(inbox(connection, runtime.registry, scope, now=now, kinds=kinds, limit=most))


def inbox_glance(kinds: Collection[str], most: int) -> Inbox:
    """The same but for what the runs ask."""
    with _connected() as connection:
        now = current_runtime().clock.now()
        return _seen(glance(connection, current_scope(), now=now, kinds=kinds, limit=most))


def _seen(inbox: Inbox) -> Inbox:
    return replace(inbox, items=tuple(item for item in inbox.items if may("view", item.run)))


def unfinished_count() -> int:
    """How many runs have not ended."""
    with _connected() as connection:
        counted = listing.counts(connection, current_scope(), status=sorted(UNFINISHED))
    return sum(count.value for count in counted.values())


def last_decision() -> AuditEventView | None:
    """The latest approval, if there was one."""
    with _connected() as connection:
        page = events(connection, current_scope(), type="approved", limit=1)
        return next(iter(_told(connection, page).events), None)


def runs_page(selection: Selection, *, size: int, after: str | None) -> WordedPage:
    """One page of runs, newest first. Raises FilterError."""
    with _connected() as connection:
        page = listing.list_runs(connection, current_scope(), limit=size, after=after, **selection)
        return WordedPage(_worded(connection, [run for run in page.runs if may("view", run)]), page.next)


def exported_page(selection: Selection, *, size: int, after: str | None) -> WordedPage:
    """The same without ties to runs that the person may not view. Raises FilterError."""
    with at_once(), _connected() as connection:
        page = runs_page(selection, size=size, after=after)
        runs = relatives.untied(connection, [each.run for each in page.runs])
        return replace(page, runs=tuple(WordedRun(run, each.word) for each, run in zip(page.runs, runs, strict=True)))


def runs_standing(selection: Selection, *, size: int, after: str | None) -> Standing:
    """What a page of runs shows, in short, and how many runs each word has. Raises FilterError."""
    limit = current_runtime().config.dashboard.count_limit
    timed: Selection = {**selection, "now": current_runtime().clock.now()}
    with _connected() as connection:
        return listing.standing(connection, current_scope(), size=size, after=after, limit=limit, **timed)


def look(run_id: str, *, audit_before: int | None = None, whole_audit: bool = False) -> Look:
    """The run with its history and everything a page says of it. Raises RunNotFoundError.

    audit_before: the id of an event; those before it in place of the newest. whole_audit: all of them.
    """
    runtime = current_runtime()
    with _connected() as connection:
        found = looking.look(
            connection,
            runtime.registry,
            current_scope(),
            run_id,
            now=runtime.clock.now(),
            claim_timeout=runtime.config.claim_timeout,
            audit_before=audit_before,
            audit_events=None if whole_audit else looking.AUDIT_EVENTS,
        )
        return replace(found, run=relatives.seen(connection, found.run))


def glimpse(run_id: str) -> WordedRun:
    """The run in one line, with the word for its state. Raises RunNotFoundError."""
    with _connected() as connection:
        return WordedRun(*looking.glimpse(connection, current_scope(), run_id, now=current_runtime().clock.now()))


def judged(run_ids: Sequence[str]) -> list[Judged]:
    """What can be done with each of these runs."""
    with _connected() as connection:
        found = judging.judged(connection, current_runtime().registry, current_scope(), run_ids)
    return [each for each in found if may("view", each.run)]


def matching(selection: Selection, most: int) -> tuple[list[str], bool]:
    """The ids of the newest runs that match, and whether there are more. Raises FilterError."""
    with _connected() as connection:
        page = listing.list_runs(connection, current_scope(), limit=most, **selection)
    return [run.id for run in page.runs], page.next is not None


def bulk_job(job_id: str) -> bulk.Job | None:
    """An action on many runs."""
    with _connected() as connection:
        return bulk.look(connection, current_scope(), job_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fare:
    """How one workflow fares. day: what has ended within 24 hours, by status."""

    day: Mapping[str, Count]
    versions: list[Version]


def runs_of(names: Sequence[str]) -> dict[str, tuple[Mapping[str, Count], list[EndedRun]]]:
    """For each workflow how many runs each word has, and those that ended last."""
    runtime = current_runtime()
    now, limit = runtime.clock.now(), runtime.config.dashboard.count_limit
    with _connected() as connection:
        counts = rates.word_counts_of(connection, current_scope(), names, now=now, limit=limit)
        last = rates.last_runs(connection, current_scope(), names)
    return {name: (counts[name], last[name]) for name in names}


def fare_of(spec: WorkflowSpec) -> Fare:
    """How the workflow fares."""
    since = current_runtime().clock.now() - timedelta(days=1)
    with _connected() as connection:
        return Fare(
            day=rates.ended_since(connection, current_scope(), spec.name, since),
            versions=rates.versions(connection, current_scope(), spec.name, spec.fingerprint),
        )


def failures_now(workflow: str | None) -> Failures:
    """What fails, of one workflow or all, as far as the newest run that failed so may be viewed."""
    with _connected() as connection:
        found = failures(connection, current_scope(), now=current_runtime().clock.now(), workflow=workflow)
    return replace(found, groups=tuple(group for group in found.groups if may("view", group.example)))


def failures_marks(workflow: str | None) -> Marks:
    """What the failures page shows, in short."""
    with _connected() as connection:
        return failing.marks(connection, current_scope(), now=current_runtime().clock.now(), workflow=workflow)


def refused_among(run_ids: Iterable[str | None]) -> set[str]:
    """Those of the runs that there are and that the person may not view."""
    with _connected() as connection:
        return relatives.refused(connection, run_ids)


def schedules_now() -> list[ScheduleView]:
    """Every cron trigger of the registered workflows, with its last run as far as the person may view that."""
    found = schedules(current_runtime(), current_scope())
    refused = refused_among([each.last_run_id for each in found])
    return [replace(each, last_run_id=None) if each.last_run_id in refused else each for each in found]


def has_schedule(spec: WorkflowSpec, trigger: str) -> bool:
    """Whether there is such a cron trigger that the person may know of; those that are declared are of no tenant."""
    chosen = spec.triggers.get(trigger)
    return chosen is not None and chosen.kind == "cron" and current_scope().admits(NO_TENANT, spec.name)


def fleet_now() -> Fleet:
    """Queues and processes."""
    settings = current_runtime().settings
    silence = max(WORKER_SILENCE, timedelta(seconds=settings.claim_timeout))
    with _connected() as connection:
        return fleet(
            connection, current_scope(), now=current_runtime().clock.now(), silence=silence, queues=[settings.queue]
        )


def audit_page(*, after: str | None, size: int, **selection: str | None) -> AuditPage:
    """One page of audit events, newest first. Raises FilterError, RunNotFoundError."""
    with _connected() as connection:
        return _told(connection, events(connection, current_scope(), limit=size, after=after, **selection))


def _told(connection: sa.Connection, page: AuditPage) -> AuditPage:
    """The page without what concerns runs that the person may not view."""
    concerned = {event.run_id for event in page.events if event.run_id is not None}
    runs = listing.summaries(connection, current_scope(), sorted(concerned))
    seen = {None, *(id for id, run in runs.items() if may("view", run))}
    return replace(page, events=tuple(event for event in page.events if event.run_id in seen))


def specs() -> list[WorkflowSpec]:
    """The registered workflows that the person may know of, in order of registration."""
    return [spec for spec in current_runtime().registry if _admits(spec)]


def spec_named(name: str) -> WorkflowSpec | None:
    """The workflow of this name or alias; None where there is none that the person may know of."""
    try:
        spec = current_runtime().registry.get(name)
    except UnknownWorkflowError:
        return None
    return spec if _admits(spec) else None


def _admits(spec: WorkflowSpec) -> bool:
    workflows = current_scope().workflows
    return workflows is None or spec.name in workflows


def workflows() -> list[str]:
    """The names of the same, sorted."""
    return sorted(spec.name for spec in specs())


def record_refusal(run_id: str | None, action: str, actor: Any, reason: str) -> None:
    """Keep in the audit that somebody tried what they may not do; the same once more is counted."""
    with current_runtime().database.write() as connection:
        now = current_runtime().clock.now()
        auditing.note_again(
            connection,
            "refused",
            actor=actor,
            at=now,
            run_id=run_id,
            tenant=current_tenant(),
            what={"action": action},
            data={"reason": reason},
        )


def record_reveal(run_id: str, part: str, actor: Any, comment: str | None) -> None:
    """Keep in the audit that somebody is shown the hidden values of a part."""
    with current_runtime().database.write() as connection:
        now = current_runtime().clock.now()
        said = {"part": part}
        auditing.note(connection, "revealed", actor=actor, at=now, run_id=run_id, comment=comment, data=said)


def _worded(connection: sa.Connection, runs: list[RunSummary]) -> tuple[WordedRun, ...]:
    now = current_runtime().clock.now()
    stuck = stuck_among(connection, runs, now)
    return tuple(WordedRun(run, word_of(run, now, stuck=run.id in stuck)) for run in runs)


@contextmanager
def at_once() -> Iterator[None]:
    """Whatever is read in this block is read over one connection, which costs its round trips once."""
    with _opened() as connection:
        memory()["connection"] = connection
        try:
            yield
        finally:
            del memory()["connection"]


@contextmanager
def _connected() -> Iterator[sa.Connection]:
    if "connection" in memory():
        yield memory()["connection"]
        return
    with _opened() as connection:
        yield connection


@contextmanager
def _opened() -> Iterator[sa.Connection]:
    """A connection that gives up a query that takes too long; SQLite knows no such limit.

    PostgreSQL would compile the counts, which are many small queries in one, and call workers for them, for longer than
    they take.
    """
    database = current_runtime().database
    with database.read() as connection:
        if database.dialect == "postgresql":
            limit = str(current_runtime().config.dashboard.query_timeout_ms)
            connection.execute(_LIMITS, {"limit": limit})
        yield connection
