"""What can be done with each of many runs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from ..engine.actions import NextAction, Refusal, action_facts, decision_token, judge, open_decisions
from ..engine.facts import RunFact, StepFact
from ..store import loading
from ..store.scope import Scope
from ..store.summaries import SUMMARY_COLUMNS, RunSummary, summary_of
from ..store.tables import Run, step_runs
from ..workflow.registry import Registry
from .records import spec_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One run with its decision token and what can be done with it. decisions: what is asked, by step."""

    run: RunSummary
    token: str
    next_actions: tuple[NextAction, ...]
    refusals: tuple[Refusal, ...]
    decisions: Mapping[str, Mapping[str, object]]


def judged(connection: sa.Connection, registry: Registry, scope: Scope, run_ids: Sequence[str]) -> list[Judged]:
    """Those of the runs that exist, in the given order. Three queries."""
    facts = _run_facts(connection, scope, run_ids)
    summaries = connection.execute(sa.select(*SUMMARY_COLUMNS).where(Run.id.in_(list(facts)))).mappings()
    by_id = {row["id"]: summary_of(row) for row in summaries}
    rows: dict[str, list[StepFact]] = defaultdict(list)
    for row in loading.step_facts(connection, step_runs.c.run_id.in_(list(facts))):
        rows[row.run_id].append(row)
    present = [run_id for run_id in run_ids if run_id in facts and run_id in by_id]
    return [_judged(registry, by_id[run_id], facts[run_id], rows[run_id]) for run_id in present]


def _run_facts(connection: sa.Connection, scope: Scope, run_ids: Sequence[str]) -> dict[str, RunFact]:
    query = sa.select(*loading.RUN_COLUMNS).where(Run.id.in_(run_ids), *scope.within(Run))
    return {row["id"]: RunFact(**row) for row in connection.execute(query).mappings()}


def _judged(registry: Registry, run: RunSummary, fact: RunFact, rows: Sequence[StepFact]) -> Judged:
    spec = spec_of(registry, run.workflow)
    possible, refused = judge(action_facts(fact, rows, spec))
    return Judged(
        run=run,
        token=decision_token(run.status, open_decisions(rows, spec), run.replayed_as_id),
        next_actions=possible,
        refusals=refused,
        decisions={row.step: row.decision for row in rows if row.status == "paused" and row.decision},
    )
