"""Who is known of: those who hold what waits for people, and those who have lately decided something."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

import sqlalchemy as sa

from ..people import has_id
from ..storage.scope import MOST_APART, Scope
from ..storage.tables import AuditEvent, OpenWait
from .operator_status import Query
from .run_list import QUERIES_KEPT

MOST_PEOPLE: Final = 200
RECENT: Final = 500
DECIDED: Final = ("approved", "rejected", "decided", "resumed", "assigned")


def known_people(connection: sa.Connection, scope: Scope) -> dict[str, Any]:
    """The actors by their ids, as they are on record: the id itself for who has only been given something.

    At most 200 who hold open waits, and as many who decided last, of the last 500 of each kind of decision or, in a
    scope of tenants, of the last 500 events of each. One query, whose parts are each read by an index.
    """
    found: dict[str, Any] = {}
    for id, actor in connection.execute(_known(scope)):
        if actor is None or has_id(actor):
            found[id] = actor or found.get(id) or id
    return found


@lru_cache(QUERIES_KEPT)
def _known(scope: Scope) -> sa.CompoundSelect[Any, Any]:
    nobody = sa.type_coerce(sa.null(), AuditEvent.__table__.c.actor.type)
    held = _holders(scope)
    return sa.union_all(sa.select(held.c.id, nobody).where(held.c.id.is_not(None)), _deciders(scope))


def _holders(scope: Scope) -> sa.CTE:
    """From one to the next in the order of the index of assignees, however many waits each of them holds."""
    within = scope.within(OpenWait)
    first = sa.select(sa.func.min(OpenWait.assignee).label("id"), sa.literal(1).label("number"))
    held = first.where(OpenWait.assignee.is_not(None), *within).cte("held", recursive=True)
    following = sa.select(sa.func.min(OpenWait.assignee)).where(OpenWait.assignee > held.c.id, *within)
    more = sa.select(following.scalar_subquery(), held.c.number + 1)
    return held.union_all(more.where(held.c.id.is_not(None), held.c.number < MOST_PEOPLE))


def _deciders(scope: Scope) -> Query:
    """Each with their last decision, in which they have the name that they go by now."""
    events = [_last(*conditions) for conditions in _sources(scope)]
    ids = sa.union_all(*(sa.select(each) for each in events)).subquery()
    last = (
        sa.select(sa.func.max(AuditEvent.id).label("last"))
        .join(ids, ids.c.id == AuditEvent.id)
        .where(AuditEvent.actor_id.is_not(None), AuditEvent.type.in_(DECIDED), *scope.within(AuditEvent))
        .group_by(AuditEvent.actor_id)
        .order_by(sa.func.max(AuditEvent.id).desc())
        .limit(MOST_PEOPLE)
        .subquery()
    )
    return sa.select(AuditEvent.actor_id, AuditEvent.actor).join(last, last.c.last == AuditEvent.id)


def _sources(scope: Scope) -> list[tuple[sa.ColumnElement[bool], ...]]:
    """What is read of the audit, by which index: of type, or of tenant where those are few."""
    if scope.tenants is None or len(scope.tenants) > MOST_APART:
        return [(AuditEvent.type == type,) for type in DECIDED]
    return Scope(tenants=scope.tenants).apart(AuditEvent)


def _last(*conditions: sa.ColumnElement[bool]) -> sa.Subquery:
    return sa.select(AuditEvent.id).where(*conditions).order_by(AuditEvent.id.desc()).limit(RECENT).subquery()
