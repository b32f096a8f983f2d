"""Rows as the facts that deciding reads, and audit events as rows."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any, Final, cast

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from ..definition.spec import VisitSettings
from ..definition.values import fingerprint
from ..engine.error_records import FAILED_BY_OPERATOR
from ..engine.facts import RunFact, StepFact
from ..people import identity
from .compiled import Asked, Dialect, Prepared
from .tables import attempts, audit_events, runs, step_runs
from .write_statements import INSERTS

RUN_COLUMNS = [runs.c[name] for name in RunFact._fields]
STEP_COLUMNS = [step_runs.c[name] for name in StepFact._fields]


def run_fact(
    connection: sa.Connection,
    run_id: str,
    *conditions: sa.ColumnElement[bool],
    lock: bool = False,
    unless_locked: bool = False,
) -> RunFact | None:
    """The run, if it meets the conditions; with `lock` held until the transaction ends, so that one decision about it
    is taken at a time. unless_locked: None where another transaction holds it."""
    query = sa.select(*RUN_COLUMNS).where(runs.c.id == run_id, *conditions)
    if lock:  # for no key update: rows of others that refer to the run, as audit events do, are not kept waiting
        query = query.with_for_update(key_share=True, skip_locked=unless_locked)
    row = connection.execute(query).mappings().first()
    return RunFact(**row) if row else None


def step_facts(connection: sa.Connection, *conditions: sa.ColumnElement[bool]) -> list[StepFact]:
    """The step runs that meet the conditions, in the order they were made."""
    query = sa.select(*STEP_COLUMNS).where(*conditions).order_by(step_runs.c.created_at, step_runs.c.id)
    return [*map(step_fact, connection.execute(query))]


_SETTINGS_AT: Final = StepFact._fields.index("settings")


def step_fact(row: Sequence[Any]) -> StepFact:
    """The step run, of a row of STEP_COLUMNS."""
    values = [*row]
    values[_SETTINGS_AT] = VisitSettings.read(values[_SETTINGS_AT])
    return StepFact._make(values)


def open_steps(connection: sa.Connection, run_id: str) -> list[StepFact]:
    """The run's step runs that have not ended."""
    return step_facts(
        connection,
        step_runs.c.run_id == run_id,
        step_runs.c.kind == "step",
        step_runs.c.status.in_(("pending", "running", "paused")),
    )


def completed_steps(connection: sa.Connection, run_id: str) -> list[StepFact]:
    """The run's completed visits."""
    return step_facts(
        connection, step_runs.c.run_id == run_id, step_runs.c.kind == "step", step_runs.c.status == "completed"
    )


def compensations(connection: sa.Connection, run_id: str) -> list[StepFact]:
    """The run's compensations."""
    return step_facts(connection, step_runs.c.run_id == run_id, step_runs.c.kind == "compensation")


def joins(connection: sa.Connection, run_id: str, names: Collection[str]) -> dict[str, StepFact]:
    """The rows that count the dependencies of these steps."""
    if not names:
        return {}
    query, given = joins_asked(cast(Dialect, connection.dialect.name), run_id, names)
    return joins_of(query.rows(connection, given))


def joins_asked(dialect: Dialect, run_id: str, names: Collection[str]) -> Asked:
    """The query of `joins`."""
    given = {f"step_{number}": name for number, name in enumerate(names)}
    return _joins(dialect, len(given)), {"run": run_id, **given}


def joins_of(rows: Iterable[Sequence[Any]]) -> dict[str, StepFact]:
    """The rows of the query as what `joins` answers."""
    return {row.step: row for row in map(step_fact, rows)}


@cache
def _joins(dialect: Dialect, number: int) -> Prepared:
    steps = [sa.bindparam(f"step_{place}", type_=step_runs.c.step.type) for place in range(number)]
    query = sa.select(*STEP_COLUMNS).where(
        step_runs.c.run_id == sa.bindparam("run"),
        step_runs.c.kind == sa.literal_column("'step'"),
        sa.or_(*(step_runs.c.step == step for step in steps)),
        step_runs.c.visit == sa.literal_column("1"),
    )
    return Prepared(query, dialect)


def visits(connection: sa.Connection, run_id: str, names: Collection[str]) -> dict[str, int]:
    """How often the run has entered these steps."""
    if not names:
        return {}
    query = (
        sa.select(step_runs.c.step, sa.func.max(step_runs.c.visit).label("visits"))
        .where(step_runs.c.run_id == run_id, step_runs.c.kind == "step", step_runs.c.step.in_(names))
        .group_by(step_runs.c.step)
    )
    return {row.step: row.visits for row in connection.execute(query)}


def outputs(
    connection: sa.Connection,
    run_id: str,
    *,
    sees: int,
    keys: Collection[str] | None = None,
) -> dict[str, Any]:
    """The outputs that a visit may see, merged, newest wins; see `outputs_of`."""
    merged: dict[str, Any] = {}
    for _, output in outputs_of(connection, run_id, sees=sees, keys=keys):
        merged.update(output)
    return merged if keys is None else {key: merged[key] for key in keys if key in merged}


def outputs_of(
    connection: sa.Connection,
    run_id: str,
    *,
    sees: int,
    keys: Collection[str] | None = None,
    steps: Iterable[str] | None = None,
) -> list[tuple[str, Mapping[str, Any]]]:
    """The steps whose outputs a visit may see, each with its output, the oldest first.

    sees: the visit's position. keys: only outputs that hold one of them are read. steps: only theirs are visible, by
    the name that the visit has or that it was entered under, of which the one that is asked for is answered.
    """
    if sees == 0 or (keys is not None and not keys):
        return []
    entered_as = step_runs.c.settings["entered_as"].as_string()
    query = (
        sa.select(step_runs.c.step, entered_as.label("entered_as"), step_runs.c.output)
        .where(
            step_runs.c.run_id == run_id,
            step_runs.c.position <= sees,
            step_runs.c.output.is_not(None),
        )
        .order_by(step_runs.c.position)
    )
    names = None if steps is None else frozenset(steps)
    if names is not None:
        query = query.where(sa.or_(step_runs.c.step.in_(names), entered_as.in_(names)))
    if keys is not None:
        query = query.where(_holds_any(connection, keys))
    rows = connection.execute(query)
    return [(row.step if names is None or row.step in names else row.entered_as, row.output) for row in rows]


def _holds_any(connection: sa.Connection, keys: Collection[str]) -> sa.ColumnElement[bool]:
    wanted = sorted(keys)
    if connection.dialect.name == "postgresql":
        return sa.func.jsonb_exists_any(
            step_runs.c.output, sa.cast(wanted, postgresql.ARRAY(sa.Text)), type_=sa.Boolean
        )
    items = sa.func.json_each(step_runs.c.output).table_valued("key")
    return sa.exists(sa.select(sa.literal(1)).select_from(items).where(items.c.key.in_(wanted)))


def was_given_up(connection: sa.Connection, step_run_id: str, number: int) -> bool:
    """Whether a person has ended this attempt, without an outcome of its own."""
    of_attempt = sa.and_(attempts.c.step_run_id == step_run_id, attempts.c.number == number)
    row = connection.execute(sa.select(attempts.c.status, attempts.c.error).where(of_attempt)).first()
    return row is not None and row.status == "abandoned" and (row.error or {}).get("code") == FAILED_BY_OPERATOR


def deciders(connection: sa.Connection, run_id: str, steps: Collection[str]) -> frozenset[str]:
    """The ids of the people who have decided at these steps of the run."""
    query = sa.select(step_runs.c.manual).where(
        step_runs.c.run_id == run_id, step_runs.c.step.in_(steps), step_runs.c.manual.is_not(None)
    )
    found = (identity(manual.get("actor")) for manual in connection.scalars(query))
    return frozenset(person for person in found if person is not None)


def returned_keys(connection: sa.Connection, step_run_ids: Collection[str]) -> frozenset[str]:
    """The keys of what these visits returned."""
    if not step_run_ids:
        return frozenset()
    query = sa.select(step_runs.c.output).where(step_runs.c.id.in_(step_run_ids), step_runs.c.output.is_not(None))
    return frozenset(key for output in connection.scalars(query) for key in output)


def payload_of(connection: sa.Connection, run_id: str) -> Mapping[str, Any]:
    """What the run was started with."""
    found: Mapping[str, Any] = connection.scalars(sa.select(runs.c.payload).where(runs.c.id == run_id)).one()
    return found


def decisions(rows: Sequence[StepFact]) -> list[StepFact]:
    """Those of the step runs that wait for a person."""
    return [row for row in rows if row.status == "paused" and not row.goes_on]


LONGEST_KEY: Final = 200


def actor_key(actor: Any) -> str | None:
    """What the events of one person are found by."""
    found = identity(actor)
    return found[:LONGEST_KEY] if found else None


def note(
    connection: sa.Connection,
    type: str,
    *,
    actor: Any,
    at: datetime,
    run_id: str | None = None,
    tenant: str | None = "",
    workflow: str | None = None,
    comment: str | None = None,
    data: Mapping[str, Any] | None = None,
) -> None:
    """Keep one event that no decision about a run brings with it, such as a refusal.

    tenant, workflow: what it concerns, None for several or all; of an event about a run those of the run.
    """
    said = {"actor": actor, "actor_id": actor_key(actor), "comment": comment, "metadata": dict(data or {})}
    concerned: dict[str, Any] = {"tenant": tenant, "workflow": workflow}
    if run_id is not None:
        concerned = _of_run(run_id)
    connection.execute(sa.insert(audit_events).values(run_id=run_id, type=type, at=at, **concerned, **said))


def note_again(
    connection: sa.Connection,
    type: str,
    *,
    actor: Any,
    at: datetime,
    run_id: str | None,
    tenant: str | None,
    what: Mapping[str, Any],
    data: Mapping[str, Any],
) -> None:
    """Keep one event that may come again and again: the second time it is counted, and its data are the latest.

    what: what makes it the same, beside its type, the actor and the run.
    """
    key = fingerprint([type, identity(actor), run_id, tenant, what])
    concerned: dict[str, Any] = {"tenant": tenant} if run_id is None else _of_run(run_id)
    said = {"actor": actor, "actor_id": actor_key(actor), "metadata": {**what, **data}, **concerned}
    insert = INSERTS[connection.dialect.name](audit_events).values(
        run_id=run_id, type=type, at=at, repeat_key=key, **said
    )
    connection.execute(
        insert.on_conflict_do_update(
            index_elements=["repeat_key"],
            index_where=audit_events.c.repeat_key.is_not(None),
            set_={
                "times": audit_events.c.times + 1,
                "last_at": at,
                "actor": insert.excluded.actor,
                "metadata": insert.excluded.metadata,
            },
        )
    )


def note_visit(
    connection: sa.Connection, type: str, *, run_id: str, step: str, visit: int, at: datetime, data: Mapping[str, Any]
) -> None:
    """Keep what became of a visit and nobody decided."""
    where = {"run_id": run_id, "step": step, "visit": visit, **_of_run(run_id)}
    connection.execute(sa.insert(audit_events).values(type=type, at=at, metadata=dict(data), **where))


def _of_run(run_id: str) -> dict[str, Any]:
    return {
        name: sa.select(runs.c[name]).where(runs.c.id == run_id).scalar_subquery() for name in ("tenant", "workflow")
    }
