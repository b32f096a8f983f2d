"""What the pages read, through `queries`, within what the person may know of.

Every query is within the scope of the person at the page, and what tells of a run is left out where the host does not
let that person view it. Counts go by the scope alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TypedDict, TypeVar, Unpack

import sqlalchemy as sa
from flask import abort, redirect, request, url_for

from ..definition.spec import WorkflowSpec
from ..definition.tenants import NO_TENANT
from ..engine.assignments import may_answer
from ..engine.diversions import OUTCOMES, outcomes_of
from ..engine.transitions import UNFINISHED
from ..errors import RunNotFoundError, UnknownWorkflowError
from ..people import Person, identity
from ..queries import figures, run_list, run_snapshot
from ..queries.audit_log import events
from ..queries.figures import EndedRun, Failures, Version, failures
from ..queries.fleet import Fleet, fleet
from ..queries.frame_counts import FrameCounts, frame_counts
from ..queries.inbox import with_decisions
from ..queries.known_people import known_people
from ..queries.open_waits import WaitPage, WaitReader, WaitRow, Whose, item_of_wait, open_waits
from ..queries.operator_status import stuck_among, word_of
from ..queries.related_runs import MOST_CHILDREN
from ..queries.results import AuditEventView, AuditPage, Count, InboxItem, Run, RunHistory
from ..queries.run_filters import Filters as Selection
from ..queries.run_list import ListTotals, RunCommands, Sort
from ..queries.run_snapshot import RunSnapshot
from ..queries.trouble import TroubleGroup, TroublePage, trouble, trouble_groups
from ..runtime import bulk_jobs
from ..runtime.app_check import RELAY_SILENCE
from ..runtime.runtime import current_runtime
from ..runtime.scheduler import ScheduleView
from ..storage import fact_rows
from ..storage.summaries import RunSummary
from . import endpoints, host_hooks
from .authorization import (
    current_claimant,
    current_hooks,
    current_scope,
    current_tenant,
    may,
    may_see_task,
    require,
)
from .endpoints import memory
from .text.explanation_text import name_of

SHORTEST_SILENCE = timedelta(seconds=15)
TIES = ("parent_run_id", "replayed_from_id", "replayed_as_id")
Tied = TypeVar("Tied", bound=RunSummary)


def refused(connection: sa.Connection, run_ids: Iterable[str | None]) -> set[str]:
    """Those of the runs that there are and that the person may not view."""
    named = sorted({id for id in run_ids if id is not None})
    return {id for id, run in run_list.summaries(connection, current_scope(), named).items() if not may("view", run)}


def untied(connection: sa.Connection, runs: Sequence[RunSummary]) -> list[RunSummary]:
    """The runs without their ties to those that the person may not view."""
    hidden = refused(connection, (getattr(run, name) for run in runs for name in TIES))
    return [_untied(run, hidden) for run in runs]


def _without(run: Run, hidden: Collection[str]) -> Run:
    """The run without these relatives."""
    if not hidden:
        return run
    children, replays = (tuple(id for id in ids if id not in hidden) for ids in (run.children, run.replays))
    kept = replace(_untied(run, hidden), children=children, replays=replays)
    return _without_events_of(kept, hidden) if isinstance(kept, RunHistory) else kept


def _untied(run: Tied, hidden: Collection[str]) -> Tied:
    orphaned = run.parent_run_id in hidden
    return replace(
        run,
        parent_run_id=None if orphaned else run.parent_run_id,
        parent_step=None if orphaned else run.parent_step,
        replayed_from_id=None if run.replayed_from_id in hidden else run.replayed_from_id,
        replayed_as_id=None if run.replayed_as_id in hidden else run.replayed_as_id,
    )


def _without_events_of(run: RunHistory, hidden: Collection[str]) -> RunHistory:
    """The run whose history does not say as which of these it was replayed."""

    def told(said: Mapping[str, object] | None) -> Mapping[str, object] | None:
        return {**said, "run_id": None} if said and said.get("run_id") in hidden else said

    return replace(
        run,
        audit_events=tuple(replace(each, metadata=told(each.metadata)) for each in run.audit_events),
        timeline=tuple(replace(each, details=told(each.details)) for each in run.timeline),
    )


Marks = Sequence[tuple[object, ...]]
_LIMITS = sa.text(
    "SELECT set_config('statement_timeout', :limit, true), set_config('jit', 'off', true), "
    "set_config('max_parallel_workers_per_gather', '0', true)"
)


@dataclass(frozen=True, slots=True)
class RunWithStatus:
    """A run and the word that operators have for its state."""

    run: RunSummary
    word: str


@dataclass(frozen=True, slots=True)
class RunPageWithStatus:
    """One page of a list. `next` is the cursor for the following page, None on the last."""

    runs: tuple[RunWithStatus, ...]
    next: str | None


def counts_for_frame() -> FrameCounts:
    """What every page tells of how much needs a person, and of whether anybody works; read once a request."""
    known = memory()
    if known.counts is None:
        with connected() as connection:
            now, silence = current_runtime().clock.now(), _silences()["worker"]
            known.counts = frame_counts(connection, current_scope(), reader(), now=now, silence=silence)
    return known.counts


def _silences() -> dict[str, timedelta]:
    """After how long without a beat a process counts as gone: a worker once others take over what it held."""
    claim = timedelta(seconds=current_runtime().settings.claim_timeout)
    return {"worker": max(SHORTEST_SILENCE, claim), "relay": RELAY_SILENCE}


def reader() -> WaitReader:
    """Whose lists of open waits the person sees as theirs."""
    claimant = current_claimant()
    return WaitReader(claimant.id, tuple(claimant.groups))


def wait_page(whose: Whose, kinds: Collection[str], workflow: str | None, size: int, after: str | None) -> WaitPage:
    """One page of what is asked of whom. Raises FilterError."""
    with connected() as connection:
        now, scope = current_runtime().clock.now(), current_scope()
        page = open_waits(
            connection, scope, reader(), whose, now=now, kinds=kinds, workflow=workflow, limit=size, after=after
        )
    return replace(page, items=tuple(row for row in page.items if may_see_task(row.run)))


def asked_in(rows: Sequence[WaitRow]) -> Sequence[InboxItem]:
    """What is asked in these waits, one item for each that is still open."""
    now = current_runtime().clock.now()
    with connected() as connection:
        told = with_decisions(connection, current_runtime().registry, [item_of_wait(row, now) for row in rows], now)
    found = []
    for row, item in zip(rows, told, strict=True):
        mine = tuple(each for each in item.decisions if each.id == row.id)
        if mine:
            found.append(replace(item, decisions=mine))
    return found


def people_to_choose(run: RunSummary | None = None, step: str | None = None) -> list[Person]:
    """To whom what waits there can be given, by their names: whom the host lists, and who is known from what was
    decided, of which somebody who sees only their own tasks is told nothing."""
    hook = current_hooks().people
    listed = host_hooks.people(hook, run, step) if hook is not None else []
    found = {person.id: person for person in listed}
    if may("list"):
        with connected() as connection:
            for id, actor in known_people(connection, current_scope()).items():
                found.setdefault(id, Person(id, name_of(actor)))
    return sorted(found.values(), key=lambda person: (person.label.casefold(), person.id))


def trouble_page(kinds: Collection[str], workflow: str | None, size: int, after: str | None) -> TroublePage:
    """One page of the runs that went wrong in a way of their own. Raises FilterError."""
    with connected() as connection:
        now, scope = current_runtime().clock.now(), current_scope()
        page = trouble(connection, scope, now=now, kinds=kinds, workflow=workflow, limit=size, after=after)
    return replace(page, items=_viewable(page.items))


def trouble_groups_of(kinds: Collection[str], workflow: str | None) -> tuple[TroubleGroup, ...]:
    """The runs that failed the same way, as far as the oldest of them may be viewed."""
    with connected() as connection:
        found = trouble_groups(connection, current_scope(), kinds=kinds, workflow=workflow)
    return tuple(group for group in found if may("view", group.example))


def with_what_is_asked(items: Sequence[InboxItem]) -> Sequence[InboxItem]:
    """The items with their open decisions and what can be done about them."""
    with connected() as connection:
        return with_decisions(connection, current_runtime().registry, items, current_runtime().clock.now())


def _viewable(items: Sequence[InboxItem]) -> tuple[InboxItem, ...]:
    return tuple(item for item in items if may("view", item.run))


def unfinished_count() -> int:
    """How many runs have not ended."""
    with connected() as connection:
        counted = run_list.counts(connection, current_scope(), status=sorted(UNFINISHED))
    return sum(count.value for count in counted.values())


def last_decision() -> AuditEventView | None:
    """The latest approval, if there was one."""
    with connected() as connection:
        page = events(connection, current_scope(), type="approved", limit=1)
        return next(iter(_told(connection, page).events), None)


def runs_page(selection: Selection, *, size: int, after: str | None, sort: Sort = "newest") -> RunPageWithStatus:
    """One page of runs, by when they were created. Raises FilterError."""
    with connected() as connection:
        page = run_list.list_runs(connection, current_scope(), sort=sort, limit=size, after=after, **selection)
        return RunPageWithStatus(_worded(connection, [run for run in page.runs if may("view", run)]), page.next)


def exported_page(selection: Selection, *, size: int, after: str | None) -> RunPageWithStatus:
    """The same without ties to runs that the person may not view. Raises FilterError."""
    with at_once(), connected() as connection:
        page = runs_page(selection, size=size, after=after)
        runs = untied(connection, [each.run for each in page.runs])
        return replace(
            page, runs=tuple(RunWithStatus(run, each.word) for each, run in zip(page.runs, runs, strict=True))
        )


def runs_standing(selection: Selection, *, size: int, after: str | None, sort: Sort = "newest") -> ListTotals:
    """What a page of runs shows, in short, and how many runs each word has. Raises FilterError."""
    limit = current_runtime().config.dashboard.count_limit
    timed: Selection = {**selection, "now": current_runtime().clock.now()}
    with connected() as connection:
        return run_list.standing(connection, current_scope(), size=size, sort=sort, after=after, limit=limit, **timed)


def run_with_history(run_id: str, *, audit_before: int | None = None, whole_audit: bool = False) -> RunSnapshot:
    """The run with its history and everything a page says of it. Raises RunNotFoundError.

    audit_before: the id of an event; those before it in place of the newest. whole_audit: all of them.
    """
    runtime = current_runtime()
    with connected() as connection:
        found = run_snapshot.snapshot_of(
            connection,
            runtime.registry,
            current_scope(),
            run_id,
            now=runtime.clock.now(),
            claim_timeout=runtime.config.claim_timeout,
            audit_before=audit_before,
            audit_events=None if whole_audit else run_snapshot.AUDIT_EVENTS,
            children=None if whole_audit else MOST_CHILDREN,
            tells=bool(runtime.outbox.subscriptions),
        )
    hidden = {id for id, each in found.related.known.items() if not may("view", each.run)}
    return replace(found, run=_without(found.run, hidden))


def run_glance(run_id: str) -> RunWithStatus:
    """The run in one line, with the word for its state. Raises RunNotFoundError."""
    with connected() as connection:
        return RunWithStatus(
            *run_snapshot.glance_at(connection, current_scope(), run_id, now=current_runtime().clock.now())
        )


def judged(run_ids: Sequence[str]) -> list[RunCommands]:
    """What can be done with each of these runs."""
    with connected() as connection:
        found = run_list.judged(connection, current_runtime().registry, current_scope(), run_ids)
    return [each for each in found if may("view", each.run)]


def matching(selection: Selection, most: int) -> tuple[list[str], bool]:
    """The ids of the newest runs that match, and whether there are more. Raises FilterError."""
    with connected() as connection:
        page = run_list.list_runs(connection, current_scope(), limit=most, **selection)
    return [run.id for run in page.runs], page.next is not None


def bulk_job(job_id: str) -> bulk_jobs.BulkJobState | None:
    """An action on many runs."""
    with connected() as connection:
        return bulk_jobs.look(connection, current_scope(), job_id)


def bulk_jobs_before(job_id: str | None, size: int) -> list[bulk_jobs.BulkJobSummary]:
    """One page of the actions on many runs, the latest first. job_id: the last one of the page before."""
    with connected() as connection:
        return bulk_jobs.recent(connection, current_scope(), limit=size, before=job_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowFigures:
    """How a workflow fares. counts: how many runs each word has. last: those that ended last. day: how many have ended
    within 24 hours, by status.
    """

    counts: Mapping[str, Count]
    last: Sequence[EndedRun]
    day: Mapping[str, Count]

    @property
    def failed(self) -> int:
        """How many runs failed within 24 hours."""
        return self.day["failed"].value

    @property
    def waiting(self) -> int:
        """How many runs wait for a person to decide."""
        return sum(self.counts[word].value for word in ("decision", "paused") if word in self.counts)


def figures_of(names: Sequence[str]) -> dict[str, WorkflowFigures]:
    """How each workflow fares."""
    runtime = current_runtime()
    now, limit = runtime.clock.now(), runtime.config.dashboard.count_limit
    with at_once(), connected() as connection:
        counts = figures.word_counts_of(connection, current_scope(), names, now=now, limit=limit)
        last = figures.last_runs(connection, current_scope(), names)
        day = figures.ended_since(connection, current_scope(), names, now - timedelta(days=1))
    return {name: WorkflowFigures(counts=counts[name], last=last[name], day=day[name]) for name in names}


def versions_of(spec: WorkflowSpec) -> list[Version]:
    """The definitions that unfinished runs of the workflow began with."""
    with connected() as connection:
        return figures.versions(connection, current_scope(), spec.name, spec.fingerprint)


def failures_now(workflow: str | None) -> Failures:
    """What fails, of one workflow or all, as far as the newest run that failed so may be viewed."""
    with connected() as connection:
        found = failures(connection, current_scope(), now=current_runtime().clock.now(), workflow=workflow)
    return replace(found, groups=tuple(group for group in found.groups if may("view", group.example)))


def failures_marks(workflow: str | None) -> Marks:
    """What the failures page shows, in short."""
    with connected() as connection:
        return figures.marks(connection, current_scope(), now=current_runtime().clock.now(), workflow=workflow)


def refused_among(run_ids: Iterable[str | None]) -> set[str]:
    """Those of the runs that there are and that the person may not view."""
    with connected() as connection:
        return refused(connection, run_ids)


def schedules_now() -> list[ScheduleView]:
    """Every cron trigger of the registered workflows, with its last run as far as the person may view that."""
    found = current_runtime().scheduler.schedules(current_scope())
    named = [windows.run_id for each in found for windows in each.left_out]
    refused = refused_among([*(each.last_run_id for each in found), *named])
    return [_without_refused(each, refused) for each in found]


def _without_refused(schedule: ScheduleView, refused: set[str]) -> ScheduleView:
    """The schedule without the names of runs that the person may not view."""
    left_out = [replace(each, run_id=None) if each.run_id in refused else each for each in schedule.left_out]
    last = None if schedule.last_run_id in refused else schedule.last_run_id
    return replace(schedule, last_run_id=last, left_out=left_out)


def has_schedule(spec: WorkflowSpec, trigger: str) -> bool:
    """Whether there is such a cron trigger that the person may know of; those that are declared are of no tenant."""
    chosen = spec.triggers.get(trigger)
    return chosen is not None and chosen.kind == "cron" and current_scope().admits(NO_TENANT, spec.name)


def fleet_now() -> Fleet:
    """Queues and processes."""
    queues = [current_runtime().settings.queue]
    with connected() as connection:
        now = current_runtime().clock.now()
        return fleet(connection, current_scope(), now=now, silences=_silences(), queues=queues)


class AuditFilters(TypedDict):
    """Which events are asked for; None for all. See `audit_log.events`."""

    run_id: str | None
    type: str | None
    actor: str | None


def audit_page(*, after: str | None, size: int, **selection: Unpack[AuditFilters]) -> AuditPage:
    """One page of audit events, newest first. Raises FilterError, RunNotFoundError."""
    with connected() as connection:
        return _told(connection, events(connection, current_scope(), limit=size, after=after, **selection))


def _told(connection: sa.Connection, page: AuditPage) -> AuditPage:
    """The page without what concerns runs that the person may not view."""
    concerned = {event.run_id for event in page.events if event.run_id is not None}
    runs = run_list.summaries(connection, current_scope(), sorted(concerned))
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


def title_of_workflow(name: str) -> str:
    """What people call the workflow; its name where no workflow of that name is registered any more."""
    try:
        return current_runtime().registry.get(name).title
    except UnknownWorkflowError:
        return name


def _admits(spec: WorkflowSpec) -> bool:
    workflows = current_scope().workflows
    return workflows is None or spec.name in workflows


def workflows() -> list[tuple[str, str]]:
    """The names and the titles of the same, by title."""
    return sorted(((spec.name, spec.title) for spec in specs()), key=lambda each: each[1].lower())


def outcomes() -> list[str]:
    """How completed runs of the same can have ended: what the engine calls it first, then the words of their ends."""
    known = frozenset[str]().union(*(outcomes_of(spec) for spec in specs()))
    return [*(word for word in OUTCOMES if word in known), *sorted(known.difference(OUTCOMES))]


def record_refusal(run_id: str | None, action: str, actor: object, reason: str) -> None:
    """Keep in the audit that somebody tried what they may not do; the same once more is counted."""
    with current_runtime().database.write() as connection:
        now = current_runtime().clock.now()
        fact_rows.note_again(
            connection,
            "refused",
            actor=actor,
            at=now,
            run_id=run_id,
            tenant=current_tenant(),
            what={"action": action},
            data={"reason": reason},
        )


def record_reveal(run_id: str, part: str, actor: object, comment: str | None) -> None:
    """Keep in the audit that somebody is shown the hidden values of a part."""
    with current_runtime().database.write() as connection:
        now = current_runtime().clock.now()
        said = {"part": part}
        fact_rows.note(connection, "revealed", actor=actor, at=now, run_id=run_id, comment=comment, data=said)


def _worded(connection: sa.Connection, runs: list[RunSummary]) -> tuple[RunWithStatus, ...]:
    now = current_runtime().clock.now()
    stuck = stuck_among(connection, runs, now)
    return tuple(RunWithStatus(run, word_of(run, now, stuck=run.id in stuck)) for run in runs)


@contextmanager
def at_once() -> Iterator[None]:
    """Whatever is read in this block is read over one connection, which costs its round trips once."""
    if memory().connection is not None:
        yield
        return
    with _opened() as connection:
        memory().connection = connection
        try:
            yield
        finally:
            memory().connection = None


@contextmanager
def connected() -> Iterator[sa.Connection]:
    """A connection to read over: the one of `at_once`, or another."""
    known = memory().connection
    if known is not None:
        yield known
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


PERMANENT = 308


class AuditShown(TypedDict):
    """Which part of a run's audit a page shows; see `run_with_history`."""

    audit_before: int | None
    whole_audit: bool


def viewable_run(run_id: str, *, audit_before: int | None = None, whole_audit: bool = False) -> RunSnapshot:
    """The run with its history; audit_before, whole_audit: see `run_with_history`. Raises as `viewable_summary`."""
    with at_once():
        return run_with_history(viewable_summary(run_id).run.id, audit_before=audit_before, whole_audit=whole_audit)


def viewable_summary(run_id: str) -> RunWithStatus:
    """The run in one line.

    Raises Refused where the person may not view it, the same whether or not there is one; RunNotFoundError where they
    might and there is none; and a redirect to the one spelling of its id.
    """
    try:
        found = run_glance(run_id)
    except RunNotFoundError:
        require("view")
        raise
    if not may("view", found.run) and not _is_task(found.run):
        require("view", found.run)
    keep_spelling("run_id", found.run.id)
    return found


def _is_task(run: RunSummary) -> bool:
    """Whether somebody who sees only tasks has one in this run, or has decided in it."""
    if may("list") or not may("tasks", run):
        return False
    with connected() as connection:
        rows = run_snapshot.decided_and_open(connection, run.id)
    claimant = current_claimant()
    return any(
        (row.status == "paused" and row.decision is not None and may_answer(row.decision, claimant))
        or (row.manual is not None and claimant.id is not None and identity(row.manual.get("actor")) == claimant.id)
        for row in rows
    )


def keep_spelling(name: str, id: str) -> None:
    """Lead to the same address with the id in its one spelling, where this one spells it otherwise."""
    values = dict(request.view_args or {})
    if values.get(name, id) == id:
        return
    address = url_for(request.endpoint or "", **{**values, name: id})
    query = request.query_string.decode("latin-1")
    abort(redirect(endpoints.with_query(address, query), PERMANENT))
