"""The rows of one run as they stand at one moment, and what a rule may find in them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, Final, TypeAlias

import sqlalchemy as sa

from ...definition.spec import WorkflowSpec
from ...engine.adoption import OPEN
from ...engine.kept_decisions import EVENT, LISTED
from ...engine.transitions import TERMINAL, is_scheduled
from ...storage.tables import attempts, dispatches, runs, step_runs, wait_groups, waits
from ...storage.write_batch import BEGINNING, NO_QUEUE


@dataclass(frozen=True, slots=True, kw_only=True)
class RowUpdate:
    """Brings the rows that `where` finds in line with others that are certain. says: what it does, for people."""

    says: str
    table: sa.Table
    where: sa.ColumnElement[bool]
    values: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class RowDeletion:
    """Deletes the rows that `where` finds. says: what it does, for people."""

    says: str
    table: sa.Table
    where: sa.ColumnElement[bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Redelivery:
    """Makes the work of the step run due. lost: or has it taken over like that of a dead worker. says: for people."""

    says: str
    step_run_id: str
    lost: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RowInsertion:
    """Inserts a row that others call for. says: what it does, for people."""

    says: str
    table: sa.Table
    values: Mapping[str, object]


Repair: TypeAlias = RowUpdate | RowDeletion | RowInsertion | Redelivery


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One impossible state. run_id: None where no run is concerned. rule: its short name.

    found, expected, advice: what is so, what must be, and what to do. mend: None where a person has to decide.
    """

    rule: str
    run_id: str | None
    found: str
    expected: str
    advice: str = ""
    mend: Repair | None = None

    def __str__(self) -> str:
        """The finding as a sentence or three."""
        remedy = f"`flask squidmesh doctor --repair` {self.mend.says}." if self.mend else self.advice
        return f"{self.found}; expected {self.expected}. {remedy}"


Row = sa.Row[Any]

_RUN: Final = (
    *("id", "workflow", "follows", "status", "position", "remaining", "open_steps", "retrying_steps"),
    "awaiting_steps",
    *("needs", "needs_count", "needs_since", "compensation", "parent_run_id", "parent_step", "child_key"),
    *("replayed_from_id", "replayed_as_id", "finished_at", "tenant", "outcome", "diversion", "deadline_at"),
    *("overdue_since", "due_at"),
)
_STEP: Final = (
    *("id", "run_id", "kind", "step", "visit", "status", "sees", "position", "missing", "attempts"),
    *("due_at", "decide_by", "started_at"),
)
_DISPATCH: Final = ("id", "kind", "queue", "run_id", "step_run_id", "due_at", "claim_id", "held")
_PAUSED: Final = sa.case((step_runs.c.status == "paused", step_runs.c.decision))
_UNDOING: Final = sa.case((step_runs.c.kind == "compensation", step_runs.c.settings))


@dataclass(frozen=True, kw_only=True)
class Case:
    """One run. spec: its workflow where the run follows the definition that is registered, else None.

    attempts: the highest number of an ended attempt, by step run id. waits, groups: the waits that are listed, and for
    which groups, by step run id. replay_of, source_names_replay: how the runs that it names as its replay and its
    source are linked themselves, None where they are gone.
    """

    run: Row
    now: datetime
    spec: WorkflowSpec | None = None
    rows: Sequence[Row] = ()
    dispatches: Sequence[Row] = ()
    attempts: Mapping[str, int] = field(default_factory=dict)
    waits: Mapping[str, sa.RowMapping] = field(default_factory=dict)
    groups: Mapping[str, frozenset[str]] = field(default_factory=dict)
    replay_of: str | None = None
    source_names_replay: bool = True

    @property
    def over(self) -> bool:
        """Whether the run has ended."""
        return self.run.status in TERMINAL

    @cached_property
    def steps(self) -> list[Row]:
        """The visits."""
        return [row for row in self.rows if row.kind == "step"]

    @cached_property
    def compensations(self) -> list[Row]:
        """The compensations, in the order they run."""
        found = [row for row in self.rows if row.kind == "compensation"]
        return sorted(found, key=lambda row: int((row.settings or {}).get("order", 0)))

    @cached_property
    def going(self) -> list[Row]:
        """The visits that can go on by themselves."""
        going = ("running", "pending")
        return [row for row in self.steps if (row.status in going and not row.missing) or _awaits(row)]

    @cached_property
    def left(self) -> list[Row]:
        """The visits that ended, and what follows has still to be decided by a process of another version."""
        ended = ("completed", "failed")
        return [row for row in self.steps if row.status in ended and row.due_at is not None and not self.over]

    @cached_property
    def retrying(self) -> list[Row]:
        """Those of them that wait for their next attempt."""
        return [row for row in self.going if row.status == "pending" and row.attempts and row.due_at is not None]

    @cached_property
    def awaiting(self) -> list[Row]:
        """Those of them that wait for an event."""
        return [row for row in self.going if _awaits(row)]

    @cached_property
    def asking(self) -> list[Row]:
        """The step runs that wait for a person."""
        return [row for row in self.rows if row.status == "paused" and not _awaits(row)]

    @cached_property
    def open_waits(self) -> list[Row]:
        """The step runs that wait for a person or for an event."""
        return [row for row in self.rows if row.status == "paused"]

    @cached_property
    def work(self) -> dict[str, Row]:
        """The dispatches by step run id, but for those of internal work."""
        handed_over = [row for row in self.dispatches if row.queue != NO_QUEUE]
        return {row.step_run_id: row for row in handed_over if row.step_run_id is not None}

    @cached_property
    def timers(self) -> dict[str, Row]:
        """What happens by itself at waits, by step run id."""
        return {row.step_run_id: row for row in self.dispatches if row.kind == "timer"}

    @cached_property
    def timed(self) -> list[Row]:
        """The visits that have not ended of which people are told when they take long."""
        found = [row for row in self.steps if row.status in OPEN and row.decide_by is not None]
        return [row for row in found if row.decision is None or row.decision["kind"] not in LISTED]

    @cached_property
    def reminders(self) -> dict[str, Row]:
        """What people are told of steps that take long, by step run id."""
        return {row.id: row for row in self.dispatches if row.kind == "reminder"}

    @property
    def is_scheduled(self) -> bool:
        """Whether the run is to begin later."""
        return is_scheduled(self.run.status, self.run.open_steps, self.run.due_at) and not self.rows

    @cached_property
    def beginnings(self) -> list[Row]:
        """The dispatches that have the run begin, of which there is one at most."""
        return [row for row in self.dispatches if row.kind == BEGINNING]

    @cached_property
    def deadlines(self) -> list[Row]:
        """The dispatches of the run's deadline, of which there is one at most."""
        return [row for row in self.dispatches if row.kind == "deadline"]


def _awaits(row: Row) -> bool:
    """Whether the visit waits for an event."""
    return row.status == "paused" and bool(row.decision) and row.decision["kind"] == EVENT


def cases(connection: sa.Connection, found: Sequence[Row], specs: Iterable[WorkflowSpec], now: datetime) -> list[Case]:
    """The runs with everything that belongs to them, in six queries."""
    ids = [run.id for run in found]
    known = {(name, spec.fingerprint): spec for spec in specs for name in spec.names}
    rows, work = _by_run(connection, _steps(ids)), _by_run(connection, _dispatches(ids))
    numbers = {row.step_run_id: row.most for row in connection.execute(_attempts(ids))}
    listed = {row["step_run_id"]: row for row in connection.execute(_waits(ids)).mappings()}
    groups = _groups(connection, ids)
    replays, sources = _links(connection, found)
    return [
        Case(
            run=run,
            now=now,
            spec=known.get((run.workflow, run.follows)),
            rows=rows[run.id],
            dispatches=work[run.id],
            attempts=numbers,
            waits={id: row for id, row in listed.items() if row["run_id"] == run.id},
            groups=groups,
            replay_of=replays.get(run.replayed_as_id, run.id),
            source_names_replay=sources.get(run.replayed_from_id, True),
        )
        for run in found
    ]


def run_rows(*conditions: sa.ColumnElement[bool]) -> sa.Select[Any]:
    """The runs, by id."""
    return sa.select(*(runs.c[name] for name in _RUN)).where(*conditions).order_by(runs.c.id)


def _steps(ids: Sequence[str]) -> sa.Select[Any]:
    columns = [step_runs.c[name] for name in _STEP]
    wanted = sa.select(*columns, _PAUSED.label("decision"), _UNDOING.label("settings"))
    return wanted.where(step_runs.c.run_id.in_(ids)).order_by(step_runs.c.run_id, step_runs.c.id)


def _dispatches(ids: Sequence[str]) -> sa.Select[Any]:
    return sa.select(*(dispatches.c[name] for name in _DISPATCH)).where(dispatches.c.run_id.in_(ids))


def _waits(ids: Sequence[str]) -> sa.Select[Any]:
    return sa.select(waits).where(waits.c.run_id.in_(ids))


def _groups(connection: sa.Connection, ids: Sequence[str]) -> Mapping[str, frozenset[str]]:
    query = sa.select(wait_groups.c.step_run_id, wait_groups.c.name).join(
        waits, waits.c.step_run_id == wait_groups.c.step_run_id
    )
    found: dict[str, set[str]] = defaultdict(set)
    for row in connection.execute(query.where(waits.c.run_id.in_(ids))):
        found[row.step_run_id].add(row.name)
    return {id: frozenset(names) for id, names in found.items()}


def _attempts(ids: Sequence[str]) -> sa.Select[Any]:
    visits = sa.select(step_runs.c.id).where(step_runs.c.run_id.in_(ids))
    most = sa.func.max(attempts.c.number).label("most")
    return (
        sa.select(attempts.c.step_run_id, most)
        .where(attempts.c.step_run_id.in_(visits))
        .group_by(attempts.c.step_run_id)
    )


def _by_run(connection: sa.Connection, query: sa.Select[Any]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = defaultdict(list)
    for row in connection.execute(query):
        found[row.run_id].append(row)
    return found


def _links(connection: sa.Connection, found: Sequence[Row]) -> tuple[dict[str, Any], dict[str, bool]]:
    """What the replays that are named say of their source, and whether the sources name a replay at all."""
    replays = {run.replayed_as_id for run in found} - {None}
    sources = {run.replayed_from_id for run in found} - {None}
    if not replays | sources:
        return {}, {}
    wanted = sa.select(runs.c.id, runs.c.replayed_from_id, runs.c.replayed_as_id)
    rows = connection.execute(wanted.where(runs.c.id.in_(replays | sources))).all()
    return (
        {row.id: row.replayed_from_id for row in rows if row.id in replays},
        {row.id: row.replayed_as_id is not None for row in rows if row.id in sources},
    )
