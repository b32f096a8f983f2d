"""The only door to the store: what the pages read, through `reading`, and the refusals they leave behind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from ..reading import listing
from ..reading.filters import Filters as Selection
from ..reading.inspection import inspect
from ..reading.views import Count, Run, RunPage
from ..reading.words import stuck_among, word_of
from ..runtime.runtime import current_runtime
from ..store.summaries import RunSummary
from ..store.tables import AuditEvent


@dataclass(frozen=True, slots=True)
class WordedRun:
    """A run and the word that operators have for its state."""

    run: RunSummary
    word: str


@dataclass(frozen=True, slots=True)
class WordedPage:
    """One page of a list. `next` is the cursor for the following page, None on the last."""

    runs: tuple[WordedRun, ...]
    next: str | None


def needs_count() -> int:
    """How many runs need a person."""
    with _connected() as connection:
        counted = listing.counts(connection, needs=True)
    return sum(count.value for count in counted.values())


def runs_page(selection: Selection, *, size: int, after: str | None) -> WordedPage:
    """One page of runs, newest first. Raises FilterError."""
    with _connected() as connection:
        page = listing.list_runs(connection, limit=size, after=after, **selection)
        return WordedPage(_worded(connection, page), page.next)


def word_counts(selection: Selection) -> Mapping[str, Count]:
    """How many runs each word has. Raises FilterError."""
    limit = current_runtime().config.dashboard.count_limit
    with _connected() as connection:
        return listing.word_counts(connection, limit=limit, now=current_runtime().clock.now(), **selection)


def run(run_id: str) -> Run:
    """The run with its history. Raises RunNotFoundError."""
    with _connected() as connection:
        return inspect(connection, current_runtime().registry, run_id, include_history=True)


def workflows() -> list[str]:
    """The names of the registered workflows."""
    return sorted(spec.name for spec in current_runtime().registry)


def record_refusal(run_id: str | None, action: str, actor: Any, reason: str) -> None:
    """Keep in the audit that somebody tried what they may not do."""
    with current_runtime().database.write() as connection:
        connection.execute(
            sa.insert(AuditEvent).values(
                run_id=run_id,
                type="refused",
                actor=actor,
                data={"action": action, "reason": reason},
                at=current_runtime().clock.now(),
            )
        )


def _worded(connection: sa.Connection, page: RunPage) -> tuple[WordedRun, ...]:
    now = current_runtime().clock.now()
    stuck = stuck_among(connection, list(page.runs), now)
    return tuple(WordedRun(run, word_of(run, now, stuck=run.id in stuck)) for run in page.runs)


@contextmanager
def _connected() -> Iterator[sa.Connection]:
    with current_runtime().database.read() as connection:
        yield connection
