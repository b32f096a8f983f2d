"""What a life came to, to be compared with the undisturbed one, and what must hold of every end."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from flask_squidmesh.engine.transitions import TERMINAL
from flask_squidmesh.notices import PASSING
from flask_squidmesh.storage import tables
from tests.integration.state_machine.invariants import (
    Rows,
    check_attempts,
    check_compensations,
    check_error_routes,
    check_irreversible,
    check_needs,
)
from tests.shop import check_rows

from .stage import Stage

RECOVERY: Final = ("abandoned", "interrupted", "retried", "resolved")
NEW_EACH_TIME: Final = ("at", "decided_at", "received_at", "intended_window", "bulk")

Visit = tuple[str, str, int, str]


@dataclass(frozen=True)
class RunEnd:
    """Where one run stands, but for times, ids and numbers of attempts."""

    workflow: str
    trigger: str
    status: str
    outcome: str | None
    needs: str | None
    compensation: str | None
    is_child: bool
    is_replay: bool
    was_replayed: bool
    actor: str
    error: str | None
    outputs: str
    visits: tuple[Visit, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class End:
    """Where all runs stand, what stands in the audit, how often each visit had its effect, and who was told of what."""

    runs: tuple[RunEnd, ...]
    audit: Counter[tuple[str, str | None, int | None]]
    effects: Counter[tuple[str, str, str, int]]
    policies: Mapping[tuple[str, str, str, int], str]
    abandoned: Counter[tuple[str, str, str, int]]
    told: frozenset[tuple[str, str | None, str]] = frozenset()


def end_of(stage: Stage) -> End:
    """Look at what there is, once it holds what must always hold."""
    with stage.shop.app.app_context():
        _check(stage)
        names = _names(stage)
        called = [((names[each.run_id], *each.called[1:]), each.policy) for each in stage.effects.all]
        lost = [
            (names[row.run_id], row.kind, row.step, row.visit)
            for row in stage.shop.rows(tables.step_runs)
            for attempt in stage.shop.rows(tables.attempts, tables.attempts.c.step_run_id == row.id)
            if attempt.status == "abandoned"
        ]
        return End(
            runs=tuple(sorted((_run_end(stage, run_id) for run_id in names), key=repr)),
            audit=Counter((row.type, row.step, row.visit) for row in stage.shop.rows(tables.audit_events)),
            effects=Counter(visit for visit, _ in called),
            policies=dict(called),
            abandoned=Counter(lost),
            told=frozenset(each[:3] for each in stage.told if each.kind not in PASSING),
        )


def differences(end: End, undisturbed: End) -> list[str]:
    """How an end with one death differs from the undisturbed one beyond what that death explains."""
    found = []
    if end.runs != undisturbed.runs:
        found.append(f"runs: {_differing(end.runs, undisturbed.runs)}")
    missing = undisturbed.audit - end.audit
    missing -= Counter({event: 1 for event in missing if event[0] in RECOVERY})
    beyond = [event for event in end.audit - undisturbed.audit if event[0] not in RECOVERY]
    if missing or beyond:
        found.append(f"audit: missing {dict(missing)}, beyond {beyond}")
    found += _effects_lost(end, undisturbed) + _effects_doubled(end, undisturbed)
    if end.told != undisturbed.told:
        found.append(f"told: missing {undisturbed.told - end.told}, beyond {end.told - undisturbed.told}")
    return found


def _effects_lost(end: End, undisturbed: End) -> list[str]:
    return [f"effect lost: {visit}" for visit in undisturbed.effects if not end.effects[visit]]


def _effects_doubled(end: End, undisturbed: End) -> list[str]:
    """Only an ordinary step may have its effect again, and only where an attempt was abandoned."""
    found = []
    for visit, times in end.effects.items():
        allowed = undisturbed.effects[visit]
        if end.policies[visit] == "ordinary":
            allowed += max(0, end.abandoned[visit] - undisturbed.abandoned[visit])
        if end.policies[visit] != "transaction" and times > allowed:
            found.append(f"effect doubled: {visit} happened {times} times, {allowed} allowed")
    return found


def _check(stage: Stage) -> None:
    shop = stage.shop
    check_rows(shop)
    seen = Rows(*(shop.rows(table) for table in (tables.runs, tables.step_runs, tables.attempts, tables.dispatches)))
    check_attempts(seen)
    check_irreversible(seen, shop.rows(tables.audit_events))
    check_error_routes(seen)
    check_compensations(seen)
    check_needs(seen)
    assert all(run.status in TERMINAL for run in seen.runs.values()), [run.status for run in seen.runs.values()]
    _check_told(stage)
    keys = defaultdict(set)
    for each in stage.effects.all:
        keys[each.called].add(each.key)
    assert all(len(used) == 1 for used in keys.values()), keys
    assert [str(finding) for finding in shop.runtime.doctor.examine()] == []
    twice = [call for call, n in Counter((e.called, e.attempt) for e in stage.effects.all).items() if n > 1]
    assert not twice, twice


def _check_told(stage: Stage) -> None:
    """Whoever is told something again is told it under the same id, and nobody is asked for what has ended."""
    late = [each for each in stage.told if each.kind in PASSING and not each.is_open]
    assert not late, late
    entries = {row.id: row for row in stage.shop.rows(tables.outbox)}
    assert {each.id for each in stage.told} <= entries.keys()
    told = {each.id for each in stage.told}
    missed = [row for row in entries.values() if row.outcome == "delivered" and row.id not in told]
    assert not missed, missed
    ended = [(row.outcome, row.error) for row in entries.values() if row.outcome not in ("addressed", "delivered")]
    assert all(outcome == "dropped" for outcome, _ in ended), ended
    ids = defaultdict(set)
    for each in stage.told:
        if each.kind not in PASSING and each.kind != "decision.timed_out":
            ids[each[:3]].add(each.id)
    assert all(len(each) == 1 for each in ids.values()), ids


def _names(stage: Stage) -> dict[str, str]:
    """Each run by what it is, which stays the same from life to life."""
    names: dict[str, str] = {}
    for run in stage.runs:
        inspected = stage.shop.look(run.id)
        kind = "replay of " if run.replayed_from_id else ("child " if run.parent_run_id else "")
        names[run.id] = f"{kind}{run.workflow} {json.dumps(_timeless(inspected.payload), sort_keys=True)}"
    return names


def _run_end(stage: Stage, run_id: str) -> RunEnd:
    run = stage.shop.look(run_id)
    rows = [(row.kind, row.step, row.visit, row.status) for row in run.step_runs or ()]
    return RunEnd(
        workflow=run.workflow,
        trigger=run.trigger,
        status=run.status,
        outcome=run.outcome,
        needs=run.needs.kind if run.needs else None,
        compensation=run.compensation,
        is_child=run.parent_run_id is not None,
        is_replay=run.replayed_from_id is not None,
        was_replayed=run.replayed_as_id is not None,
        actor=str(run.actor),
        error=f"{run.last_error['type']}: {run.last_error['message']}" if run.last_error else None,
        outputs=json.dumps(_timeless(run.context), sort_keys=True),
        visits=tuple(sorted(rows)),
        notes=tuple(sorted(note for noted, note in stage.notes if noted == run_id)),
    )


def _timeless(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _timeless(each) for key, each in value.items() if key not in NEW_EACH_TIME}
    if isinstance(value, list):
        return [_timeless(each) for each in value]
    return value


def _differing(ended: tuple[RunEnd, ...], expected: tuple[RunEnd, ...]) -> str:
    if len(ended) != len(expected):
        return f"{len(ended)} instead of {len(expected)}"
    return "; ".join(
        f"{name} {getattr(mine, name)!r} instead of {getattr(theirs, name)!r}"
        for mine, theirs in zip(ended, expected, strict=True)
        for name in RunEnd.__dataclass_fields__
        if getattr(mine, name) != getattr(theirs, name)
    )
