"""Changes as SQL.

On PostgreSQL they are common table expressions of one statement: a step costs one round trip and one commit, all or
nothing without a transaction around them. SQLite takes them one after the other.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

import sqlalchemy as sa

from ..definition.spec import DeadlineSpec
from ..engine.changes import Changes, NewAttempt, NewAuditEvent, NewStepRun, NewWait, StepColumns
from ..engine.facts import RunFact
from ..engine.kept_decisions import EventKept
from ..engine.transitions import TERMINAL
from .compiled import Prepared
from .fact_rows import actor_key
from .summaries import new_id
from .tables import attempts, audit_events, dispatches, outbox, runs, step_runs, wait_groups, waits
from .write_statements import FromNow, StatementShape, Verb, alone, together

Row = Mapping[str, Any]

NONE: Final = frozenset[str]()


class WriteBatch:
    """Collects writes.

    fenced: whether the first write is a fence: unless it finds its row, none of the others is made.
    """

    def __init__(self, *, fenced: bool = False) -> None:
        self._fenced = fenced
        self._parts: dict[StatementShape, list[Sequence[Any]]] = defaultdict(list)
        self._notice: tuple[str, ...] = ()

    def insert(self, table: sa.Table, rows: Sequence[Row], *, unless_there: bool = False) -> None:
        """Insert rows, which name the same columns in the same order.

        unless_there: a row whose key exists is left out.
        """
        if rows:
            verb: Verb = "insert unless there" if unless_there else "insert"
            self._parts[StatementShape(verb, table, tuple(rows[0]))] += [tuple(row.values()) for row in rows]

    def update(self, table: sa.Table, where: Row, values: Row, *, holds: tuple[sa.Table, Row] | None = None) -> None:
        """Set columns of the row that has these values. holds: only if that table has a row with those values."""
        timed = NONE
        if FromNow in map(type, values.values()):
            timed = frozenset(name for name, value in values.items() if isinstance(value, FromNow))
            values = {name: value.later if name in timed else value for name, value in values.items()}
        given = [*values.values(), *where.values()]
        there = None
        if holds is not None:
            other, row = holds
            there = (other, tuple(row))
            given += row.values()
        self._parts[StatementShape("update", table, tuple(values), timed, tuple(where), there)] += [given]

    def delete(self, table: sa.Table, where: Row) -> None:
        """Delete the row that has these values."""
        self._parts[StatementShape("delete", table, where=tuple(where))] += [tuple(where.values())]

    def notify(self, channel: str, text: str) -> None:
        """Send a notification with the commit (PostgreSQL)."""
        self._notice = (channel, text)

    def execute(self, connection: sa.Connection) -> bool:
        """Make the writes in the connection's transaction. Return whether the fence has found its row."""
        if not self._parts:
            return True
        if connection.dialect.name != "postgresql":
            return self._one_by_one(connection)
        statement, values = self.as_one()
        row = statement.first(connection, values)
        assert row is not None, "it counts the rows that the fence has found"
        return bool(row[0])

    def as_one(self) -> tuple[Prepared, Sequence[Any]]:
        """The statement and its values that all writes are on PostgreSQL; it answers how many rows the fence found."""
        shapes: list[StatementShape] = []
        given: list[Any] = []
        for shape, [row, *further] in self._parts.items():
            shapes.append(shape._replace(many=True) if further else shape)
            given += map(list, zip(row, *further, strict=True)) if further else row
        statement, in_order = together(tuple(shapes), self._fenced, bool(self._notice))
        return statement, in_order([*given, *self._notice])

    def _one_by_one(self, connection: sa.Connection) -> bool:
        waiting_for_fence = self._fenced
        for shape, rows in self._parts.items():
            statement, in_order = alone(shape, "sqlite")
            for row in rows:
                found = statement.count(connection, in_order(row))
                if waiting_for_fence and found == 0:
                    return False
                waiting_for_fence = False
        return True


RELAY_GRACE = timedelta(seconds=60)
NO_QUEUE: Final = ""
"""Where internal work is, which is handed over to nobody."""
BEGINNING: Final = "beginning"
"""The kind of internal work that has a run begin which was to begin later."""
MATCH: Final = "match"
"""The kind of internal work that brings events and those together that wait for them."""
ANOTHER: Final = object()
FREED: Final = {"claim_id": None, "claimed_by": None, "claimed_at": None}

Notification = tuple[str, str]


class ClaimLostError(Exception):
    """The claim under which the changes were made is gone; none of them may be kept."""


class BegunRun(NamedTuple):
    """A run that is not written yet, as far as its other rows repeat it."""

    id: str
    tenant: str
    workflow: str
    queue: str


class HeldClaim(NamedTuple):
    """A claim that the changes were made under: which dispatch, which claim, for which step run, until when.

    expires_at: when the claim expires where the deliverer goes on with the next step.
    """

    dispatch_id: str
    claim_id: str
    step_run_id: str
    expires_at: datetime | FromNow

    @property
    def row(self) -> dict[str, Any]:
        """What the dispatch has in it as long as the claim is held."""
        return {"id": self.dispatch_id, "claim_id": self.claim_id, "step_run_id": self.step_run_id}


def apply(connection: sa.Connection, batch: WriteBatch) -> None:
    """Make the writes of one decision. Raises ClaimLostError, and then the caller must roll back."""
    if not batch.execute(connection):
        raise ClaimLostError


def batch_of(
    run: RunFact,
    changes: Changes,
    *,
    now: datetime,
    held: HeldClaim | None = None,
    notice: Notification | None = None,
    told: Sequence[Row] = (),
) -> WriteBatch:
    """The writes of one decision. Unless the run has its revision and the claim is held, none of them is made.

    Whoever takes a claim away raises the run's revision, so a run of this revision stands as it was read. told: the
    entries of the outbox.
    """
    batch = WriteBatch(fenced=True)
    moved = {name: value for name, value in changes.run.items() if getattr(run, name, ANOTHER) != value}
    holds = (dispatches, held.row) if held else None
    raised = {"revision": run.revision + 1, "updated_at": now}
    batch.update(runs, {"id": run.id, "revision": run.revision}, {**raised, **moved}, holds=holds)
    _follow(batch, run, changes, held, now)
    if run.deadline_at is not None and changes.run.get("status") in TERMINAL:
        batch.delete(dispatches, {"run_id": run.id, "kind": "deadline"})
    if run.is_scheduled:
        _settle_beginning(batch, run, changes)
    batch.insert(outbox, told)
    if notice is not None:
        batch.notify(*notice)
    return batch


def begin(
    batch: WriteBatch,
    run: Mapping[str, Any],
    changes: Changes,
    *,
    now: datetime,
    copied: Sequence[Any] = (),
    deadline: DeadlineSpec | None = None,
    told: Sequence[Row] = (),
) -> None:
    """Add the writes of a new run: its row, step runs copied from another, its first step runs, their dispatches.

    told: the entries of the outbox.
    """
    batch.insert(runs, [run])
    batch.insert(step_runs, copied)
    _follow(batch, BegunRun(run["id"], run["tenant"], run["workflow"], run["queue"]), changes, None, now)
    if deadline is not None and run["status"] not in TERMINAL:
        held = {"cancel": deadline.cancel, "compensate": deadline.compensate}
        batch.insert(dispatches, [dispatch_row(run["id"], None, "deadline", run["deadline_at"], NO_QUEUE, now, held)])
    if changes.begins_at is not None:
        batch.insert(dispatches, [dispatch_row(run["id"], None, BEGINNING, changes.begins_at, NO_QUEUE, now)])
    if run.get("cancel_key") is not None and run["status"] not in TERMINAL:
        batch.insert(dispatches, [dispatch_row(run["id"], None, MATCH, now, NO_QUEUE, now)])
    batch.insert(outbox, told)


def _settle_beginning(batch: WriteBatch, run: RunFact, changes: Changes) -> None:
    """It comes at another time, or not any more, once the run has begun or ended."""
    if changes.begins_at is not None:
        _move(batch, run.id, BEGINNING, changes.begins_at)
        if (deadline := changes.run.get("deadline_at")) is not None:
            _move(batch, run.id, "deadline", deadline)
    elif changes.entered or changes.run.get("status") in TERMINAL:
        batch.delete(dispatches, {"run_id": run.id, "kind": BEGINNING})


def _move(batch: WriteBatch, run_id: str, kind: str, to: datetime) -> None:
    due = {"due_at": to, "relay_at": to + RELAY_GRACE, "held": None}
    batch.update(dispatches, {"run_id": run_id, "kind": kind}, due)


def _follow(
    batch: WriteBatch, run: RunFact | BegunRun, changes: Changes, held: HeldClaim | None, now: datetime
) -> None:
    batch.insert(step_runs, [_step_row(run.id, row, now) for row in changes.entered])
    for key, columns in changes.updated.items():
        batch.update(step_runs, {"id": key}, _step_columns(columns))
    batch.insert(attempts, [_attempt_row(row) for row in changes.attempts])
    batch.insert(audit_events, [_audit_row(run, row, now) for row in changes.audit])
    if held is not None:
        _settle_claim(batch, changes, held, now)
    _settle_dispatches(batch, run, changes, held, now)
    if changes.opened or changes.handed_on or changes.settled or changes.timed or changes.renamed:
        _settle_waits(batch, run, changes, now)
    if changes.reminded or changes.unreminded:
        _settle_reminders(batch, run, changes, now)


def _settle_claim(batch: WriteBatch, changes: Changes, held: HeldClaim, now: datetime) -> None:
    """The claim goes on to the next step, is given back until the step is due again, or ends with its dispatch."""
    mine = {"id": held.dispatch_id, "claim_id": held.claim_id}
    left = changes.left.get(held.step_run_id)
    onward = next((row for row in changes.entered if row.claimed), None)
    due = changes.released.get(held.step_run_id)
    if onward is not None:
        next_step = {"step_run_id": onward.id, "claimed_at": now, "due_at": held.expires_at, "hand_over_error": None}
        batch.update(dispatches, mine, next_step)
    elif due is not None:
        batch.update(dispatches, mine, {**FREED, "due_at": due, "relay_at": due + RELAY_GRACE})
    elif left is not None:
        batch.update(dispatches, mine, {**FREED, "due_at": now, "relay_at": now + RELAY_GRACE, "held": left})
    else:
        batch.delete(dispatches, mine)


def _settle_dispatches(
    batch: WriteBatch, run: RunFact | BegunRun, changes: Changes, held: HeldClaim | None, now: datetime
) -> None:
    for key in changes.ended:
        if held is None or key != held.step_run_id:
            batch.delete(dispatches, {"step_run_id": key})
    wanted: list[tuple[str, str, datetime]] = [
        (row.id, row.kind, row.due_at or now) for row in changes.entered if row.delivered and not row.claimed
    ]
    wanted += [(row.step_run_id, row.kind, row.due_at) for row in changes.dispatched]
    batch.insert(dispatches, [dispatch_row(run.id, key, kind, at, run.queue, now) for key, kind, at in wanted])
    mine = held and held.step_run_id
    for key, due in changes.released.items():
        if key != mine:
            batch.update(dispatches, {"step_run_id": key}, {**FREED, "due_at": due, "relay_at": due + RELAY_GRACE})
    for key, since in changes.freed.items():
        # claimed_at stays, which tells that it is to be taken before all that is due.
        again = {**FREED, "claimed_at": since, "due_at": since, "relay_at": now + RELAY_GRACE}
        batch.update(dispatches, {"step_run_id": key}, again)
    left = [(key, reason) for key, reason in changes.left.items() if key != mine]
    rows = [{**dispatch_row(run.id, key, "step", now, run.queue, now), "held": reason} for key, reason in left]
    batch.insert(dispatches, rows)


def _settle_waits(batch: WriteBatch, run: RunFact | BegunRun, changes: Changes, now: datetime) -> None:
    for key in changes.settled:
        batch.delete(wait_groups, {"step_run_id": key})
        batch.delete(waits, {"step_run_id": key})
    batch.insert(waits, [_wait_row(run, row, now) for row in changes.opened if row.awaits is None])
    batch.insert(waits, [_wait_row(run, row, now) for row in changes.opened if row.awaits is not None])
    of_groups = [(row.step_run_id, group) for row in changes.opened for group in dict.fromkeys(row.groups)]
    of_groups += [(key, group) for key, moved in changes.handed_on.items() for group in dict.fromkeys(moved.further)]
    batch.insert(wait_groups, [{"step_run_id": key, "name": group} for key, group in of_groups])
    for key in {**changes.handed_on, **changes.renamed}:
        if key not in changes.settled:  # PostgreSQL would make either of the two changes of one row
            batch.update(waits, {"step_run_id": key}, _wait_columns(changes, key))
    timed = [(row.step_run_id, row.timer_at) for row in changes.opened if row.timer_at is not None]
    batch.insert(dispatches, [dispatch_row(run.id, key, "timer", due, NO_QUEUE, now) for key, due in timed])
    awaiting = [row.step_run_id for row in changes.opened if row.awaits is not None]
    batch.insert(dispatches, [dispatch_row(run.id, key, MATCH, now, NO_QUEUE, now) for key in awaiting])
    for key, due in changes.timed.items():
        due_again = {"due_at": due, "relay_at": due + RELAY_GRACE}
        batch.update(dispatches, {"step_run_id": key, "kind": "timer"}, due_again)


def _settle_reminders(batch: WriteBatch, run: RunFact | BegunRun, changes: Changes, now: datetime) -> None:
    """They have the ids of their visits; see `tables.Dispatch`."""
    for key in changes.unreminded:
        batch.delete(dispatches, {"id": key})
    for key, kept in changes.reminded.items():
        due = datetime.fromisoformat(kept[0]["at"])
        row = dispatch_row(run.id, None, "reminder", due, NO_QUEUE, now, {"reminders": kept})
        batch.insert(dispatches, [{**row, "id": key}])


def _wait_columns(changes: Changes, key: str) -> dict[str, Any]:
    """What changes of an open wait."""
    moved, step = changes.handed_on.get(key), changes.renamed.get(key)
    columns: dict[str, Any] = {} if step is None else {"step": step}
    if moved is not None:
        columns["assignee"] = moved.assignee
        columns |= {"for_all": False} if moved.further else {}
    return columns


def _wait_row(run: RunFact | BegunRun, row: NewWait, now: datetime) -> dict[str, Any]:
    return {
        "step_run_id": row.step_run_id,
        "run_id": run.id,
        "tenant": run.tenant,
        "workflow": run.workflow,
        "step": row.step,
        "kind": row.kind,
        "assignee": row.assignee,
        "for_all": not row.groups and row.awaits is None,
        "due_at": row.due_at,
        "opened_at": now,
        **_awaits_columns(row.awaits),
    }


def _awaits_columns(awaits: EventKept | None) -> dict[str, Any]:
    if awaits is None:
        return {}
    return {"event_name": awaits["name"], "event_key": awaits["key"], "accept": awaits["accept"]}


def _step_columns(columns: StepColumns) -> Row:
    if "settings" in columns:
        return {**columns, "settings": columns["settings"].stored()}
    return columns


def _step_row(run_id: str, row: NewStepRun, now: datetime) -> dict[str, Any]:
    return {
        "id": row.id,
        "run_id": run_id,
        "kind": row.kind,
        "step": row.step,
        "visit": row.visit,
        "status": "running" if row.claimed else row.status,
        "sees": row.sees,
        "missing": row.missing,
        "attempts": 1 if row.claimed else 0,
        "abandoned": 0,
        "settings": row.settings.stored(),
        "failure": row.failure,
        "error": row.error,
        "decision": row.decision,
        "decide_by": row.decide_by,
        "due_at": row.due_at,
        "created_at": now,
        "started_at": now if row.claimed or row.status == "paused" else None,
    }


def _attempt_row(row: NewAttempt) -> dict[str, Any]:
    return {
        "step_run_id": row.step_run_id,
        "number": row.number,
        "status": row.status,
        "worker": row.worker,
        "error": row.error,
        "started_at": row.started_at,
        "finished_at": row.finished_at,
    }


def _audit_row(run: RunFact | BegunRun, row: NewAuditEvent, now: datetime) -> dict[str, Any]:
    return {
        "run_id": run.id,
        "tenant": run.tenant,
        "workflow": run.workflow,
        "type": row.type,
        "step": row.step,
        "visit": row.visit,
        "actor": row.actor,
        "actor_id": actor_key(row.actor),
        "comment": row.comment,
        "metadata": row.metadata,
        "at": now,
    }


def dispatch_row(
    run_id: str | None,
    step_run_id: str | None,
    kind: str,
    due_at: datetime,
    queue: str,
    now: datetime,
    payload: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """A new dispatch as a row."""
    return {
        "id": new_id(),
        "kind": kind,
        "run_id": run_id,
        "step_run_id": step_run_id,
        "payload": payload,
        "queue": queue,
        "due_at": due_at,
        "relay_at": due_at + RELAY_GRACE,
        "hand_overs": 0,
        "created_at": now,
    }
