"""What must hold of the waits for people and events, and of what happens at them, and to the run, by itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from ...definition.values import JsonObject
from ...engine.diversions import diverted_by
from ...engine.kept_decisions import EVENT, LISTED
from ...engine.transitions import STOPPING
from ...engine.waits import next_timer
from ...storage.tables import dispatches, runs, wait_groups, waits
from ...storage.write_batch import BEGINNING, NO_QUEUE, dispatch_row
from .case import Case, Finding, Row, RowDeletion, RowInsertion, RowUpdate

LOOK: Final = "Look at the run with inspect_run(id, include_history=True); cancel or replay it."


def open_waits(case: Case) -> Iterator[Finding]:
    """What a visit asks of people, or awaits, can be found with the same people and times; nothing else can."""
    asking = {row.id: row for row in case.open_waits if row.decision and row.decision["kind"] in LISTED}
    for row in asking.values():
        listed, wanted = case.waits.get(row.id), _listed_as(case, row)
        if listed is None:
            yield _finding(case, row.step, "asks for a person and stands in no list", "it to be listed", _list(wanted))
            continue
        differing = [name for name, value in wanted.items() if name != "opened_at" and listed[name] != value]
        if differing:
            found = ", ".join(f"{name} {listed[name]}" for name in differing)
            values = {name: wanted[name] for name in differing}
            expected = ", ".join(f"{name} {value}" for name, value in values.items())
            yield _finding(case, row.step, f"is listed with {found}", expected, _relist(row, values))
        else:
            yield from _groups(case, row)
    for id, listed in case.waits.items():
        if id not in asking:
            gone = RowDeletion(says="takes it off the list", table=waits, where=waits.c.step_run_id == id)
            yield _finding(case, listed["step"], "is listed as asking for a person and does not", "it not to be", gone)


def _listed_as(case: Case, row: Row) -> dict[str, Any]:
    decision, awaits = row.decision, row.decision.get("awaits")
    return {
        "step_run_id": row.id,
        "run_id": case.run.id,
        "tenant": case.run.tenant,
        "workflow": case.run.workflow,
        "step": row.step,
        "kind": decision["kind"],
        "assignee": decision.get("assignee"),
        "for_all": not decision.get("groups") and decision["kind"] != EVENT,
        "due_at": row.decide_by,
        "opened_at": row.started_at or case.now,
        "event_name": awaits["name"] if awaits else None,
        "event_key": awaits["key"] if awaits else None,
        "accept": awaits["accept"] if awaits else None,
    }


def _list(wanted: Mapping[str, Any]) -> RowInsertion:
    return RowInsertion(says="lists it", table=waits, values=wanted)


def _relist(row: Row, values: Mapping[str, Any]) -> RowUpdate:
    return RowUpdate(
        says="lists it as it is asked", table=waits, where=waits.c.step_run_id == row.id, values=dict(values)
    )


def _groups(case: Case, row: Row) -> Iterator[Finding]:
    listed, asked = case.groups.get(row.id, frozenset()), {*(row.decision.get("groups") or ())}
    for name in sorted(asked - listed):
        mend = RowInsertion(says="lists it for them", table=wait_groups, values={"step_run_id": row.id, "name": name})
        yield _finding(case, row.step, f"asks {name} and is not listed for them", "it to be", mend)
    for name in sorted(listed - asked):
        mine = (wait_groups.c.step_run_id == row.id) & (wait_groups.c.name == name)
        gone = RowDeletion(says="takes it off their list", table=wait_groups, where=mine)
        yield _finding(case, row.step, f"is listed for {name}, whom it does not ask", "it not to be", gone)


def timers(case: Case) -> Iterator[Finding]:
    """What happens next at an open wait by itself is due when the wait says; nothing is where none is open."""
    due = {row.id: (row, next_timer(row.decision)) for row in case.open_waits if row.decision}
    for id, (row, at) in due.items():
        timer = case.timers.get(id)
        if timer is None and at is not None:
            mend = _internal("has it happen", case, id, "timer", at)
            yield _finding(case, row.step, "waits, and what is to happen at it next never will", "a timer", mend)
        elif timer is not None and at is not None and timer.due_at != at and timer.held is None:
            yield _finding(
                case, row.step, f"has a timer for {timer.due_at:%Y-%m-%d %H:%M:%S}", f"{at}", _due_at(timer, at)
            )
    for id, timer in case.timers.items():
        if due.get(id, (None, None))[1] is None:
            named = next((row.step for row in case.rows if row.id == id), "a step")
            yield _finding(case, named, "has a timer and nothing is to happen at it", "none", _forget(timer))


def reminders(case: Case) -> Iterator[Finding]:
    """People are told of a step that takes long when its time is over, and the run says since when one is late."""
    timed = {row.id: row for row in case.timed}
    for id, row in timed.items():
        if id not in case.reminders and row.decide_by > case.now and case.run.status not in STOPPING:
            kept: JsonObject = {"reminders": [{"kind": "overdue", "at": row.decide_by.isoformat()}]}
            mend = _internal("has it told", case, None, "reminder", row.decide_by, kept, id)
            yield _finding(case, row.step, "may become late, and nobody will be told", "a reminder", mend)
    for id, reminder in case.reminders.items():
        if id not in timed:
            named = next((row.step for row in case.rows if row.id == id), "a step")
            yield _finding(case, named, "is no longer under way and has a reminder", "none", _forget(reminder))
    since = case.run.overdue_since
    if since is not None and not any(row.decide_by <= case.now for row in timed.values()):
        yield Finding(
            rule="timer",
            run_id=case.run.id,
            found=f"the run says that a step has been late since {since:%Y-%m-%d %H:%M:%S}, and none is",
            expected="nothing of the kind",
            mend=RowUpdate(
                says="takes that back", table=runs, where=runs.c.id == case.run.id, values={"overdue_since": None}
            ),
        )


def run_deadline(case: Case) -> Iterator[Finding]:
    """The deadline of a run that has one is due until the run stops."""
    run, found = case.run, case.deadlines
    if found and (run.deadline_at is None or case.over):
        yield Finding(
            rule="timer",
            run_id=run.id,
            found=f"the run is {run.status} and its deadline is still to come",
            expected="none",
            mend=_forget(found[0]),
        )
    elif found and found[0].due_at != run.deadline_at and found[0].held is None:
        yield Finding(
            rule="timer",
            run_id=run.id,
            found=f"the run's deadline is due at {found[0].due_at}",
            expected=f"{run.deadline_at}",
            mend=_due_at(found[0], run.deadline_at),
        )
    elif not found and run.deadline_at is not None and run.status not in STOPPING:
        declared = case.spec.deadline if case.spec else None
        held = {"cancel": declared.cancel, "compensate": declared.compensate} if declared else None
        yield Finding(
            rule="timer",
            run_id=run.id,
            found="the run has a deadline that will never come",
            expected=f"it to come at {run.deadline_at}",
            advice=LOOK,
            mend=_internal("has it come", case, None, "deadline", run.deadline_at, held) if held else None,
        )


def beginning(case: Case) -> Iterator[Finding]:
    """A run that is to begin later does, and no other one."""
    run, found = case.run, case.beginnings
    if found and not case.is_scheduled:
        has = f"the run is {run.status} and is to begin still"
        yield Finding(rule="timer", run_id=run.id, found=has, expected="nothing", mend=_forget(found[0]))
    elif found and found[0].due_at != run.due_at and found[0].held is None:
        says = f"the run is to begin at {found[0].due_at}"
        mend = _due_at(found[0], run.due_at)
        yield Finding(rule="timer", run_id=run.id, found=says, expected=f"{run.due_at}", mend=mend)
    elif case.is_scheduled and not found:
        yield Finding(
            rule="timer",
            run_id=run.id,
            found="the run will never begin",
            expected=f"it to begin at {run.due_at}",
            mend=_internal("has it begin", case, None, BEGINNING, run.due_at),
        )


def outcome(case: Case) -> Iterator[Finding]:
    """A run that has completed off its way says so, and none says how it ended before it has."""
    run = case.run
    expected = diverted_by(run.diversion) if run.status == "completed" else None
    if run.status != "completed" and run.outcome is not None:
        found, says = f"the run is {run.status} and says that it ended as {run.outcome}", "takes that back"
    elif expected is not None and run.outcome is None:
        found, says = "the run has completed and does not say how", "says so"
    else:
        return
    yield Finding(
        rule="outcome",
        run_id=run.id,
        found=found,
        expected=expected or "nothing yet",
        mend=RowUpdate(says=says, table=runs, where=runs.c.id == run.id, values={"outcome": expected}),
    )


def _finding(case: Case, step: str, found: str, expected: str, mend: RowInsertion | RowUpdate | RowDeletion) -> Finding:
    rule = "timer" if mend.table is dispatches else "wait"
    return Finding(rule=rule, run_id=case.run.id, found=f"{step} {found}", expected=expected, mend=mend)


def _internal(
    says: str,
    case: Case,
    step_run_id: str | None,
    kind: str,
    due: datetime,
    payload: JsonObject | None = None,
    id: str | None = None,
) -> RowInsertion:
    row = dispatch_row(case.run.id, step_run_id, kind, due, NO_QUEUE, case.now, payload)
    row |= {"id": id} if id else {}
    return RowInsertion(says=says, table=dispatches, values=row)


def _due_at(dispatch: Row, at: datetime) -> RowUpdate:
    return RowUpdate(
        says="has it happen then", table=dispatches, where=dispatches.c.id == dispatch.id, values={"due_at": at}
    )


def _forget(dispatch: Row) -> RowDeletion:
    return RowDeletion(says="deletes it", table=dispatches, where=dispatches.c.id == dispatch.id)
