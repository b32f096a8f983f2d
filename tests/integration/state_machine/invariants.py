"""What must hold of the stored rows and of the effects, whatever has happened."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

from flask_squidmesh.engine.adoption import OPEN
from flask_squidmesh.engine.kept_decisions import EVENT, LISTED
from flask_squidmesh.engine.transitions import RUN_MOVES, TERMINAL
from flask_squidmesh.engine.waits import next_timer
from flask_squidmesh.storage import tables
from tests.integration.state_machine.deploys import leads_to
from tests.integration.state_machine.operators import EVENTS
from tests.integration.state_machine.plans import WAIT_SECONDS, first_name
from tests.integration.state_machine.world import LEDGER, World
from tests.shop import check_rows

NOWHERE_TO_GO = ("MaxVisitsExceeded", "NoMatchingTransition")
TOOK_TOO_LONG = "DeadlinePassed"


class Watcher:
    """Looks at one world after everything that happens in it."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._statuses: dict[str, str] = {}
        self._announced = 0
        self._checked = 0

    def check(self) -> None:
        """Assert everything below, where anything was committed since."""
        world, rows = self._world, self._world.shop.rows
        if world.fate.commits == self._checked:
            return
        self._checked = world.fate.commits
        check_rows(world.shop)
        seen = Rows(rows(tables.runs), rows(tables.step_runs), rows(tables.attempts), rows(tables.dispatches))
        self._check_moves(seen)
        check_attempts(seen)
        check_times(seen)
        check_irreversible(seen, rows(tables.audit_events))
        check_effects(world, seen)
        check_definitions(world, seen)
        check_error_routes(seen)
        check_ledger(world, seen)
        check_compensations(seen)
        check_needs(seen)
        check_waits(seen, rows(tables.waits), rows(tables.wait_groups), rows(tables.dispatches))
        check_deadlines(seen, rows(tables.audit_events), rows(tables.dispatches))
        check_reminders(seen, rows(tables.audit_events), rows(tables.dispatches))
        check_takes(seen, rows(tables.event_takes))
        check_audit(world, seen)

    def _check_moves(self, seen: Rows) -> None:
        for move in self._world.moves[self._announced :]:
            assert move.after in RUN_MOVES[move.before], move  # type: ignore[index]
        self._announced = len(self._world.moves)
        for run_id, before in self._statuses.items():
            after = seen.runs[run_id].status
            assert after == before or after in reachable(before), (run_id, before, after)
        self._statuses = {run.id: run.status for run in seen.runs.values()}


class Rows:
    """All rows as one moment has left them. A replay's copies of completed visits are not among its visits."""

    def __init__(self, runs: Iterable[Any], step_runs: Iterable[Any], attempts: Iterable[Any], work: Iterable[Any]):
        self.runs = {run.id: run for run in runs}
        self.all = list(step_runs)
        self.visits = [row for row in self.all if row.created_at >= self.runs[row.run_id].created_at]
        self.outputs: dict[str, list[Any]] = defaultdict(list)
        for row in sorted((row for row in self.all if row.position), key=lambda row: row.position):
            self.outputs[row.run_id].append(row)
        self.attempts: dict[str, list[Any]] = defaultdict(list)
        for attempt in sorted(attempts, key=lambda row: row.number):
            self.attempts[attempt.step_run_id].append(attempt)
        self.claims = {row.step_run_id: row for row in work if row.claim_id is not None}

    def called(self, row: Any) -> tuple[str, str, str, int]:
        """What the visit is called in the effects."""
        return (row.run_id, row.kind, first_name(row.step), row.visit)


def reachable(status: str) -> set[str]:
    """Where legal moves lead to in the end."""
    found: set[str] = set()
    waiting = [status]
    while waiting:
        onward = RUN_MOVES[waiting.pop()] - found  # type: ignore[index]
        found |= onward
        waiting += onward
    return found


def check_attempts(seen: Rows) -> None:
    """Every attempt that began has one row once it has ended, and until then one claim."""
    for row in seen.visits:
        ended = seen.attempts[row.id]
        numbers = [attempt.number for attempt in ended]
        assert numbers == list(range(1, len(numbers) + 1)), (row.step, numbers)
        assert (row.status == "running") == (row.id in seen.claims), (row.kind, row.step, row.status)
        assert "completed" not in [attempt.status for attempt in ended[:-1]], (row.step, numbers)
        if row.settings["kind"] not in ("pause", "approval", "decision", "event"):
            assert row.attempts == len(ended) + (row.id in seen.claims), (row.step, row.status, row.attempts, numbers)
            assert (row.status == "completed") == (_completed(ended) or _resolved(row)), (row.step, row.status)


def _completed(ended: list[Any]) -> bool:
    return bool(ended) and ended[-1].status == "completed"


def _resolved(row: Any) -> bool:
    return bool(row.manual) and row.manual["event"] == "resolved"


def check_times(seen: Rows) -> None:
    """Nobody is early: neither after a wait nor at the next attempt."""
    for row in seen.visits:
        ended = seen.attempts[row.id]
        if row.settings["kind"] == "wait" and ended:
            assert (ended[0].started_at - row.created_at).total_seconds() >= WAIT_SECONDS, row.step
        planned = [
            each for each in ended if each.status == "failed" and each.number < row.settings.get("max_attempts", 1)
        ]
        for each in planned if row.manual is None else ():
            paused = [(later.started_at - each.finished_at).total_seconds() for later in ended[each.number :]]
            assert not paused or paused[0] >= (row.settings.get("first") or 0), (row.step, each.number)


def check_irreversible(seen: Rows, events: Iterable[Any]) -> None:
    """An irreversible step is tried again only where it asked for it, or a person did; else a person has to look."""
    retried = Counter(_visit(event) for event in events if event.type == "retried")
    for row in seen.visits:
        if row.kind == "step" and row.settings.get("irreversible"):
            asked = [each for each in seen.attempts[row.id] if each.error and each.error["type"] == "RetryStep"]
            allowed = 1 + len(asked) + retried[_visit(row)]
            assert row.attempts <= allowed, (row.step, row.attempts, allowed)
            assert row.status != "failed" or _surely_failed(row, seen.attempts[row.id]), (row.step, row.error)


def _surely_failed(row: Any, ended: list[Any]) -> bool:
    """Whether the step itself said that it had no effect, or a person did."""
    said = bool(row.manual) and row.manual["event"] == "failed"
    return said or ended[-1].error["type"] in ("RetryStep", "FailStep")


def check_effects(world: World, seen: Rows) -> None:
    """Each attempt calls its function once, completed visits are not attempted again, and what one sees is fixed."""
    calls = world.effects.calls
    twice = [call for call, times in Counter((call.key, call.attempt) for call in calls).items() if times > 1]
    assert not twice, twice
    rows = {seen.called(row): row for row in seen.visits}
    keys = {(seen.called(call), call.key) for call in calls}
    assert len(keys) == len({called for called, _ in keys}), keys
    for call in calls:
        state = _state(seen, rows[seen.called(call)], call.above)
        assert call.saw == json.dumps(state, sort_keys=True), (call, state)
    attempted = {(*seen.called(call), call.attempt) for call in calls}
    for *called, number in attempted:
        row = rows[tuple(called)]  # type: ignore[index]
        assert number <= row.attempts, (called, number, row.attempts)
    for row in seen.visits:
        functional = row.kind == "compensation" or row.settings["kind"] == "function"
        for attempt in seen.attempts[row.id] if functional else ():
            assert attempt.status == "abandoned" or (*seen.called(row), attempt.number) in attempted, attempt


def _state(seen: Rows, row: Any, above: frozenset[str] | None) -> dict[str, Any]:
    """What every attempt of the visit must be given: the payload and what had completed when the visit was made."""
    state = dict(seen.runs[row.run_id].payload)
    for other in seen.outputs[row.run_id]:
        if other.position <= row.sees and (above is None or first_name(other.step) in above):
            state |= other.output
    return state


def check_definitions(world: World, seen: Rows) -> None:
    """A run ends as the definition has it that it followed, goes only where a version leads, and fails by a step."""
    for run in seen.runs.values():
        steps = [row for row in seen.all if row.run_id == run.id and row.kind == "step"]
        failed = any(row.status == "failed" for row in steps)
        assert run.status != "failed" or failed or run.error["type"] in (*NOWHERE_TO_GO, TOOK_TOO_LONG), (
            run.error,
            steps,
        )
        plan = world.plans[run.follows]
        done = {first_name(row.step) for row in steps if row.status == "completed"}
        if plan.style == "dependency":
            expected = {first_name(step.name) for step in plan.steps}
            assert run.status != "completed" or done >= expected, (expected, done)
            continue
        visits = sorted((row for row in seen.visits if row in steps), key=lambda row: row.created_at)
        way = [first_name(row.step) for row in visits] + ([""] if run.status == "completed" else [])
        for before, after in pairwise(way):
            assert any(after in leads_to(version, before) for version in world.versions_of(run)), (way, before, after)


def check_error_routes(seen: Rows) -> None:
    """What follows a failure is told of it."""
    failed = {(row.run_id, row.finished_at): row.error for row in seen.visits if row.status == "failed"}
    for row in seen.visits:
        if row.kind == "step":
            assert row.failure == failed.get((row.run_id, row.created_at), row.failure), row.step


def check_ledger(world: World, seen: Rows) -> None:
    """The host's row of a transaction step is there exactly where an attempt of it completed."""
    with world.shop.runtime.database.read() as connection:
        written = Counter((*_visit(row), row.attempt) for row in connection.execute(LEDGER.select()))
    expected = Counter(
        (*_visit(row), attempt.number)
        for row in seen.visits
        for attempt in seen.attempts[row.id]
        if row.kind == "step" and row.settings.get("transaction") and attempt.status == "completed"
    )
    assert written == expected, (written, expected)


def check_compensations(seen: Rows) -> None:
    """A failed run undoes every completed visit that can be undone, one after the other, newest first."""
    for run in seen.runs.values():
        rows = [row for row in seen.all if row.run_id == run.id]
        undoing = sorted((row for row in rows if row.kind == "compensation"), key=lambda row: row.settings["order"])
        undoable = {
            (row.step, row.visit)
            for row in rows
            if row.kind == "step" and row.status == "completed" and row.settings.get("compensate")
        }
        planned = [(row.step, row.visit) for row in undoing]
        assert len(planned) == len(set(planned))
        if run.status == "failed" or (run.status in ("cancelled", "completed") and run.compensation):
            assert set(planned) == undoable, (run.status, run.compensation, planned, undoable)
        else:
            assert not planned, (run.status, planned)
        positions = {(row.step, row.visit): row.position for row in rows if row.kind == "step"}
        for first, second in pairwise(undoing):
            together = first.created_at == second.created_at
            assert not together or positions[first.step, first.visit] > positions[second.step, second.visit], planned
        begun = [row.attempts > 0 for row in undoing]
        assert begun == sorted(begun, reverse=True), planned
        states = {row.status for row in undoing}
        assert run.compensation == _compensation_of(states, run), (run.status, run.compensation, states)


def _compensation_of(states: set[str], run: Any) -> str | None:
    if not states:
        return "requested" if run.status == "cancelling" and run.compensation else None
    if states & {"pending", "running"}:
        return "running"
    return "failed" if "failed" in states else "completed"


def check_needs(seen: Rows) -> None:
    """Whatever waits for a person is shown as waiting."""
    for run in seen.runs.values():
        paused = [row for row in seen.all if row.run_id == run.id and row.status == "paused"]
        asking = [row for row in paused if row.decision["kind"] != EVENT]
        assert run.needs or not asking, (run.status, [row.step for row in asking])
        assert bool(run.needs) == bool(run.needs_count), (run.needs, run.needs_count)
        if run.status == "failed" and not run.acknowledged_at and not run.replayed_as_id:
            assert run.needs in ("failed", "compensation_failed"), run.needs


def check_waits(seen: Rows, waits: Iterable[Any], groups: Iterable[Any], work: Iterable[Any]) -> None:
    """What is asked of people is listed as it is asked, and is due when something next happens to it by itself."""
    asked = {row.id: row.decision for row in seen.all if row.status == "paused" and row.decision["kind"] in LISTED}
    theirs = defaultdict(set)
    for group in groups:
        theirs[group.step_run_id].add(group.name)
    assert {wait.step_run_id: wait.assignee for wait in waits} == {
        key: kept.get("assignee") for key, kept in asked.items()
    }
    assert theirs == {key: {*kept["groups"]} for key, kept in asked.items() if kept.get("groups")}
    due = {row.step_run_id: row.due_at for row in work if row.kind == "timer" and row.held is None}
    held = {row.step_run_id for row in work if row.kind == "timer" and row.held is not None}
    expected = {key: at for key, kept in asked.items() if (at := next_timer(kept)) is not None}
    assert due == {key: at for key, at in expected.items() if key not in held}
    assert held <= expected.keys()


def check_deadlines(seen: Rows, events: Iterable[Any], work: Iterable[Any]) -> None:
    """The deadline of a run is due until it has acted or the run has ended, acts once, not early, and at no run that is
    over."""
    due = defaultdict(list)
    for row in work:
        if row.kind == "deadline":
            due[row.run_id].append(row)
    passed = defaultdict(list)
    for event in events:
        if event.type == "deadline_passed":
            passed[event.run_id].append(event)
    for run in seen.runs.values():
        acted, ahead = passed[run.id], due[run.id]
        assert len(acted) + len(ahead) <= 1, (run.status, acted, ahead)
        if run.status not in TERMINAL | {"cancelling"}:
            assert [each.due_at for each in ahead] == ([run.deadline_at] if run.deadline_at else []), run.status
        assert run.status not in TERMINAL or not ahead, run.status
        for event in acted:
            assert run.deadline_at <= event.at <= (run.finished_at or event.at), (run.deadline_at, event.at)
        failed_by_it = run.status == "failed" and run.error["type"] == TOOK_TOO_LONG
        assert not failed_by_it or acted, run.error


def check_reminders(seen: Rows, events: Iterable[Any], work: Iterable[Any]) -> None:
    """Of a step that takes long people are told once at each time, and of none that has ended."""
    told = Counter(_visit(event) for event in events if event.type == "overdue")
    due = {row.id: row for row in work if row.kind == "reminder"}
    timed = {row.id: row for row in seen.visits if row.settings["kind"] == "function" and row.decide_by is not None}
    assert due.keys() <= {key for key, row in timed.items() if row.status in OPEN}
    for key, row in timed.items():
        assert told[_visit(row)] + (key in due) <= 1, row.step
        going = seen.runs[row.run_id].status not in TERMINAL | {"cancelling"}
        if row.status in OPEN and going:
            assert told[_visit(row)] + (key in due) == 1, row.step
    for run in seen.runs.values():
        late = [row for row in timed.values() if row.run_id == run.id and row.status in OPEN]
        since = [row.decide_by for row in late]
        known = any(told[_visit(row)] for row in late)
        assert run.status in TERMINAL or run.overdue_since in (since if known else [None, *since]), run.overdue_since
        assert run.status not in TERMINAL or run.overdue_since is None


def check_takes(seen: Rows, takes: Iterable[Any]) -> None:
    """Each wait that an event has ended took one, and no two visits of a run's step took the same."""
    taken = {take.taken_by: (take.run_id, first_name(take.step), take.event) for take in takes}
    ended = {row.id for row in seen.visits if row.manual and row.manual["event"] == "received"}
    assert taken.keys() == ended
    assert len({*taken.values()}) == len(taken), taken


def check_audit(world: World, seen: Rows) -> None:
    """Every decision that was taken stands in the audit once, and so does every lost attempt."""
    events = world.shop.rows(tables.audit_events)
    told = Counter((event.run_id, event.type) for event in events if event.type in EVENTS)
    assert told == +world.decided, (told, world.decided)
    lost = Counter(
        _visit(row) for row in seen.visits for attempt in seen.attempts[row.id] if attempt.status == "abandoned"
    )
    assert Counter(_visit(each) for each in events if each.type == "abandoned") == lost
    asked = Counter(_visit(row) for row in seen.visits if _was_asked(row))
    assert Counter(_visit(each) for each in events if each.type == "paused") == asked


def _visit(row: Any) -> tuple[str, str, int]:
    """Which visit a row speaks of, whatever its step is called by now."""
    return (row.run_id, first_name(row.step), row.visit)


def _was_asked(row: Any) -> bool:
    return row.settings["kind"] in ("pause", "approval", "decision") and row.decision is not None


def held(world: World) -> bool:
    """Whether runs go on no more, each of which is at a step that the definition does not declare, and says so."""
    stopped = [run for run in world.shop.rows(tables.runs) if _is_open(run)]
    for run in stopped:
        known = {first_name(step.name) for step in world.versions_of(run)[-1].steps}
        rows = world.shop.rows(tables.step_runs, tables.step_runs.c.run_id == run.id)
        unknown = [row for row in rows if row.status in OPEN and first_name(row.step) not in known]
        assert unknown, world.shop.visits(run.id)
        explained = world.shop.mesh.explain_run(run.id)
        asked = unknown[0].status == "paused"
        assert asked or {"held", "definition_mismatch"} & explained.details.keys(), explained
    return bool(stopped)


def check_end(world: World) -> None:
    """Nothing is left to do, and every run has ended."""
    world.check_ended()
    assert not [run for run in world.shop.rows(tables.runs) if _is_open(run)]


def _is_open(run: Any) -> bool:
    return run.status not in TERMINAL or run.compensation in ("running", "requested")
