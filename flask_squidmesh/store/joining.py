"""Acting after the commit of a transaction that is the caller's."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session, SessionTransaction, scoped_session

Then = Callable[[], None]

_KEY = "squidmesh_joined"

logger = logging.getLogger("flask_squidmesh")


@dataclass(slots=True)
class _Joined:
    """What waits for which transaction, and which transactions have committed."""

    waiting: dict[SessionTransaction, list[Then]] = field(default_factory=dict)
    committed: set[SessionTransaction] = field(default_factory=set)


def after_commit(session: Session | scoped_session[Any], then: Then) -> None:
    """Call `then` once the outermost transaction of the session has committed.

    What was asked for within a savepoint goes with it: kept when it is released, dropped when it is rolled back.
    """
    real = session() if isinstance(session, scoped_session) else session
    joined = real.info.get(_KEY)
    if joined is None:
        joined = real.info[_KEY] = _Joined()
        sa.event.listen(real, "after_commit", _committed)
        sa.event.listen(real, "after_transaction_end", _ended)
    present = real.get_nested_transaction() or real.get_transaction()
    assert present is not None, "the session has joined our statements, so it is in a transaction"
    joined.waiting.setdefault(present, []).append(then)


def _committed(session: Session) -> None:
    present = session.get_nested_transaction() or session.get_transaction()
    if present is not None:
        session.info[_KEY].committed.add(present)


def _ended(session: Session, transaction: SessionTransaction) -> None:
    joined: _Joined = session.info[_KEY]
    waiting = joined.waiting.pop(transaction, [])
    if transaction not in joined.committed:
        return
    joined.committed.discard(transaction)
    if transaction.parent is not None:
        joined.waiting.setdefault(transaction.parent, []).extend(waiting)
        return
    for then in waiting:
        try:
            then()
        except Exception:  # the caller's commit stands; the relay makes good what was not handed over
            logger.exception("squidmesh: what follows a commit failed")
