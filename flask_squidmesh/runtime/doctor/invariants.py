"""What must hold of the rows of one run: its counts, its work, and how its rows hang together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

from ...engine.facts import asked_since
from ...engine.tally import FAILURES, NEEDS_BY_DECISION
from ...storage.tables import dispatches, runs, step_runs
from .case import Case, Finding, Redelivery, Repair, Row, RowDeletion, RowUpdate

RANKED = tuple(NEEDS_BY_DECISION.values())
LOOK_AT_RUN = "Look at the run with inspect_run(id, include_history=True); cancel or replay it"


def counters(case: Case) -> Iterator[Finding]:
    """The counts of steps that go on, of those that wait for a retry or an event, and of those that are still to do."""
    yield from _counted(case, "open_steps", len(case.going), "steps that can go on")
    yield from _counted(case, "retrying_steps", len(case.retrying), "steps that wait for a retry")
    yield from _counted(case, "awaiting_steps", len(case.awaiting), "steps that wait for an event")
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
        yield _odd_count(
            case, "positions", f"outputs stand at {found} and the run at {case.run.position}", "1, 2, 3 ... up to it"
        )
    for row in case.steps:
        if (row.position is not None) != (row.status == "completed"):
            where = "no position" if row.position is None else f"position {row.position}"
            yield _odd_count(
                case, "positions", f"{row.step}#{row.visit} is {row.status} and has {where}", "one if completed"
            )
        if row.sees > case.run.position:
            seen = f"{row.step}#{row.visit} sees outputs up to {row.sees}, the run has {case.run.position}"
            yield _odd_count(case, "positions", seen, "what a visit sees to be there")


def status(case: Case) -> Iterator[Finding]:
    """The run's status, and what its steps are doing."""
    run, going, asking = case.run, len(case.going), len(case.asking)
    if case.over != (run.finished_at is not None):
        ended = "an" if run.finished_at else "no"
        yield _odd_count(
            case, "status", f"the run is {run.status} with {ended} end time", "an end time once it has ended"
        )
    pending = [row for row in case.steps if row.status == "pending"]
    if case.over and pending:
        yield _odd_count(case, "status", f"the run is {run.status} and {len(pending)} steps are pending", "none to be")
    if case.left:
        return
    if case.is_scheduled:
        return
    if not case.over and not going and not asking:
        yield _odd_count(
            case, "stuck", f"the run is {run.status} and no step is pending, running or paused", "one of them to be"
        )
    elif not case.over and not _fits(case):
        yield _odd_count(
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
    words = [
        NEEDS_BY_DECISION.get((row.decision or {}).get("kind", "interrupted"), "interrupted") for row in case.asking
    ]
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


def _own_row(case: Case, says: str, values: Mapping[str, Any]) -> Repair:
    return RowUpdate(says=says, table=runs, where=runs.c.id == case.run.id, values=values)


def _odd_count(case: Case, rule: str, found: str, expected: str, advice: str = LOOK_AT_RUN) -> Finding:
    return Finding(rule=rule, run_id=case.run.id, found=found, expected=expected, advice=f"{advice}.")


UNTAKEN_FOR = timedelta(minutes=10)
HANDS = "makes the work due, so that the next worker or relay goes on with it"
TAKES_OVER = "has the step taken over as from a dead worker"


def outstanding(case: Case) -> Iterator[Finding]:
    """Each step run that goes on has a dispatch, each that does not has none."""
    for row in case.rows:
        dispatch, name = case.work.get(row.id), _name(row)
        if dispatch is None and _goes_on(case, row):
            yield Finding(
                rule="dispatch",
                run_id=case.run.id,
                found=f"{name} is {row.status} and nothing will deliver it",
                expected="a dispatch",
                mend=_due_again(row),
            )
        elif dispatch is not None and row.status not in ("pending", "running") and row not in case.left:
            yield _stray(case, dispatch, f"{name} is {row.status} and still has a dispatch")
        elif dispatch is not None and row.missing:
            yield _stray(case, dispatch, f"{name} waits for other steps and has a dispatch")


def claims(case: Case) -> Iterator[Finding]:
    """A step run is running while somebody has its claim, and only then."""
    for row in case.rows:
        dispatch = case.work.get(row.id)
        if dispatch is None or (row.status == "running") == (dispatch.claim_id is not None):
            continue
        claimed = "somebody has" if dispatch.claim_id else "nobody has"
        yield Finding(
            rule="claim",
            run_id=case.run.id,
            found=f"{_name(row)} is {row.status} and {claimed} its claim",
            expected="a claim while it is running, and only then",
            advice="It is settled when the claim runs out; look again after SQUIDMESH_CLAIM_TIMEOUT.",
            mend=_due_again(row) if row.status == "running" else None,
        )


def undoing(case: Case) -> Iterator[Finding]:
    """Compensations are delivered one after the other, while the run says that they run."""
    run, delivered = case.run, [row for row in case.compensations if row.id in case.work]
    waiting = [row for row in case.compensations if row.status == "pending"]
    going = [row for row in case.compensations if row.status == "running"]
    if run.compensation == "running" and not waiting and not going:
        yield _odd_dispatch(case, "compensation is running and none is left to run", "one that is pending or running")
    elif run.compensation == "running" and not delivered and not going:
        yield Finding(
            rule="compensation",
            run_id=run.id,
            found="compensation is running and nothing will deliver the next one",
            expected="a dispatch",
            mend=_due_again(waiting[0]),
        )
    elif run.compensation != "running" and (waiting or going):
        yield _odd_dispatch(
            case, f"compensation is {run.compensation} and {len(waiting + going)} are open", "it to be running"
        )
    if len(delivered) > 1:
        yield _odd_dispatch(case, f"{len(delivered)} compensations are delivered at once", "one after the other")
    if run.compensation == "failed" and not any(row.status == "failed" for row in case.compensations):
        yield _odd_dispatch(case, "compensation has failed and none of them has", "one that failed")


def untaken(case: Case) -> Iterator[Finding]:
    """Work is taken soon after it is due."""
    for dispatch in case.dispatches:
        late = case.now - dispatch.due_at
        if late > UNTAKEN_FOR:
            yield Finding(
                rule="overdue",
                run_id=case.run.id,
                found=f"its {dispatch.kind} has been due for {str(late).partition('.')[0]}"
                + (f" ({dispatch.held})" if dispatch.held else ""),
                expected="work to be taken within minutes",
                advice="Keep enough workers running; `flask squidmesh check` says which are missing.",
            )


def _goes_on(case: Case, row: Row) -> bool:
    if row.status == "running" or row in case.left:
        return True
    return row.kind == "step" and row.status == "pending" and not row.missing and not case.over


def _due_again(row: Row) -> Repair:
    lost = row.status == "running"
    return Redelivery(says=TAKES_OVER if lost else HANDS, step_run_id=row.id, lost=lost)


def _stray(case: Case, dispatch: Row, found: str) -> Finding:
    return Finding(
        rule="dispatch",
        run_id=case.run.id,
        found=found,
        expected="none",
        mend=RowDeletion(says="deletes the dispatch", table=dispatches, where=dispatches.c.id == dispatch.id),
    )


def _odd_dispatch(case: Case, found: str, expected: str) -> Finding:
    advice = "Look at what has been undone; retry_compensation tries again what failed."
    return Finding(rule="compensation", run_id=case.run.id, found=found, expected=expected, advice=advice)


def _name(row: Row) -> str:
    return f"{'undoing ' * (row.kind == 'compensation')}{row.step}#{row.visit}"


OPEN = ("pending", "running", "paused")
LOOK = "Look at the run with inspect_run(id, include_history=True); cancel or replay it."


def visits(case: Case) -> Iterator[Finding]:
    """A run is at a step once at a time, and in a workflow with a flow at one step at a time."""
    opened = [row for row in case.steps if row.status in OPEN]
    for step, times in Counter(row.step for row in opened).items():
        if times > 1:
            yield _odd_relation(case, "visits", f"the run is at {step} {times} times at once", "one open visit")
    steps = sorted({row.step for row in opened})
    if case.spec and case.spec.style == "flow" and not case.over and len(steps) > 1:
        yield _odd_relation(case, "visits", f"the run is at {' and '.join(steps)} at once", "one step at a time")


def attempts(case: Case) -> Iterator[Finding]:
    """No attempt ended that never began."""
    for row in case.rows:
        most = case.attempts.get(row.id, 0)
        if most > max(row.attempts, 1):
            found = f"attempt {most} of {row.step}#{row.visit} has ended, of {row.attempts} that began"
            yield _odd_relation(case, "attempts", found, "none that never began")


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
                mend=RowUpdate(
                    says=f"sets the count to {missing}",
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
        yield _odd_relation(
            case, "lineage", "the run names some of parent, its step and its key", "all of them or none"
        )
    if run.id in (run.parent_run_id, run.replayed_from_id, run.replayed_as_id):
        yield _odd_relation(case, "lineage", "the run names itself as its relative", "another run")
    if run.replayed_as_id is not None and case.replay_of != run.id:
        found = f"the run says that {run.replayed_as_id} replays it, which says {case.replay_of or 'nothing'}"
        yield _odd_relation(case, "lineage", found, "both to say so")
    if not case.source_names_replay:
        yield Finding(
            rule="lineage",
            run_id=run.id,
            found=f"the run replays {run.replayed_from_id}, which names no replay",
            expected="both to say so",
            mend=RowUpdate(
                says="links it",
                table=runs,
                where=runs.c.id == run.replayed_from_id,
                values={"replayed_as_id": run.id},
            ),
        )


def _odd_relation(case: Case, rule: str, found: str, expected: str) -> Finding:
    return Finding(rule=rule, run_id=case.run.id, found=found, expected=expected, advice=LOOK)
