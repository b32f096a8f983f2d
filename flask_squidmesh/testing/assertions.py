"""Assertions about a run, which say when they fail what the run did instead."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from uuid import UUID

import sqlalchemy as sa

from ..errors import ErrorRecord
from ..queries import explanation, run_snapshot
from ..queries.results import Explanation, Run, StepView
from ..runtime.runtime import Runtime, current_runtime
from ..storage.scope import Scope
from ..storage.tables import waits

RunId = UUID | str

LAST_LINES = 6


def assert_status(run_id: RunId, status: str) -> Run:
    """Assert the run's status, and return the run with its history."""
    run = _run(run_id)
    _check(run, run.status == status, f"expected the run to be {status}")
    return run


def assert_steps(run_id: RunId, expected: Mapping[str, str]) -> Run:
    """Assert the status of steps, by name, at their last visit; and return the run with its history.

    expected: as {"reserve": "completed", "review": "paused"}. Steps that are not named may be in any status; one that
    was not reached is "waiting".
    """
    run = _run(run_id)
    found = {step.step: step.status for step in run.steps or ()}
    wrong = [
        f"{name} {status} (it is {found.get(name, 'no step of the workflow')})"
        for name, status in expected.items()
        if found.get(name) != status
    ]
    _check(run, not wrong, f"expected {', '.join(wrong)}")
    return run


def assert_audit(run_id: RunId, expected: Sequence[str]) -> Run:
    """Assert the types of the run's audit events, all of them and in order; and return the run with its history.

    expected: as ["paused", "approved"].
    """
    run = _run(run_id)
    found = [event.type for event in run.audit_events or ()]
    _check(run, found == list(expected), f"expected the audit {list(expected)}, found {found}")
    return run


def assert_compensated(run_id: RunId, expected: Sequence[str]) -> Run:
    """Assert which steps were undone, all of them and in order; and return the run with its history.

    expected: names of steps, as ["authorize", "reserve"]. A compensation that failed does not count as done.
    """
    run = _run(run_id)
    undone = (each for each in run.step_runs or () if each.kind == "compensation" and each.status == "completed")
    found = [each.step for each in sorted(undone, key=lambda each: each.finished_at or each.created_at)]
    _check(run, found == list(expected), f"expected {list(expected)} to be undone, found {found}")
    return run


def assert_outcome(run_id: RunId, outcome: str | None) -> Run:
    """Assert that the run has completed with this outcome, and return the run with its history.

    outcome: the word of the `End` it came to, or "rejected", "timed_out" or "error_route"; None where it completed on
    its way.
    """
    run = _run(run_id)
    found = f"{run.status}{f' as {run.outcome}' if run.outcome else ''}"
    expected = f"completed{f' as {outcome}' if outcome else ''}"
    _check(run, found == expected, f"expected the run to be {expected}, found {found}")
    return run


def assert_assignee(run_id: RunId, assignee: str | None, *, step: str | None = None) -> Run:
    """Assert whose the run's open wait is, and return the run with its history.

    assignee: the person's id, None where it is nobody's in particular. step: which wait, where several are open.
    """
    run = _run(run_id)
    waiting = _open_waits(run.id)
    wanted = waiting if step is None else {name: whose for name, whose in waiting.items() if name == step}
    told = ", ".join(f"{name} to be {whose or 'nobody'}'s" for name, whose in waiting.items()) or "no open wait"
    place = f" at {step}" if step else ""
    _check(run, [*wanted.values()] == [assignee], f"expected one wait{place}, {assignee or 'nobody'}'s; found {told}")
    return run


def _open_waits(run_id: str) -> dict[str, str | None]:
    """Whose each open wait of the run is, by its step."""
    query = sa.select(waits.c.step, waits.c.assignee).where(waits.c.run_id == run_id).order_by(waits.c.opened_at)
    with current_runtime().database.read() as connection:
        return {row.step: row.assignee for row in connection.execute(query)}


def _run(run_id: RunId) -> Run:
    runtime = current_runtime()
    with runtime.database.read() as connection:
        return run_snapshot.inspect(connection, runtime.registry, Scope.all(), run_id, include_history=True)


def _check(run: Run, holds: bool, expectation: str) -> None:
    if not holds:
        raise AssertionError("\n".join([expectation, *_told(run, _explained(current_runtime(), run.id))]))


def _explained(runtime: Runtime, run_id: str) -> Explanation:
    with runtime.database.read() as connection:
        return explanation.explain(
            connection,
            runtime.registry,
            Scope.all(),
            run_id,
            now=runtime.clock.now(),
            claim_timeout=runtime.settings.claim_timeout,
        )


def _told(run: Run, explained: Explanation) -> Iterator[str]:
    """What the run did, for whoever reads the failure."""
    outcome = f" as {run.outcome}" if run.outcome else ""
    yield f"  {run.workflow} {run.id} ({run.subject}) is {run.status}{outcome}"
    yield f"  reason: {explained.reason}{f' at {explained.step}' if explained.step else ''}{_facts(explained.details)}"
    yield f"  steps: {_listed(_step(each) for each in run.steps or ())}"
    yield f"  audit: {_listed(event.type for event in run.audit_events or ())}"
    yield f"  can be done now: {_listed(explained.next_actions)}"
    if run.last_error is not None:
        yield f"  last error: {run.last_error['type']}: {run.last_error['message']}"
        yield from _traceback(run.last_error)


def _facts(details: Mapping[str, object]) -> str:
    facts = [f"{name}={value}" for name, value in details.items() if isinstance(value, str | int | float)]
    return f" ({', '.join(facts)})" if facts else ""


def _step(step: StepView) -> str:
    attempts = f" after {len(step.attempts)} attempts" if len(step.attempts) > 1 else ""
    return f"{step.step} {step.status}{attempts}"


def _listed(words: Iterable[object]) -> str:
    return ", ".join(str(word) for word in words) or "none"


def _traceback(error: ErrorRecord) -> Iterator[str]:
    lines = (error.get("traceback") or "").rstrip().splitlines()
    yield from (f"    {line}" for line in lines[-LAST_LINES:])
