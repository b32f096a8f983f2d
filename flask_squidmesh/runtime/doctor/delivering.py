"""Work that is due has a dispatch, and nothing else has."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from ...store.tables import dispatches
from .case import Case, Row
from .findings import Finding, Mend

OVERDUE = timedelta(minutes=10)
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
        yield _odd(case, "compensation is running and none is left to run", "one that is pending or running")
    elif run.compensation == "running" and not delivered and not going:
        yield Finding(
            rule="compensation",
            run_id=run.id,
            found="compensation is running and nothing will deliver the next one",
            expected="a dispatch",
            mend=_due_again(waiting[0]),
        )
    elif run.compensation != "running" and (waiting or going):
        yield _odd(case, f"compensation is {run.compensation} and {len(waiting + going)} are open", "it to be running")
    if len(delivered) > 1:
        yield _odd(case, f"{len(delivered)} compensations are delivered at once", "one after the other")
    if run.compensation == "failed" and not any(row.status == "failed" for row in case.compensations):
        yield _odd(case, "compensation has failed and none of them has", "one that failed")


def overdue(case: Case) -> Iterator[Finding]:
    """Work is taken soon after it is due."""
    for dispatch in case.dispatches:
        late = case.now - dispatch.due_at
        if late > OVERDUE:
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


def _due_again(row: Row) -> Mend:
    lost = row.status == "running"
    return Mend(says=TAKES_OVER if lost else HANDS, change="dispatch", step_run_id=row.id, lost=lost)


def _stray(case: Case, dispatch: Row, found: str) -> Finding:
    return Finding(
        rule="dispatch",
        run_id=case.run.id,
        found=found,
        expected="none",
        mend=Mend(says="deletes the dispatch", change="delete", table=dispatches, where=dispatches.c.id == dispatch.id),
    )


def _odd(case: Case, found: str, expected: str) -> Finding:
    advice = "Look at what has been undone; retry_compensation tries again what failed."
    return Finding(rule="compensation", run_id=case.run.id, found=found, expected=expected, advice=advice)


def _name(row: Row) -> str:
    return f"{'undoing ' * (row.kind == 'compensation')}{row.step}#{row.visit}"
