"""How the rows of a run hang together: visits, attempts, joins, and the run with its relatives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from ...store.tables import runs, step_runs
from .case import Case
from .findings import Finding, Mend

OPEN = ("pending", "running", "paused")
LOOK = "Look at the run with inspect_run(id, include_history=True); cancel or replay it."


def visits(case: Case) -> Iterator[Finding]:
    """A run is at a step once at a time, and in a workflow with a flow at one step at a time."""
    opened = [row for row in case.steps if row.status in OPEN]
    for step, times in Counter(row.step for row in opened).items():
        if times > 1:
            yield _odd(case, "visits", f"the run is at {step} {times} times at once", "one open visit")
    steps = sorted({row.step for row in opened})
    if case.spec and case.spec.style == "flow" and not case.over and len(steps) > 1:
        yield _odd(case, "visits", f"the run is at {' and '.join(steps)} at once", "one step at a time")


def attempts(case: Case) -> Iterator[Finding]:
    """No attempt ended that never began."""
    for row in case.rows:
        most = case.attempts.get(row.id, 0)
        if most > max(row.attempts, 1):
            found = f"attempt {most} of {row.step}#{row.visit} has ended, of {row.attempts} that began"
            yield _odd(case, "attempts", found, "none that never began")


def joins(case: Case) -> Iterator[Finding]:
    """A step counts the steps that it waits for and that have not completed."""
    if case.spec is None or case.spec.style != "dependency" or case.over or case.run.status == "cancelling":
        return
    done = {row.step for row in case.steps if row.status == "completed" and row not in case.left}
    for row in case.steps:
        if row.status != "pending" or row.attempts or row.due_at or row.step not in case.spec.steps:
            continue  # it has begun, or nothing says any more what it waits for
        missing = len(set(case.spec.steps[row.step].after) - done)
        if row.missing != missing:
            yield Finding(
                rule="join",
                run_id=case.run.id,
                found=f"{row.step} waits for {row.missing} steps",
                expected=f"{missing}, for so many have not completed",
                advice=LOOK,
                mend=Mend(
                    says=f"sets the count to {missing}",
                    change="update",
                    table=step_runs,
                    where=step_runs.c.id == row.id,
                    values={"missing": missing},
                )
                if missing and row.missing
                else None,
            )


def lineage(case: Case) -> Iterator[Finding]:
    """Relatives name each other. Those that were pruned cannot be asked."""
    run = case.run
    if len({part is None for part in (run.parent_run_id, run.parent_step, run.child_key)}) > 1:
        yield _odd(case, "lineage", "the run names some of parent, its step and its key", "all of them or none")
    if run.id in (run.parent_run_id, run.replayed_from_id, run.replayed_as_id):
        yield _odd(case, "lineage", "the run names itself as its relative", "another run")
    if run.replayed_as_id is not None and case.replay_of != run.id:
        found = f"the run says that {run.replayed_as_id} replays it, which says {case.replay_of or 'nothing'}"
        yield _odd(case, "lineage", found, "both to say so")
    if not case.source_names_replay:
        yield Finding(
            rule="lineage",
            run_id=run.id,
            found=f"the run replays {run.replayed_from_id}, which names no replay",
            expected="both to say so",
            mend=Mend(
                says="links it",
                change="update",
                table=runs,
                where=runs.c.id == run.replayed_from_id,
                values={"replayed_as_id": run.id},
            ),
        )


def _odd(case: Case, rule: str, found: str, expected: str) -> Finding:
    return Finding(rule=rule, run_id=case.run.id, found=found, expected=expected, advice=LOOK)
