"""The tables. Every constraint and index has a name of its own, so that a host's naming convention changes none.

A dispatch is the intent to deliver one piece of work and, while somebody works on it, the claim: `due_at` is then
the time at which the claim expires. So a crash at any point leaves a row that falls due.

The tables that every step writes have no CHECK constraints: PostgreSQL parses those anew for each statement, which took
a tenth of a step's time in the server. What the end of a step writes to its own row, and to the run's as long as the
status stays, is in no index, so that PostgreSQL puts the new version beside the old one and leaves the indexes alone
(HOT).

`tenant` is '' where there is none. The indexes that begin with it leave those rows out, so that a host without tenants
pays nothing for them; a query meets them by saying that the tenant is not ''.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.schema import conv
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from ..definition.values import JsonObject, JsonValue

PREFIX = "squidmesh_"
ADVICE = "Run:\n  flask squidmesh install\n  flask db upgrade"


class Timestamp(sa.TypeDecorator[datetime]):
    """A time, aware and in UTC, whatever the database and its connection make of zones."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value if value is None or dialect.name != "sqlite" else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.astimezone(UTC) if value.tzinfo is not None else value.replace(tzinfo=UTC)


class _AsText(FunctionElement[JsonValue]):
    """A JSON column as the text of it, which the driver leaves alone and the column's type reads."""

    inherit_cache = True

    def __init__(self, column: sa.ColumnElement[JsonValue], type_: OwnJson) -> None:
        self.type = type_
        super().__init__(column)


@compiles(_AsText)
def _plain(element: _AsText, compiler: SQLCompiler, **options: Any) -> str:
    return compiler.process(element.clauses, **options)


@compiles(_AsText, "postgresql")
def _cast(element: _AsText, compiler: SQLCompiler, **options: Any) -> str:
    return f"CAST({compiler.process(element.clauses, **options)} AS TEXT)"


class OwnJson(sa.TypeDecorator[JsonValue]):
    """JSON that is written and read by us, whatever `json_serializer` and `json_deserializer` the host's engine has."""

    impl = sa.JSON
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> sa.types.TypeEngine[JsonValue]:
        known = postgresql.JSONB if dialect.name == "postgresql" else sa.JSON
        return dialect.type_descriptor(known(none_as_null=True))

    def coerce_compared_value(self, op: Any, value: Any) -> Any:
        return self.impl_instance.coerce_compared_value(op, value)

    def column_expression(self, column: sa.ColumnElement[JsonValue]) -> sa.ColumnElement[JsonValue]:
        return _AsText(column, self)

    def bind_processor(self, dialect: Dialect) -> Callable[[JsonValue], str | None]:
        return lambda value: None if value is None else _to_json(value)

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[str | None], JsonValue]:
        return lambda text: None if text is None else json.loads(text)


_to_json = json.JSONEncoder().encode
Json = OwnJson()
Id = sa.Uuid(as_uuid=False)
Serial = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Name = sa.String(200)
Word = sa.String(20)
Key = sa.String(200)


class Base(DeclarativeBase):
    metadata = sa.MetaData()


def _one_of(table: str, column: str, words: Sequence[str]) -> sa.CheckConstraint:
    listed = ", ".join(f"'{word}'" for word in words)
    return sa.CheckConstraint(f"{column} IN ({listed})", name=conv(f"ck_{table}_{column}"))


def _where(condition: str) -> dict[str, Any]:
    return {"postgresql_where": sa.text(condition), "sqlite_where": sa.text(condition)}


def _tenant() -> Mapped[str]:
    return mapped_column(Name, server_default=sa.text("''"))


def _run_id(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["run_id"], ["squidmesh_runs.id"], name=conv(f"fk_{table}_run_id"), ondelete="CASCADE"
    )


class WorkflowRun(Base):
    """One run. Lists read this table alone and never its payload.

    `position` counts the outputs recorded, `remaining` the steps of a dependency workflow that have not completed,
    `open_steps` the step runs that can go on by themselves, `retrying_steps` those of them that wait for a retry,
    `awaiting_steps` those that wait for an event.
    `overdue_since` is since when a step is late that should have ended, where people have been told of it.
    `outcome` is how a completed run says to have ended, `diversion` what led one off its way; see `engine/diversions`.
    `cancel_event`, `cancel_key` are the event that cancels it.
    `fingerprint` is of the definition it was started with, `follows` of the one that its rows and counts go by,
    `follows_since` when the process was started that had it go by that one, `redefined` how often that happened.
    """

    __tablename__ = "squidmesh_runs"

    id: Mapped[str] = mapped_column(Id)
    workflow: Mapped[str] = mapped_column(Name)
    trigger: Mapped[str] = mapped_column(Name)
    tenant: Mapped[str] = _tenant()
    queue: Mapped[str] = mapped_column(Name, server_default=sa.text("'squidmesh'"))
    version: Mapped[str | None] = mapped_column(Name)
    fingerprint: Mapped[str] = mapped_column(sa.String(64))
    follows: Mapped[str] = mapped_column(sa.String(64), server_default=sa.text("''"))
    follows_since: Mapped[datetime | None] = mapped_column(Timestamp)
    redefined: Mapped[int] = mapped_column(server_default=sa.text("0"))
    subject: Mapped[str] = mapped_column(sa.String(500))
    status: Mapped[str] = mapped_column(Word)
    outcome: Mapped[str | None] = mapped_column(sa.String(40))
    diversion: Mapped[str | None] = mapped_column(sa.String(250))
    deadline_at: Mapped[datetime | None] = mapped_column(Timestamp)
    payload: Mapped[JsonObject] = mapped_column(Json)
    schedule: Mapped[JsonObject | None] = mapped_column(Json)
    actor: Mapped[JsonValue] = mapped_column(Json)
    current_step: Mapped[str | None] = mapped_column(Name)
    attempt: Mapped[int] = mapped_column(server_default=sa.text("0"))
    max_attempts: Mapped[int] = mapped_column(server_default=sa.text("0"))
    due_at: Mapped[datetime | None] = mapped_column(Timestamp)
    position: Mapped[int] = mapped_column(server_default=sa.text("0"))
    remaining: Mapped[int] = mapped_column(server_default=sa.text("0"))
    open_steps: Mapped[int] = mapped_column(server_default=sa.text("0"))
    retrying_steps: Mapped[int] = mapped_column(server_default=sa.text("0"))
    awaiting_steps: Mapped[int] = mapped_column(server_default=sa.text("0"))
    revision: Mapped[int] = mapped_column(server_default=sa.text("0"))
    needs: Mapped[str | None] = mapped_column(Word)
    needs_count: Mapped[int] = mapped_column(server_default=sa.text("0"))
    needs_due_at: Mapped[datetime | None] = mapped_column(Timestamp)
    needs_since: Mapped[datetime | None] = mapped_column(Timestamp)
    overdue_since: Mapped[datetime | None] = mapped_column(Timestamp)
    error: Mapped[JsonObject | None] = mapped_column(Json)
    error_fingerprint: Mapped[str | None] = mapped_column(sa.String(64))
    compensation: Mapped[str | None] = mapped_column(Word)
    parent_run_id: Mapped[str | None] = mapped_column(Id)
    parent_step: Mapped[str | None] = mapped_column(Name)
    child_key: Mapped[str | None] = mapped_column(Key)
    replayed_from_id: Mapped[str | None] = mapped_column(Id)
    replayed_as_id: Mapped[str | None] = mapped_column(Id)
    created_at: Mapped[datetime] = mapped_column(Timestamp)
    started_at: Mapped[datetime | None] = mapped_column(Timestamp)
    updated_at: Mapped[datetime] = mapped_column(Timestamp)
    finished_at: Mapped[datetime | None] = mapped_column(Timestamp)
    acknowledged_at: Mapped[datetime | None] = mapped_column(Timestamp)
    cancelled_at: Mapped[datetime | None] = mapped_column(Timestamp)
    starters: Mapped[list[str] | None] = mapped_column(Json)
    cancel_event: Mapped[str | None] = mapped_column(Name)
    cancel_key: Mapped[str | None] = mapped_column(Key)

    __table_args__ = (
        sa.PrimaryKeyConstraint("id", name=conv("pk_squidmesh_runs")),
        sa.Index(
            "ix_squidmesh_runs_child", "parent_run_id", "child_key", unique=True, **_where("parent_run_id IS NOT NULL")
        ),
        sa.Index("ix_squidmesh_runs_created", "created_at", "id"),
        sa.Index("ix_squidmesh_runs_status", "status", "created_at", "id", "needs"),
        sa.Index("ix_squidmesh_runs_workflow", "workflow", "status", "created_at", "id", "needs"),
        sa.Index("ix_squidmesh_runs_subject", "subject", postgresql_ops={"subject": "varchar_pattern_ops"}),
        sa.Index(
            "ix_squidmesh_runs_needs",
            "needs",
            "needs_since",
            "id",
            "status",
            "workflow",
            "needs_due_at",
            "created_at",
            "tenant",
            **_where("needs IS NOT NULL"),
        ),
        sa.Index(
            "ix_squidmesh_runs_failed",
            "needs_since",
            "id",
            "error_fingerprint",
            "tenant",
            "workflow",
            **_where("needs = 'failed'"),
        ),
        sa.Index(
            "ix_squidmesh_runs_error",
            "error_fingerprint",
            "created_at",
            "id",
            **_where("error_fingerprint IS NOT NULL"),
        ),
        sa.Index(
            "ix_squidmesh_runs_failures",
            "finished_at",
            "id",
            "error_fingerprint",
            "needs",
            "workflow",
            "tenant",
            **_where("status = 'failed'"),
        ),
        sa.Index(
            "ix_squidmesh_runs_outcome",
            "outcome",
            "created_at",
            "id",
            "workflow",
            "tenant",
            **_where("outcome IS NOT NULL"),
        ),
        sa.Index(
            "ix_squidmesh_runs_cancel",
            "cancel_key",
            "cancel_event",
            "tenant",
            **_where("cancel_key IS NOT NULL AND finished_at IS NULL"),
        ),
        sa.Index("ix_squidmesh_runs_undoing", "workflow", **_where("compensation IN ('requested', 'running')")),
        sa.Index("ix_squidmesh_runs_replayed_from", "replayed_from_id", **_where("replayed_from_id IS NOT NULL")),
        sa.Index(
            "ix_squidmesh_runs_tenant",
            "tenant",
            "status",
            "created_at",
            "id",
            "needs",
            "workflow",
            **_where("tenant <> ''"),
        ),
        sa.Index(
            "ix_squidmesh_runs_tenant_finished",
            "tenant",
            "workflow",
            "status",
            "finished_at",
            "id",
            **_where("finished_at IS NOT NULL AND tenant <> ''"),
        ),
        sa.Index(
            "ix_squidmesh_runs_finished",
            "workflow",
            "status",
            "finished_at",
            "id",
            **_where("finished_at IS NOT NULL"),
        ),
    )


class StepRun(Base):
    """One visit of a run to a step, or one compensation of such a visit.

    `sees` is the run's position when the visit was made: it binds outputs up to there, whichever attempt it is.
    `position` is where its own output stands. `missing` counts dependencies that have not completed.
    `settings` holds for this visit whatever is deployed later; `decision` the targets of an open manual step.
    """

    __tablename__ = "squidmesh_step_runs"

    id: Mapped[str] = mapped_column(Id)
    run_id: Mapped[str] = mapped_column(Id)
    kind: Mapped[str] = mapped_column(Word)
    step: Mapped[str] = mapped_column(Name)
    visit: Mapped[int] = mapped_column()
    status: Mapped[str] = mapped_column(Word)
    sees: Mapped[int] = mapped_column(server_default=sa.text("0"))
    position: Mapped[int | None] = mapped_column()
    missing: Mapped[int] = mapped_column(server_default=sa.text("0"))
    attempts: Mapped[int] = mapped_column(server_default=sa.text("0"))
    abandoned: Mapped[int] = mapped_column(server_default=sa.text("0"))
    settings: Mapped[JsonObject] = mapped_column(Json)
    input: Mapped[JsonObject | None] = mapped_column(Json)
    output: Mapped[JsonObject | None] = mapped_column(Json)
    error: Mapped[JsonObject | None] = mapped_column(Json)
    failure: Mapped[JsonObject | None] = mapped_column(Json)
    recovery: Mapped[str | None] = mapped_column(Word)
    decision: Mapped[JsonObject | None] = mapped_column(Json)
    manual: Mapped[JsonObject | None] = mapped_column(Json)
    due_at: Mapped[datetime | None] = mapped_column(Timestamp)
    decide_by: Mapped[datetime | None] = mapped_column(Timestamp)
    created_at: Mapped[datetime] = mapped_column(Timestamp)
    started_at: Mapped[datetime | None] = mapped_column(Timestamp)
    finished_at: Mapped[datetime | None] = mapped_column(Timestamp)

    __table_args__ = (
        sa.PrimaryKeyConstraint("id", name=conv("pk_squidmesh_step_runs")),
        _run_id("squidmesh_step_runs"),
        sa.UniqueConstraint("run_id", "kind", "step", "visit", name=conv("uq_squidmesh_step_runs_visit")),
    )


class OpenWait(Base):
    """One open wait for people or for an event, at a visit: by what it is found. It goes when the wait ends.

    What is asked stands with the visit. `for_all` says that it is nobody's and of no group, so that everybody is asked.
    `event_name`, `event_key`: the event that is awaited, and `accept` who takes it. Such waits are in no list of what
    people are asked, so that the indexes of those leave them out.
    """

    __tablename__ = "squidmesh_waits"

    step_run_id: Mapped[str] = mapped_column(Id)
    run_id: Mapped[str] = mapped_column(Id)
    tenant: Mapped[str] = _tenant()
    workflow: Mapped[str] = mapped_column(Name)
    step: Mapped[str] = mapped_column(Name)
    kind: Mapped[str] = mapped_column(Word)
    assignee: Mapped[str | None] = mapped_column(Name)
    for_all: Mapped[bool] = mapped_column()
    due_at: Mapped[datetime | None] = mapped_column(Timestamp)
    opened_at: Mapped[datetime] = mapped_column(Timestamp)
    event_name: Mapped[str | None] = mapped_column(Name)
    event_key: Mapped[str | None] = mapped_column(Key)
    accept: Mapped[str | None] = mapped_column(Word)

    __table_args__ = (
        sa.PrimaryKeyConstraint("step_run_id", name=conv("pk_squidmesh_waits")),
        _run_id("squidmesh_waits"),
        sa.ForeignKeyConstraint(
            ["step_run_id"], ["squidmesh_step_runs.id"], name=conv("fk_squidmesh_waits_step_run_id"), ondelete="CASCADE"
        ),
        sa.Index(
            "ix_squidmesh_waits_assignee",
            "assignee",
            "due_at",
            "opened_at",
            "step_run_id",
            "tenant",
            "workflow",
            **_where("assignee IS NOT NULL AND event_key IS NULL"),
        ),
        sa.Index(
            "ix_squidmesh_waits_for_all",
            "due_at",
            "opened_at",
            "step_run_id",
            "tenant",
            "workflow",
            **_where("for_all AND assignee IS NULL"),
        ),
        sa.Index(
            "ix_squidmesh_waits_due",
            "due_at",
            "opened_at",
            "step_run_id",
            "tenant",
            "workflow",
            **_where("event_key IS NULL"),
        ),
        sa.Index(
            "ix_squidmesh_waits_event",
            "event_key",
            "event_name",
            "tenant",
            "opened_at",
            "step_run_id",
            **_where("event_key IS NOT NULL"),
        ),
        sa.Index("ix_squidmesh_waits_run", "run_id"),
    )


class WaitGroup(Base):
    """One group whose an open wait is."""

    __tablename__ = "squidmesh_wait_groups"

    step_run_id: Mapped[str] = mapped_column(Id)
    name: Mapped[str] = mapped_column(Name)

    __table_args__ = (
        sa.PrimaryKeyConstraint("step_run_id", "name", name=conv("pk_squidmesh_wait_groups")),
        sa.ForeignKeyConstraint(
            ["step_run_id"],
            ["squidmesh_waits.step_run_id"],
            name=conv("fk_squidmesh_wait_groups_step_run_id"),
            ondelete="CASCADE",
        ),
        sa.Index("ix_squidmesh_wait_groups_name", "name", "step_run_id"),
    )


class ReceivedEvent(Base):
    """One event that came from outside, kept for SQUIDMESH_EVENT_RETENTION.

    `event_id` is the sender's name for it, else its own id. `fingerprint` tells another one under the same name.
    `seen_at` is when it was first seen committed, from which its age counts: a host's transaction may have taken long.
    """

    __tablename__ = "squidmesh_events"

    id: Mapped[str] = mapped_column(Id)
    tenant: Mapped[str] = _tenant()
    name: Mapped[str] = mapped_column(Name)
    key: Mapped[str] = mapped_column(Key)
    event_id: Mapped[str] = mapped_column(Key)
    payload: Mapped[JsonObject] = mapped_column(Json)
    fingerprint: Mapped[str] = mapped_column(sa.String(64))
    actor: Mapped[JsonValue] = mapped_column(Json)
    sent_at: Mapped[datetime] = mapped_column(Timestamp)
    seen_at: Mapped[datetime | None] = mapped_column(Timestamp)

    __table_args__ = (
        sa.PrimaryKeyConstraint("id", name=conv("pk_squidmesh_events")),
        sa.Index("ix_squidmesh_events_event_id", "event_id", "name", "tenant", unique=True),
        sa.Index("ix_squidmesh_events_key", "key", "name", "tenant", "sent_at", "id"),
        sa.Index("ix_squidmesh_events_sent", "sent_at", "id", "tenant", "name"),
        sa.Index("ix_squidmesh_events_name", "name", "sent_at", "id", "tenant"),
    )


class EventTake(Base):
    """What became of an event: a wait took it, or it started or cancelled a run. The insert decides who takes it.

    `taken_by` is the wait's step run, or the run that was started or cancelled. `sole`: nobody else may take it. It
    outlives the run, so it has no foreign key to it.
    """

    __tablename__ = "squidmesh_event_takes"

    event: Mapped[str] = mapped_column(Id)
    taken_by: Mapped[str] = mapped_column(Id)
    kind: Mapped[str] = mapped_column(Word)
    run_id: Mapped[str] = mapped_column(Id)
    step: Mapped[str | None] = mapped_column(Name)
    visit: Mapped[int | None] = mapped_column()
    sole: Mapped[bool] = mapped_column()
    at: Mapped[datetime] = mapped_column(Timestamp)

    __table_args__ = (
        sa.PrimaryKeyConstraint("event", "taken_by", name=conv("pk_squidmesh_event_takes")),
        sa.ForeignKeyConstraint(
            ["event"], ["squidmesh_events.id"], name=conv("fk_squidmesh_event_takes_event"), ondelete="CASCADE"
        ),
        sa.Index("ix_squidmesh_event_takes_sole", "event", unique=True, **_where("sole")),
        sa.Index("ix_squidmesh_event_takes_run", "run_id", "at"),
    )


class Attempt(Base):
    """One ended attempt. An attempt that is still running is the claim on its dispatch."""

    __tablename__ = "squidmesh_attempts"

    step_run_id: Mapped[str] = mapped_column(Id)
    number: Mapped[int] = mapped_column()
    status: Mapped[str] = mapped_column(Word)
    worker: Mapped[str | None] = mapped_column(Name)
    error: Mapped[JsonObject | None] = mapped_column(Json)
    started_at: Mapped[datetime] = mapped_column(Timestamp)
    finished_at: Mapped[datetime] = mapped_column(Timestamp)

    __table_args__ = (
        sa.PrimaryKeyConstraint("step_run_id", "number", name=conv("pk_squidmesh_attempts")),
        sa.ForeignKeyConstraint(
            ["step_run_id"],
            ["squidmesh_step_runs.id"],
            name=conv("fk_squidmesh_attempts_step_run_id"),
            ondelete="CASCADE",
        ),
    )


class Dispatch(Base):
    """The intent to deliver a step, a compensation or a cron activation, or to do internal work; see the file's top.

    Internal work is of the kinds `timer`, which is of a wait, `reminder`, which is of a step that takes long,
    `deadline`, which is of a run, and `match`, which is of a wait for an event, of an event, or of a run that an event
    cancels. It is in no queue ('') and is handed over to nobody: every worker and every relay does what is due of it.
    It runs no step. A reminder has the id of its visit and no `step_run_id`, so that whatever is done with the work of
    the visit, which is delivered, taken back and tried again, leaves it alone.
    Only a cron activation and the matching of an event keep a payload here; that of the others follows from the step
    run. What was taken from a dead worker keeps `claimed_at` until it is claimed again, by which it is found.
    """

    __tablename__ = "squidmesh_dispatches"

    id: Mapped[str] = mapped_column(Id)
    kind: Mapped[str] = mapped_column(Word)
    run_id: Mapped[str | None] = mapped_column(Id)
    step_run_id: Mapped[str | None] = mapped_column(Id)
    payload: Mapped[JsonObject | None] = mapped_column(Json)
    queue: Mapped[str] = mapped_column(Name)
    due_at: Mapped[datetime] = mapped_column(Timestamp)
    claim_id: Mapped[str | None] = mapped_column(Id)
    claimed_by: Mapped[str | None] = mapped_column(Name)
    claimed_at: Mapped[datetime | None] = mapped_column(Timestamp)
    relay_at: Mapped[datetime] = mapped_column(Timestamp)
    hand_overs: Mapped[int] = mapped_column(server_default=sa.text("0"))
    hand_over_error: Mapped[str | None] = mapped_column(sa.Text)
    held: Mapped[str | None] = mapped_column(sa.Text)
    created_at: Mapped[datetime] = mapped_column(Timestamp)

    __table_args__ = (
        sa.PrimaryKeyConstraint("id", name=conv("pk_squidmesh_dispatches")),
        _run_id("squidmesh_dispatches"),
        sa.ForeignKeyConstraint(
            ["step_run_id"],
            ["squidmesh_step_runs.id"],
            name=conv("fk_squidmesh_dispatches_step_run_id"),
            ondelete="CASCADE",
        ),
        sa.UniqueConstraint("step_run_id", "kind", name=conv("uq_squidmesh_dispatches_step_run_id")),
        sa.Index("ix_squidmesh_dispatches_due", "queue", "due_at"),
        sa.Index("ix_squidmesh_dispatches_relay", "queue", "relay_at"),
        sa.Index(
            "ix_squidmesh_dispatches_obstructed",
            "relay_at",
            **_where("hand_over_error IS NOT NULL OR held IS NOT NULL OR relay_at = due_at"),
        ),
        sa.Index("ix_squidmesh_dispatches_run", "run_id"),
        sa.Index("ix_squidmesh_dispatches_claim", "claim_id", **_where("claim_id IS NOT NULL")),
        sa.Index("ix_squidmesh_dispatches_given_up", "due_at", **_where("claim_id IS NULL AND claimed_at IS NOT NULL")),
    )


class AuditEvent(Base):
    """What somebody or something decided, with or without a run. `actor_id` finds what one person did.

    `tenant`, `workflow`: those of the run, else of what it concerns; None for what concerns several or all. What is
    done again and again, as a refused attempt, is one row by its `repeat_key`: `times` counts, `last_at` is the latest.
    """

    __tablename__ = "squidmesh_audit_events"

    id: Mapped[int] = mapped_column(Serial)
    run_id: Mapped[str | None] = mapped_column(Id)
    tenant: Mapped[str | None] = mapped_column(Name, server_default=sa.text("''"))
    workflow: Mapped[str | None] = mapped_column(Name)
    type: Mapped[str] = mapped_column(sa.String(40))
    step: Mapped[str | None] = mapped_column(Name)
    visit: Mapped[int | None] = mapped_column()
    actor: Mapped[JsonValue] = mapped_column(Json)
    actor_id: Mapped[str | None] = mapped_column(Name)
    comment: Mapped[str | None] = mapped_column(sa.Text)
    data: Mapped[JsonObject | None] = mapped_column("metadata", Json)
    at: Mapped[datetime] = mapped_column(Timestamp)
    times: Mapped[int] = mapped_column(server_default=sa.text("1"))
    last_at: Mapped[datetime | None] = mapped_column(Timestamp)
    repeat_key: Mapped[str | None] = mapped_column(sa.String(64))

    __table_args__ = (
        sa.PrimaryKeyConstraint("id", name=conv("pk_squidmesh_audit_events")),
        _run_id("squidmesh_audit_events"),
        sa.Index("ix_squidmesh_audit_events_repeated", "repeat_key", unique=True, **_where("repeat_key IS NOT NULL")),
        sa.Index("ix_squidmesh_audit_events_run", "run_id", "id"),
        sa.Index("ix_squidmesh_audit_events_at", "at", "id"),
        sa.Index("ix_squidmesh_audit_events_type", "type", "id"),
        sa.Index("ix_squidmesh_audit_events_tenant", "tenant", "id", **_where("tenant <> ''")),
        sa.Index("ix_squidmesh_audit_events_actor", "actor_id", "id", **_where("actor_id IS NOT NULL")),
    )


class ControlCall(Base):
    """The answer a control call gave, by its idempotency key. `fingerprint` tells who called, and with what."""

    __tablename__ = "squidmesh_control_calls"

    run_id: Mapped[str] = mapped_column(Id)
    call: Mapped[str] = mapped_column(Word)
    key: Mapped[str] = mapped_column(Key)
    fingerprint: Mapped[str] = mapped_column(sa.String(64))
    answer: Mapped[JsonObject] = mapped_column(Json)
    at: Mapped[datetime] = mapped_column(Timestamp)

    __table_args__ = (
        sa.PrimaryKeyConstraint("run_id", "call", "key", name=conv("pk_squidmesh_control_calls")),
        _run_id("squidmesh_control_calls"),
    )


class StartKey(Base):
    """The run that an idempotency key started. It outlives the run, so it has no foreign key.

    `pruned_at`: when the run was deleted; the key is remembered for SQUIDMESH_KEY_RETENTION from then on.
    """

    __tablename__ = "squidmesh_start_keys"

    workflow: Mapped[str] = mapped_column(Name)
    tenant: Mapped[str] = _tenant()
    key: Mapped[str] = mapped_column(Key)
    run_id: Mapped[str] = mapped_column(Id)
    payload_fingerprint: Mapped[str] = mapped_column(sa.String(64))
    at: Mapped[datetime] = mapped_column(Timestamp)
    pruned_at: Mapped[datetime | None] = mapped_column(Timestamp)

    __table_args__ = (
        sa.PrimaryKeyConstraint("workflow", "tenant", "key", name=conv("pk_squidmesh_start_keys")),
        sa.Index("ix_squidmesh_start_keys_run", "run_id"),
        sa.Index("ix_squidmesh_start_keys_pruned", "pruned_at", **_where("pruned_at IS NOT NULL")),
    )


class Process(Base):
    """The beat of a worker or a relay."""

    __tablename__ = "squidmesh_processes"

    id: Mapped[str] = mapped_column(Name)
    kind: Mapped[str] = mapped_column(Word)
    queue: Mapped[str] = mapped_column(Name)
    threads: Mapped[int] = mapped_column()
    started_at: Mapped[datetime] = mapped_column(Timestamp)
    seen_at: Mapped[datetime] = mapped_column(Timestamp)

    __table_args__ = (
        sa.PrimaryKeyConstraint("id", name=conv("pk_squidmesh_processes")),
        _one_of("squidmesh_processes", "kind", ("worker", "relay")),
        sa.Index("ix_squidmesh_processes_seen", "seen_at"),
    )


class Queue(Base):
    """How far a queue has come: when a dispatch of it was last taken, and when the youngest of those was due.

    It is written now and then by whoever takes work, so that the relay can tell a long queue from a lost hand-over.
    """

    __tablename__ = "squidmesh_queues"

    queue: Mapped[str] = mapped_column(Name)
    taken_at: Mapped[datetime | None] = mapped_column(Timestamp)
    taken_upto: Mapped[datetime | None] = mapped_column(Timestamp)

    __table_args__ = (sa.PrimaryKeyConstraint("queue", name=conv("pk_squidmesh_queues")),)


class Schedule(Base):
    """What is remembered of a cron trigger: whether it is paused, and when it last fired. Its runs have its `tenant`.

    `resumed_at`: windows from before then are left out. `fired_at`: the time of the last start, `fired_window`: the
    latest window that was started, which a start by hand leaves as it is. `expressions`: since when workers have seen
    it with which expression. `queued`: windows that wait until a run of it has ended. `left_out`: the latest windows
    that were not started, and why. A workflow with aliases has a row for each of its names, so that processes from
    before a rename, which know the old name alone, go by the same memory.
    """

    __tablename__ = "squidmesh_schedules"

    workflow: Mapped[str] = mapped_column(Name)
    trigger: Mapped[str] = mapped_column(Name)
    tenant: Mapped[str] = _tenant()
    paused_at: Mapped[datetime | None] = mapped_column(Timestamp)
    resumed_at: Mapped[datetime | None] = mapped_column(Timestamp)
    fired_at: Mapped[datetime | None] = mapped_column(Timestamp)
    fired_window: Mapped[datetime | None] = mapped_column(Timestamp)
    last_run_id: Mapped[str | None] = mapped_column(Id)
    expressions: Mapped[JsonObject | None] = mapped_column(Json)
    queued: Mapped[list[JsonObject] | None] = mapped_column(Json)
    left_out: Mapped[list[JsonObject] | None] = mapped_column(Json)

    __table_args__ = (sa.PrimaryKeyConstraint("workflow", "trigger", "tenant", name=conv("pk_squidmesh_schedules")),)


class OutboxEntry(Base):
    """One thing to be told to one receiver of a subscription; see `outbox_entries`.

    `subject`, `number`: of what, and by which revision of the run, so that nothing is written twice. `step_run_id` may
    be of a visit that was never made. While it is open `due_at` is when it is tried next, or the claim on it expires.
    """

    __tablename__ = "squidmesh_outbox"

    id: Mapped[str] = mapped_column(Id)
    kind: Mapped[str] = mapped_column(sa.String(40))
    subscription: Mapped[str] = mapped_column(Name)
    receiver: Mapped[str] = mapped_column(Name)
    is_addressed: Mapped[bool] = mapped_column()
    subject: Mapped[str] = mapped_column(Name)
    number: Mapped[int] = mapped_column(sa.BigInteger)
    run_id: Mapped[str | None] = mapped_column(Id)
    step_run_id: Mapped[str | None] = mapped_column(Id)
    tenant: Mapped[str | None] = mapped_column(Name)
    workflow: Mapped[str | None] = mapped_column(Name)
    step: Mapped[str | None] = mapped_column(Name)
    visit: Mapped[int | None] = mapped_column()
    data: Mapped[JsonObject | None] = mapped_column(Json)
    tries: Mapped[int] = mapped_column(server_default=sa.text("0"))
    error: Mapped[str | None] = mapped_column(sa.Text)
    claim_id: Mapped[str | None] = mapped_column(Id)
    claimed_by: Mapped[str | None] = mapped_column(Name)
    happened_at: Mapped[datetime] = mapped_column(Timestamp)
    due_at: Mapped[datetime] = mapped_column(Timestamp)
    give_up_at: Mapped[datetime] = mapped_column(Timestamp)
    ended_at: Mapped[datetime | None] = mapped_column(Timestamp)
    outcome: Mapped[str | None] = mapped_column(Word)

    __table_args__ = (
        sa.PrimaryKeyConstraint("id", name=conv("pk_squidmesh_outbox")),
        _run_id("squidmesh_outbox"),
        sa.UniqueConstraint(
            "subject", "kind", "number", "subscription", "receiver", name=conv("uq_squidmesh_outbox_subject")
        ),
        sa.Index("ix_squidmesh_outbox_due", "subscription", "due_at", **_where("ended_at IS NULL")),
        sa.Index("ix_squidmesh_outbox_run", "run_id"),
        sa.Index("ix_squidmesh_outbox_ended", "ended_at", "outcome", **_where("ended_at IS NOT NULL")),
        sa.Index("ix_squidmesh_outbox_failed", "ended_at", "id", "tenant", "workflow", **_where("outcome = 'failed'")),
    )


class BulkJob(Base):
    """One action on many runs: what was asked, by whom, and how far it is.

    `tenant`, `workflow`: those of its runs, None where they have several. `held_until`: until when the process that
    works at it keeps others away.
    """

    __tablename__ = "squidmesh_bulk_jobs"

    id: Mapped[str] = mapped_column(Id)
    tenant: Mapped[str | None] = mapped_column(Name)
    workflow: Mapped[str | None] = mapped_column(Name)
    action: Mapped[str] = mapped_column(Word)
    status: Mapped[str] = mapped_column(Word)
    actor: Mapped[JsonValue] = mapped_column(Json)
    comment: Mapped[str | None] = mapped_column(sa.Text)
    selection: Mapped[JsonObject] = mapped_column(Json)
    results: Mapped[JsonObject] = mapped_column(Json)
    held_until: Mapped[datetime | None] = mapped_column(Timestamp)
    created_at: Mapped[datetime] = mapped_column(Timestamp)
    finished_at: Mapped[datetime | None] = mapped_column(Timestamp)

    __table_args__ = (
        sa.PrimaryKeyConstraint("id", name=conv("pk_squidmesh_bulk_jobs")),
        _one_of("squidmesh_bulk_jobs", "status", ("pending", "running", "completed", "cancelled")),
        sa.Index("ix_squidmesh_bulk_jobs_created", "created_at", "id"),
    )


def _table(owner: type[Base]) -> sa.Table:
    return cast(sa.Table, owner.__table__)


runs = _table(WorkflowRun)
step_runs = _table(StepRun)
waits = _table(OpenWait)
wait_groups = _table(WaitGroup)
events = _table(ReceivedEvent)
event_takes = _table(EventTake)
attempts = _table(Attempt)
dispatches = _table(Dispatch)
audit_events = _table(AuditEvent)
control_calls = _table(ControlCall)
start_keys = _table(StartKey)
processes = _table(Process)
queues = _table(Queue)
schedules = _table(Schedule)
outbox = _table(OutboxEntry)
bulk_jobs = _table(BulkJob)
