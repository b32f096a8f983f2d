"""Runs that others only name: their parents, children and replays, as far as the person may view them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import sqlalchemy as sa

from ..reading import listing
from ..reading.views import Run, RunHistory
from ..store.summaries import RunSummary
from .access import current_scope, may

TIES = ("parent_run_id", "replayed_from_id", "replayed_as_id")
Tied = TypeVar("Tied", bound=RunSummary)


def refused(connection: sa.Connection, run_ids: Iterable[str | None]) -> set[str]:
    """Those of the runs that there are and that the person may not view."""
    named = sorted({id for id in run_ids if id is not None})
    return {id for id, run in listing.summaries(connection, current_scope(), named).items() if not may("view", run)}


def untied(connection: sa.Connection, runs: Sequence[RunSummary]) -> list[RunSummary]:
    """The runs without their ties to those that the person may not view."""
    hidden = refused(connection, (getattr(run, name) for run in runs for name in TIES))
    return [_untied(run, hidden) for run in runs]


def seen(connection: sa.Connection, run: Run) -> Run:
    """The run without those of its relatives that the person may not view."""
    named = {*(getattr(run, name) for name in TIES), *run.children, *run.replays}
    hidden = refused(connection, named.difference(run.pruned))
    if not hidden:
        return run
    children, replays = (tuple(id for id in ids if id not in hidden) for ids in (run.children, run.replays))
    kept = replace(_untied(run, hidden), children=children, replays=replays)
    return _without_events_of(kept, hidden) if isinstance(kept, RunHistory) else kept


def _untied(run: Tied, hidden: Collection[str]) -> Tied:
    ties: dict[str, Any] = {name: None for name in TIES if getattr(run, name) in hidden}
    if "parent_run_id" in ties:
        ties["parent_step"] = None
    return replace(run, **ties)


def _without_events_of(run: RunHistory, hidden: Collection[str]) -> RunHistory:
    """The run whose history does not say as which of these it was replayed."""

    def told(said: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
        return {**said, "run_id": None} if said and said.get("run_id") in hidden else said

    return replace(
        run,
        audit_events=tuple(replace(each, metadata=told(each.metadata)) for each in run.audit_events),
        timeline=tuple(replace(each, details=told(each.details)) for each in run.timeline),
    )
