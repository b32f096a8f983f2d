"""What a step has left in its session that would be lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, Final

import sqlalchemy as sa
from psycopg.pq import TransactionStatus
from sqlalchemy.orm import Session

# Locking rows is no write, although it makes the transaction one that may write: it takes weaker locks of tables.
_HAS_WRITTEN: Final = sa.text(
    "SELECT pg_current_xact_id_if_assigned() IS NOT NULL AND EXISTS (SELECT FROM pg_locks WHERE pid = pg_backend_pid() "
    "AND locktype = 'relation' AND mode NOT IN ('AccessShareLock', 'RowShareLock'))"
)


class UncommittedError(Exception):
    """A step has ended and left rows in its session that were neither committed nor rolled back."""


class Uncommitted:
    """What is left in a session. It is lost unless something commits it before the session goes: a host's teardown."""

    def __init__(self, session: Session, left: str) -> None:
        self._left = left
        self.is_lost = True
        sa.event.listen(session, "after_commit", self._saved)

    def error(self, step: str) -> UncommittedError:
        """The error that the step fails with."""
        return UncommittedError(
            f"Step {step} left {self._left} in db.session without committing, so that they would be lost. "
            "Call db.session.commit() in the step, or declare it with Step(..., transaction=True), whose rows are "
            "committed together with its completion. Call db.session.rollback() where they are not wanted."
        )

    def _saved(self, _session: Session) -> None:
        self.is_lost = False


def left_in(session: Session) -> Uncommitted | None:
    """What the session holds that is not committed; None where it has only read."""
    if not session.is_active:
        return None
    pending = {
        "new": _named(session.new),
        "changed": _named(each for each in session.dirty if session.is_modified(each)),
        "deleted": _named(session.deleted),
    }
    found = [f"{how} {rows}" for how, rows in pending.items() if rows]
    if any(_has_written(connection) for connection in _connections(session)):
        found.append("rows that were sent to the database")
    return Uncommitted(session, ", ".join(found)) if found else None


def _named(rows: Iterable[object]) -> str:
    counted = Counter(type(row).__name__ for row in rows)
    return ", ".join(f"{name} ({number})" for name, number in sorted(counted.items()))


def _connections(session: Session) -> Iterator[sa.Connection]:
    """The connections of the session's transaction: one for each database that it has used."""
    transaction = session.get_transaction()
    used: dict[Any, tuple[Any, ...]] = getattr(transaction, "_connections", {})
    return iter({id(connection): connection for connection, *_ in used.values()}.values())


def _has_written(connection: sa.Connection) -> bool:
    driver: Any = connection.connection.driver_connection
    if connection.dialect.name == "sqlite":  # where the driver begins a transaction before the first write, not before
        return driver.isolation_level is not None and bool(driver.in_transaction)
    if connection.dialect.name != "postgresql" or driver.pgconn.transaction_status != TransactionStatus.INTRANS:
        return False
    return bool(connection.scalar(_HAS_WRITTEN))
