"""What every page tells besides its own content: how much needs a person, and whether anybody works."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final

import sqlalchemy as sa

from ..storage.scope import Scope
from ..storage.tables import Dispatch, Process, Timestamp
from ..storage.write_batch import NO_QUEUE
from . import open_waits
from .fleet import MOST, within
from .inbox import KINDS, counting
from .messages import counting_undelivered
from .open_waits import WaitReader, Whose, counted, given_of
from .operator_status import NOW, STUCK_AFTER, Query, UnionQuery, moments
from .results import Count, View
from .run_list import QUERIES_KEPT

_HEARD_SINCE: Final = sa.bindparam("heard_since", type_=Timestamp)
_LIVES: Final = sa.and_(Process.kind == "worker", Process.seen_at >= _HEARD_SINCE)


@dataclass(frozen=True, kw_only=True)
class FrameCounts(View):
    """needs: how much needs a person, by kind. waits: how much of it is asked of whom. undelivered: what nobody could
    be told. workers: how many live. due: work that is due and that nobody has, which is counted only where no worker
    lives.
    """

    needs: Mapping[str, Count]
    waits: Mapping[Whose, int]
    undelivered: Count
    workers: int
    due: Count

    @property
    def needing(self) -> int:
        """How much there is that the person can act on: what they and their groups are asked, and what went wrong."""
        return self.waits["mine"] + self.waits["groups"] + self.wrong

    @property
    def wrong(self) -> int:
        """How much went wrong."""
        return self.wrong_runs + self.undelivered.value

    @property
    def wrong_runs(self) -> int:
        """How many runs went wrong."""
        return sum(count.value for kind, count in self.needs.items() if kind not in ("decision", "resume"))


def frame_counts(
    connection: sa.Connection, scope: Scope, reader: WaitReader, *, now: datetime, silence: timedelta
) -> FrameCounts:
    """All of it, in one query. silence: after how long without a beat a worker counts as gone."""
    given = {**moments(now, STUCK_AFTER), "heard_since": now - silence, **given_of(reader)}
    query = _counted(scope, reader.id is not None, bool(reader.groups))
    found = {row.kind: row.number for row in connection.execute(query, given)}
    return FrameCounts(
        waits=counted(found),
        needs={kind: Count(value=found[kind]) for kind in KINDS},
        undelivered=Count(value=min(found["undelivered"], MOST), capped=found["undelivered"] > MOST),
        workers=found["workers"],
        due=Count(value=min(found["due"], MOST), capped=found["due"] > MOST),
    )


@lru_cache(QUERIES_KEPT)
def _counted(scope: Scope, known: bool, grouped: bool) -> UnionQuery:
    workers: Query = sa.select(sa.literal("workers"), sa.func.count()).select_from(Process.__table__).where(_LIVES)
    nobody = ~sa.exists().select_from(Process.__table__).where(_LIVES)
    due = Dispatch.queue != NO_QUEUE, Dispatch.claim_id.is_(None), Dispatch.due_at <= NOW, nobody, *within(scope)
    rows: Query = sa.select(sa.literal_column("1")).select_from(Dispatch.__table__).where(*due).limit(MOST + 1)
    return sa.union_all(
        *counting(scope),
        *open_waits.counting(scope, known, grouped),
        counting_undelivered(scope),
        workers,
        sa.select(sa.literal("due"), sa.func.count()).select_from(rows.subquery()),
    )
