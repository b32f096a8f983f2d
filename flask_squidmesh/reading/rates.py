"""How a workflow fares: its last runs, how long they took, how many failed, and which definitions are at work."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import product
from math import ceil
from typing import Any

import sqlalchemy as sa

from ..engine.status import TERMINAL, UNFINISHED
from ..store.scope import Scope
from ..store.tables import Run
from .listing import CAPPED_WORDS
from .views import Count, View
from .words import OPERATOR_WORDS, moments, word_alternatives, word_condition

LAST = 30
MOST_COUNTED, AT_ONCE = 10_000, 450


@dataclass(frozen=True, kw_only=True)
class EndedRun(View):
    """One run that has ended. seconds: from its first step to its end, None where no step began."""

    id: str
    status: str
    seconds: float | None
    finished_at: datetime


@dataclass(frozen=True, kw_only=True)
class Version(View):
    """Unfinished runs of one definition. current: whether it is the one registered now."""

    version: str | None
    fingerprint: str
    runs: int
    current: bool


def last_runs(
    connection: sa.Connection, scope: Scope, workflows: Sequence[str], limit: int = LAST
) -> dict[str, list[EndedRun]]:
    """The runs of each workflow that ended last, the oldest of them first. One query for a hundred workflows."""
    parts = [
        _ended(name, status, limit).where(*of_tenant)
        for name in workflows
        for status in sorted(TERMINAL)
        for of_tenant in scope.apart(Run)
    ]
    found: dict[str, list[EndedRun]] = {name: [] for name in workflows}
    for row in _together(connection, [sa.select(part.subquery()) for part in parts]):
        seconds = (row["finished_at"] - row["started_at"]).total_seconds() if row["started_at"] else None
        ended = EndedRun(id=row["id"], status=row["status"], seconds=seconds, finished_at=row["finished_at"])
        found[row["workflow"]].append(ended)
    return {name: sorted(ended, key=lambda each: (each.finished_at, each.id))[-limit:] for name, ended in found.items()}


def word_counts_of(
    connection: sa.Connection, scope: Scope, workflows: Sequence[str], *, now: datetime, limit: int = MOST_COUNTED
) -> dict[str, dict[str, Count]]:
    """How many runs of each workflow every operator word has, those it has none of left out.

    Finished ones are counted up to the limit. One query for a hundred workflows.
    """
    found: dict[str, dict[str, int]] = {name: {} for name in workflows}
    ended = [query for name in workflows for word in CAPPED_WORDS for query in _ended_with(scope, name, word, limit)]
    for row in _together(connection, [*_open_by_word(scope, workflows), *ended], moments(now)):
        words = found[row["workflow"]]
        words[row["word"]] = words.get(row["word"], 0) + row["number"]
    return {
        name: {word: _count(words[word], limit, word in CAPPED_WORDS) for word in OPERATOR_WORDS if words.get(word)}
        for name, words in found.items()
    }


def _open_by_word(scope: Scope, workflows: Sequence[str]) -> list[sa.Select[Any]]:
    """Runs in progress, and those that have ended but for a step that was interrupted while it was undone."""
    words = [word for word in OPERATOR_WORDS if word not in CAPPED_WORDS]
    word = sa.case(*((word_condition(each), each) for each in words))
    unfinished = Run.status.in_(sorted(UNFINISHED))
    ended_but_needing = sa.and_(Run.status.in_(sorted(TERMINAL)), Run.needs.in_(("decision", "resume", "interrupted")))
    return [
        sa.select(Run.workflow.label("workflow"), word.label("word"), sa.func.count().label("number"))
        .where(Run.workflow.in_(workflows), which, *scope.within(Run))
        .group_by(Run.workflow, sa.literal_column("2"))
        for which in (unfinished, ended_but_needing)
    ]


def _ended_with(scope: Scope, workflow: str, word: str, limit: int) -> Iterator[sa.Select[Any]]:
    narrowed = [Run.status.in_(OPERATOR_WORDS[word])] if OPERATOR_WORDS[word] else []
    named: tuple[sa.ColumnElement[Any], ...] = (sa.literal(workflow).label("workflow"), sa.literal(word).label("word"))
    for alternative, of_tenant in product(word_alternatives(word), scope.apart(Run)):
        rows: sa.Select[Any] = sa.select(sa.literal_column("1").label("one")).select_from(Run.__table__)
        rows = rows.where(Run.workflow == workflow, *of_tenant, *narrowed, alternative).limit(limit + 1)
        yield sa.select(*named, _number_of(rows))


def _number_of(rows: sa.Select[Any]) -> sa.Label[int]:
    return sa.select(sa.func.count()).select_from(rows.subquery()).scalar_subquery().label("number")


def _count(number: int, limit: int, capped: bool) -> Count:
    return Count(value=min(number, limit), capped=number > limit) if capped else Count(value=number)


def _together(
    connection: sa.Connection, queries: Sequence[sa.Select[Any]], given: Mapping[str, Any] | None = None
) -> Iterator[sa.RowMapping]:
    """The rows of all of them; SQLite takes no more than 500 at once."""
    for start in range(0, len(queries), AT_ONCE):
        yield from connection.execute(sa.union_all(*queries[start : start + AT_ONCE]), given).mappings()


def percentile(runs: Sequence[EndedRun], share: float) -> float | None:
    """The seconds within which this share of the completed runs ended, by nearest rank; None where none has."""
    taken = sorted(run.seconds for run in runs if run.status == "completed" and run.seconds is not None)
    return taken[ceil(share * len(taken)) - 1] if taken else None


def ended_since(connection: sa.Connection, scope: Scope, workflow: str, since: datetime) -> dict[str, Count]:
    """How many runs of the workflow have ended since then, by status. One query."""
    queries = []
    for status in sorted(TERMINAL):
        ended = (
            sa.select(sa.literal_column("1").label("one"))
            .where(Run.workflow == workflow, Run.status == status, Run.finished_at >= since, *scope.within(Run))
            .limit(MOST_COUNTED + 1)
        ).subquery()
        queries.append(sa.select(sa.literal(status), sa.func.count()).select_from(ended))
    return {
        status: Count(value=min(number, MOST_COUNTED), capped=number > MOST_COUNTED)
        for status, number in connection.execute(sa.union_all(*queries))
    }


def versions(connection: sa.Connection, scope: Scope, workflow: str, fingerprint: str) -> list[Version]:
    """The definitions that unfinished runs of the workflow began with. One query."""
    query = (
        sa.select(Run.version, Run.fingerprint, sa.func.count().label("runs"))
        .where(Run.workflow == workflow, Run.status.in_(sorted(UNFINISHED)), *scope.within(Run))
        .group_by(Run.version, Run.fingerprint)
        .order_by(sa.desc("runs"))
    )
    rows = connection.execute(query).mappings()
    return [Version(**row, current=row["fingerprint"] == fingerprint) for row in rows]


def _ended(workflow: str, status: str, limit: int) -> sa.Select[*tuple[Any, ...]]:
    return (
        sa.select(Run.workflow, Run.id, Run.status, Run.started_at, Run.finished_at)
        .where(Run.workflow == workflow, Run.status == status, Run.finished_at.is_not(None))
        .order_by(Run.finished_at.desc(), Run.id.desc())
        .limit(limit)
    )
