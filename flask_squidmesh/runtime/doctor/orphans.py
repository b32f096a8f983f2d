"""Rows that belong to nothing: dispatches without work, start keys without runs, what foreign keys did not catch."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import sqlalchemy as sa

from ...storage.tables import Base, dispatches, outbox, runs, start_keys, step_runs
from ...storage.write_batch import BEGINNING, MATCH
from .case import Finding, RowDeletion, RowUpdate


def orphans(connection: sa.Connection, now: datetime) -> Iterator[Finding]:
    """All of them."""
    yield from _dispatches(connection)
    yield from _start_keys(connection, now)
    yield from _outbox(connection, now)
    if connection.dialect.name == "sqlite":
        yield from _orphans(connection)


def _dispatches(connection: sa.Connection) -> Iterator[Finding]:
    """Dispatches are few: those that are outstanding."""
    joined = dispatches.outerjoin(step_runs, step_runs.c.id == dispatches.c.step_run_id)
    belongs = (step_runs.c.run_id == dispatches.c.run_id) & (step_runs.c.kind == dispatches.c.kind)
    whole = sa.case(
        (dispatches.c.kind == "cron", dispatches.c.payload.is_not(None)),
        (dispatches.c.kind == "timer", step_runs.c.run_id == dispatches.c.run_id),
        (dispatches.c.kind == "reminder", _of_a_visit()),
        (dispatches.c.kind == MATCH, _is_match()),
        (dispatches.c.kind.in_(("deadline", BEGINNING)), _is_of_run()),
        else_=belongs,
    )
    wanted = sa.select(dispatches.c.id, dispatches.c.run_id, dispatches.c.kind).select_from(joined)
    for row in connection.execute(wanted.where(whole.is_not(sa.true()))):
        yield Finding(
            rule="stray",
            run_id=row.run_id,
            found=f"the dispatch {row.id} of kind {row.kind} leads to no work of that kind",
            expected="a step run of its run, the run itself, or the payload of a cron activation",
            mend=RowDeletion(says="deletes the dispatch", table=dispatches, where=dispatches.c.id == row.id),
        )


def _of_a_visit() -> sa.ColumnElement[bool]:
    mine = (step_runs.c.id == dispatches.c.id) & (step_runs.c.run_id == dispatches.c.run_id)
    return sa.exists(sa.select(1).select_from(step_runs).where(mine).correlate(dispatches))


def _is_of_run() -> sa.ColumnElement[bool]:
    return dispatches.c.run_id.is_not(None) & dispatches.c.step_run_id.is_(None)


def _is_match() -> sa.ColumnElement[bool]:
    """Whether it is of an event, of a wait, or of a run, each of which says which."""
    of_event = dispatches.c.payload.is_not(None) & dispatches.c.run_id.is_(None)
    return of_event | _is_of_run() | (step_runs.c.run_id == dispatches.c.run_id)


def _start_keys(connection: sa.Connection, now: datetime) -> Iterator[Finding]:
    joined = start_keys.outerjoin(runs, runs.c.id == start_keys.c.run_id)
    wanted = sa.select(start_keys, runs.c.id.label("there")).select_from(joined)
    odd = runs.c.id.is_(None) == start_keys.c.pruned_at.is_(None)
    with connection.execute(wanted.where(odd), execution_options={"stream_results": True}) as found:
        for row in found:
            gone = row.there is None
            mine = sa.and_(*(start_keys.c[name] == getattr(row, name) for name in ("workflow", "tenant", "key")))
            yield Finding(
                rule="start_key",
                run_id=row.run_id,
                found=f"the start key {row.key!r} of {row.workflow} {'leads to no run' if gone else 'says pruned'}",
                expected="its run to be there" if gone else "its run to be gone",
                mend=RowUpdate(
                    says="marks the key as that of a pruned run" if gone else "takes the mark away",
                    table=start_keys,
                    where=mine,
                    values={"pruned_at": now if gone else None},
                ),
            )


def _outbox(connection: sa.Connection, now: datetime) -> Iterator[Finding]:
    """What is to be told either waits, or has ended with an outcome, and nobody holds it then."""
    ended = outbox.c.ended_at.is_not(None)
    odd = (ended != outbox.c.outcome.is_not(None)) | (ended & outbox.c.claim_id.is_not(None))
    for row in connection.execute(sa.select(outbox).where(odd)):
        yield Finding(
            rule="outbox",
            run_id=None,
            found=f"the notice {row.id} for {row.subscription!r} has neither ended nor does it wait to be told",
            expected="a time and an outcome of one that has ended, and no claim on it",
            mend=RowUpdate(
                says="has it told again",
                table=outbox,
                where=outbox.c.id == row.id,
                values={"ended_at": None, "outcome": None, "claim_id": None, "claimed_by": None, "due_at": now},
            ),
        )


def _orphans(connection: sa.Connection) -> Iterator[Finding]:
    """On SQLite a program that did not switch foreign keys on may have deleted runs and left the rest."""
    for table in Base.metadata.sorted_tables:
        for key in table.foreign_key_constraints:
            [column], [parent] = list(key.columns), [element.column for element in key.elements]
            orphaned = column.not_in(sa.select(parent)) & column.is_not(None)
            count = connection.scalar(sa.select(sa.func.count()).select_from(table).where(orphaned))
            if count:
                yield Finding(
                    rule="orphans",
                    run_id=None,
                    found=f"{count} rows of {table.name} belong to no row of {parent.table.name}",
                    expected="none",
                    mend=RowDeletion(says="deletes them", table=table, where=orphaned),
                )
