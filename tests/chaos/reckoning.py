"""What it all came to: where every run is, and which effects happened how often."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from psycopg import Connection, Cursor
from psycopg.rows import namedtuple_row

from .workflows import expected

_RUNS: Final = """
SELECT id::text, workflow, status, compensation, (payload->>'number')::int AS number FROM squidmesh_runs
"""
_VISITS: Final = "SELECT id::text, run_id::text, kind, step, visit, status, settings FROM squidmesh_step_runs"
_ATTEMPTS: Final = "SELECT step_run_id::text, number, status FROM squidmesh_attempts"
_EFFECTS: Final = "SELECT run_id, kind, step, visit, attempt, key, policy FROM chaos_effects"
_BOOKINGS: Final = "SELECT run_id, step, visit FROM chaos_bookings"

EXPLAINED: Final = ("abandoned", "failed")
# An attempt is written when it ends: before its visit ended, one without a row may still be at work.
_ENDED: Final = ("completed", "failed", "cancelled")

Visit = tuple[str, str, str, int]


@dataclass
class Reckoning:
    """Violations by kind, and how many effects were had by attempts that were abandoned."""

    runs: int = 0
    misplaced: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    effects: int = 0
    repeated: int = 0
    abandoned: int = 0

    @property
    def is_clean(self) -> bool:
        return not (self.misplaced or self.lost or self.doubled)


def reckon(connection: Connection[Any], runs: int) -> Reckoning:
    """Look at all rows. runs: how many were started."""
    rows = _Rows(connection)
    found = Reckoning(runs=len(rows.runs), effects=len(rows.effects))
    found.abandoned = sum(status == "abandoned" for ended in rows.attempts.values() for status in ended.values())
    if len(rows.runs) != runs:
        found.misplaced.append(f"{len(rows.runs)} runs instead of {runs}")
    for run in rows.runs:
        found.misplaced += _misplaced(run, rows)
    for visit in rows.visits:
        found.lost += _lost(visit, rows)
        found.doubled += _doubled(visit, rows)
    found.doubled += [f"{key} is the key of several visits" for key in _shared_keys(rows)]
    found.repeated = sum(
        rows.attempts[visit.id].get(effect.attempt) == "abandoned"
        for visit in rows.visits
        for effect in rows.of_visit[_called(visit)]
    )
    return found


class _Rows:
    def __init__(self, connection: Connection[Any]) -> None:
        cursor: Cursor[Any] = connection.cursor(row_factory=namedtuple_row)
        self.runs: list[Any] = cursor.execute(_RUNS).fetchall()
        self.visits: list[Any] = cursor.execute(_VISITS).fetchall()
        self.effects: list[Any] = cursor.execute(_EFFECTS).fetchall()
        self.attempts: dict[str, dict[int, str]] = defaultdict(dict)
        for row in cursor.execute(_ATTEMPTS):
            self.attempts[row.step_run_id][row.number] = row.status
        self.bookings = Counter((row.run_id, "step", row.step, row.visit) for row in cursor.execute(_BOOKINGS))
        self.of_visit: dict[Visit, list[Any]] = defaultdict(list)
        for effect in self.effects:
            self.of_visit[_called(effect)].append(effect)
        self.of_run: dict[str, list[Any]] = defaultdict(list)
        for visit in self.visits:
            self.of_run[visit.run_id].append(visit)


def _called(row: Any) -> Visit:
    return (row.run_id, row.kind, row.step, row.visit)


def _misplaced(run: Any, rows: _Rows) -> Iterator[str]:
    wanted = expected(run.workflow, run.number)
    steps = {row.step: row.status for row in rows.of_run[run.id] if row.kind == "step"}
    if (run.status, run.compensation, steps) != (wanted.status, wanted.compensation, dict(wanted.steps)):
        yield f"{run.workflow} {run.id} is {run.status}, compensation {run.compensation}, steps {steps}"


def _lost(visit: Any, rows: _Rows) -> Iterator[str]:
    """What completed, or said that it failed, has had its effect."""
    if visit.settings["kind"] != "function" and visit.kind == "step":
        return
    if visit.settings.get("transaction"):
        happened = rows.bookings[_called(visit)]
    else:
        happened = len(rows.of_visit[_called(visit)])
    if visit.status in ("completed", "failed") and not happened:
        yield f"{visit.kind} {visit.step} of run {visit.run_id} is {visit.status} without its effect"


def _doubled(visit: Any, rows: _Rows) -> Iterator[str]:
    """Only an attempt that was abandoned or failed explains an effect beside the one of the attempt that counts."""
    called = _called(visit)
    times = rows.bookings[called]
    if times > (visit.status == "completed"):
        yield f"transaction step {visit.step} of run {visit.run_id} is {visit.status} and has {times} rows"
    effects, ended = rows.of_visit[called], rows.attempts[visit.id]
    if visit.settings.get("irreversible") and len(effects) > 1:
        yield f"irreversible step {visit.step} of run {visit.run_id} had its effect {len(effects)} times"
    per_attempt = Counter(effect.attempt for effect in effects)
    for number, times in per_attempt.items():
        if times > 1 or (number not in ended and visit.status in _ENDED):
            state = ended.get(number)
            yield f"attempt {number} of {visit.step} of run {visit.run_id} is {state} and had {times} effects"
    unexplained = [number for number in per_attempt if ended.get(number) not in EXPLAINED]
    if len(unexplained) > 1:
        yield f"attempts {unexplained} of {visit.step} of run {visit.run_id} all had their effect"


def _shared_keys(rows: _Rows) -> list[str]:
    used: dict[str, set[Visit]] = defaultdict(set)
    for effect in rows.effects:
        used[effect.key].add(_called(effect))
    of_visit: dict[Visit, set[str]] = defaultdict(set)
    for effect in rows.effects:
        of_visit[_called(effect)].add(effect.key)
    several = [str(keys) for keys in of_visit.values() if len(keys) > 1]
    return [key for key, visits in used.items() if len(visits) > 1] + several
