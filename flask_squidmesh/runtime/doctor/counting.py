"""What the run's own row says, against the rows that it counts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ...engine.facts import asked_since
from ...engine.ledger import FAILURES, NEEDS_BY_DECISION
from ...store.tables import runs
from .case import Case
from .findings import Finding, Mend

RANKED = tuple(NEEDS_BY_DECISION.values())
LOOK = "Look at the run with inspect_run(id, include_history=True); cancel or replay it"


def counters(case: Case) -> Iterator[Finding]:
    """The counts of steps that go on, that wait for a retry, and that a dependency workflow has still to do."""
    yield from _counted(case, "open_steps", len(case.going), "steps that can go on")
    yield from _counted(case, "retrying_steps", len(case.retrying), "steps that wait for a retry")
    if case.spec and case.spec.style == "dependency" and not case.over and case.run.status != "cancelling":
        done = {row.step for row in case.steps if row.status == "completed"}
        left = {row.step for row in case.left}
        yield from _counted(
            case, "remaining", len(case.spec.steps.keys() - (done - left)), "steps that have not completed"
        )


def needs(case: Case) -> Iterator[Finding]:
    """What the run says that it needs of people, and the decisions that are open."""
    run = case.run
    to_note = run.needs in FAILURES
    count = len(case.asking) + to_note
    if run.needs_count == count and bool(run.needs) == bool(count):
        return
    values = {"needs_count": count, **({} if to_note else _needs_of(case))}
    yield Finding(
        rule="needs",
        run_id=run.id,
        found=f"the run says that it needs {run.needs or 'nobody'} ({run.needs_count})",
        expected=f"{count}: {len(case.asking)} decisions are open" + (" and a failure is to be noted" * to_note),
        mend=_own_row(case, "states anew what the run needs", values),
    )


def positions(case: Case) -> Iterator[Finding]:
    """Outputs stand at 1, 2, 3 and so on, up to the run's position, one for each completed visit."""
    found = sorted(row.position for row in case.rows if row.position is not None)
    if found != list(range(1, case.run.position + 1)):
        yield _odd(
            case, "positions", f"outputs stand at {found} and the run at {case.run.position}", "1, 2, 3 ... up to it"
        )
    for row in case.steps:
        if (row.position is not None) != (row.status == "completed"):
            where = "no position" if row.position is None else f"position {row.position}"
            yield _odd(case, "positions", f"{row.step}#{row.visit} is {row.status} and has {where}", "one if completed")
        if row.sees > case.run.position:
            seen = f"{row.step}#{row.visit} sees outputs up to {row.sees}, the run has {case.run.position}"
            yield _odd(case, "positions", seen, "what a visit sees to be there")


def status(case: Case) -> Iterator[Finding]:
    """The run's status, and what its steps are doing."""
    run, going, asking = case.run, len(case.going), len(case.asking)
    if case.over != (run.finished_at is not None):
        ended = "an" if run.finished_at else "no"
        yield _odd(case, "status", f"the run is {run.status} with {ended} end time", "an end time once it has ended")
    pending = [row for row in case.steps if row.status == "pending"]
    if case.over and pending:
        yield _odd(case, "status", f"the run is {run.status} and {len(pending)} steps are pending", "none to be")
    if case.left:
        return
    if not case.over and not going and not asking:
        yield _odd(
            case, "stuck", f"the run is {run.status} and no step is pending, running or paused", "one of them to be"
        )
    elif not case.over and not _fits(case):
        yield _odd(
            case,
            "status",
            f"the run is {run.status}; {going} steps go on, {len(case.retrying)} of them wait for a retry, "
            f"{asking} decisions are open",
            "a status that follows from them",
            "It is put right by the next thing that happens to the run",
        )


def _fits(case: Case) -> bool:
    match case.run.status:
        case "paused":
            return not case.going and bool(case.asking)
        case "retrying":
            return len(case.going) == len(case.retrying) > 0
        case "cancelling":
            return True
        case _:
            return bool(case.going)


def _needs_of(case: Case) -> dict[str, Any]:
    words = [NEEDS_BY_DECISION.get(str((row.decision or {}).get("kind")), "interrupted") for row in case.asking]
    dues = [row.decide_by for row in case.asking if row.decide_by is not None]
    asked = [asked_since(row.decision, row.started_at) for row in case.asking]
    began = [at for at in asked if at is not None]
    return {
        "needs": min(words, key=RANKED.index, default=None),
        "needs_due_at": min(dues, default=None),
        "needs_since": min(began, default=case.now) if case.asking else None,
    }


def _counted(case: Case, column: str, expected: int, what: str) -> Iterator[Finding]:
    found = getattr(case.run, column)
    if found != expected:
        yield Finding(
            rule="counters",
            run_id=case.run.id,
            found=f"the run counts {found} {what}",
            expected=str(expected),
            mend=_own_row(case, f"sets {column} to {expected}", {column: expected}),
        )


def _own_row(case: Case, says: str, values: Mapping[str, Any]) -> Mend:
    return Mend(says=says, change="update", table=runs, where=runs.c.id == case.run.id, values=values)


def _odd(case: Case, rule: str, found: str, expected: str, advice: str = LOOK) -> Finding:
    return Finding(rule=rule, run_id=case.run.id, found=found, expected=expected, advice=f"{advice}.")
