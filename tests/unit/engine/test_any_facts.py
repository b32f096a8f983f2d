"""The kernel alone: whatever happens to a run, its counters stay true to its rows, and it comes to an end."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from flask_squidmesh import Approval, Deadline, Decision, End, Escalate, Fixed, Manual, Pause, Retry, Step, Workflow
from flask_squidmesh.definition.spec import WorkflowSpec
from flask_squidmesh.engine.approvals import is_last
from flask_squidmesh.engine.changes import Changes, RowsToRead
from flask_squidmesh.engine.decide import decide
from flask_squidmesh.engine.error_records import error
from flask_squidmesh.engine.facts import (
    Adoption,
    ApprovalGiven,
    AttemptAbandoned,
    AttemptCompleted,
    AttemptFailed,
    CompensationRetried,
    Decider,
    DecisionAnswered,
    DecisionContext,
    DecisionState,
    Fact,
    Failure,
    InputRefused,
    Performed,
    RunCancelled,
    RunDeadlinePassed,
    RunFact,
    RunStarted,
    StepFact,
    StepGivenUp,
    StepResolved,
    StepRetried,
    TimerDue,
    WaitAssigned,
    entered,
    fact_after,
    step_after,
)
from flask_squidmesh.engine.kept_decisions import WAITS, DecisionEvent
from flask_squidmesh.engine.moves import claimed
from flask_squidmesh.engine.transitions import STOPPING, TERMINAL
from flask_squidmesh.engine.waits import next_timer, options_of
from tests.unit.engine.facts import run

NOW = datetime(2026, 3, 9, 12, tzinfo=UTC)
LEE = Decider(actor="lee")
NO = error("OSError", "no")
DECISIONS: tuple[DecisionEvent, ...] = ("approved", "rejected")
ONWARD = ("claim", "complete", "approved", "resumed", "resolve", "option go ")


def work() -> None:
    """Some step."""


class Flow(Workflow):
    place = Manual()
    a = Step(work, compensate=work, compensate_retry=Retry(2, backoff=Fixed(1)))
    review = Approval("Good?")
    b = Step(work, retry=Retry(2, backoff=Fixed(1)), compensate=work)
    pay = Step(work, irreversible=True)
    hold = Pause("Look")
    fix = Step(work)
    flow = [a >> review >> b >> pay >> hold, review.on_reject >> a, b.on_error(recovery="undo") >> fix]


class Depending(Workflow):
    place = Manual()
    a = Step(work, after=[], compensate=work)
    b = Step(work, after=[], retry=Retry(3, backoff=Fixed(1)), compensate=work)
    pay = Step(work, after=[a], irreversible=True)
    review = Approval("Good?", after=[a, b])
    last = Step(work, after=[pay, review])


HOUR = timedelta(hours=1)


class Number(BaseModel):
    x: int


class Asking(Workflow, deadline=Deadline(HOUR, cancel=True)):
    place = Manual(Number)
    a = Step(work, compensate=work)
    ask = Decision(
        "Well?",
        options=("go", "back", "reject"),
        approvals=2,
        assignee="mia",
        within=4 * HOUR,
        remind=(HOUR, 2 * HOUR),
        escalate=(Escalate(after=HOUR, assignee="hans", groups=("heads",)), Escalate(after=3 * HOUR, groups=("all",))),
    )
    review = Approval("Good?", within=HOUR)
    pay = Step(work, irreversible=True)
    hold = Pause("Look", groups=("heads",), within=HOUR, remind=HOUR / 2)
    fix = Step(work, compensate=work)
    flow = [
        a >> ask,
        ask.on("go").when("x", greater_than=1) >> pay,
        ask.on("go") >> review,
        ask.on("back") >> a,
        ask.on("reject") >> End("refused", compensate=True),
        ask.on_timeout >> fix >> End("late"),
        review >> hold,
        review.on_reject >> End("no"),
        review.on_timeout >> ask,
        pay >> hold,
        pay.on_error >> fix,
        hold.on_timeout >> End("forgotten", compensate=True),
    ]


class AskingBeside(Workflow, deadline=Deadline(HOUR)):
    place = Manual()
    a = Step(work, after=[], compensate=work)
    ask = Decision("Well?", options=("go", "stop"), after=[], assignee="mia", remind=HOUR)
    again = Decision(
        "And?", options=("go", "stop"), after=[a], approvals=2, escalate=Escalate(after=HOUR, groups=("x",))
    )
    pay = Step(work, after=[a], irreversible=True)
    last = Step(work, after=[ask, again, pay])


class KeptRun:
    """A run with its rows, waits and dispatches as a store would keep them. timers: when each is due. waits: whose each
    is."""

    def __init__(self, spec: WorkflowSpec) -> None:
        self.spec, self.rows, self.dispatches = spec, dict[str, StepFact](), set[str]()
        self.timers, self.waits = dict[str, datetime](), dict[str, tuple[str | None, frozenset[str]]]()
        self.outcome: str | None = None
        self.run: RunFact = run(status="pending", follows=spec.fingerprint)
        self._ids = count(1)
        self._write(self._decided(DecisionContext(), RunStarted()))

    def claim(self, row: StepFact) -> None:
        self.rows[row.id], moved = claimed(self.spec, self.run, row, NOW)
        self.run = fact_after(self.run, moved, self.run.revision + 1)

    def decide(self, fact: Fact, about: StepFact | None = None, *, by_person: bool = False) -> None:
        steps = [row for row in self.rows.values() if row.kind == "step"]
        adopts = by_person and about and self.spec.style == "dependency" and self.run.status not in STOPPING
        context = DecisionContext(
            state={"x": len(self.rows) % 3},
            visits={row.step: row.visit for row in steps},
            joins={row.step: row for row in steps},
            decisions=[row for row in self.rows.values() if row.status == "paused" and row != about],
            compensations=[row for row in self.rows.values() if row.kind == "compensation"],
            adoption=Adoption([*self.rows.values()], NOW) if adopts else None,
        )
        changes = self._decided(context, fact)
        asked = 0
        while changes.reads:
            assert asked < 2
            asked += 1
            found: dict[RowsToRead, list[StepFact]] = {
                "open": [row for row in self.of("pending", "running", "paused") if row.kind == "step"],
                "completed": [row for row in self.of("completed") if row.kind == "step"],
            }
            changes = self._decided(context._replace(read={rows: found[rows] for rows in changes.reads}), fact)
        self._write(changes)
        self.check()

    def of(self, *statuses: str) -> list[StepFact]:
        return [row for row in self.rows.values() if row.status in statuses]

    def _decided(self, context: DecisionContext, fact: Fact) -> Changes:
        return decide(DecisionState(self.spec, self.run, NOW, lambda: str(next(self._ids)), context), fact)

    def _write(self, changes: Changes) -> None:
        self.run = fact_after(self.run, changes.run, self.run.revision + 1)
        for new in changes.entered:
            self.rows[new.id] = entered(self.run.id, new)
            self.dispatches |= {new.id} if new.delivered else set()
        for key, columns in changes.updated.items():
            self.rows[key] = step_after(self.rows[key], columns)
        self.dispatches |= {new.step_run_id for new in changes.dispatched}
        self.dispatches -= {*changes.ended}
        self.outcome = changes.run.get("outcome", self.outcome)
        self._write_waits(changes)

    def _write_waits(self, changes: Changes) -> None:
        for key in changes.ended:
            self.timers.pop(key, None)
        for key in changes.settled:
            del self.waits[key]
        for new in changes.opened:
            assert new.step_run_id not in self.waits
            self.waits[new.step_run_id] = (new.assignee, frozenset(new.groups))
            if new.timer_at is not None:
                self.timers[new.step_run_id] = new.timer_at
        for key, moved in changes.handed_on.items():
            self.waits[key] = (moved.assignee, self.waits[key][1] | {*moved.further})
        for key, due in changes.timed.items():
            assert key in self.timers
            self.timers[key] = due

    def check(self) -> None:
        steps = [row for row in self.rows.values() if row.kind == "step"]
        going = [row for row in steps if row.status == "running" or (row.status == "pending" and not row.missing)]
        compensating = {row.id for row in self.of("running") if row.kind == "compensation"}
        assert self.run.open_steps == len(going)
        assert self.run.retrying_steps == sum(row.waits_for_retry for row in going)
        assert self.run.awaiting_steps == sum(row.awaits_event for row in steps)
        assert {row.id for row in going} | compensating <= self.dispatches
        assert all(self.rows[key].status in ("pending", "running") for key in self.dispatches)
        assert sum(self.rows[key].kind == "compensation" for key in self.dispatches) <= 1
        paused = self.of("paused")
        asking = {row.id: row.decision for row in paused if row.decision and row.asks in WAITS}
        assert self.waits == {
            key: (kept.get("assignee"), frozenset(kept.get("groups") or ())) for key, kept in asking.items()
        }
        assert self.timers == {key: at for key, kept in asking.items() if (at := next_timer(kept)) is not None}
        assert self.outcome is None or self.run.status == "completed"
        if self.run.status not in TERMINAL:
            assert self.run.needs_count == len(paused)
            assert (self.run.status == "paused") == (not going and bool(paused)) or self.run.status == "cancelling"
        else:
            assert all(row.status == "running" for row in going)
            assert self.run.status == "failed" or not paused


Happening = Callable[[], None]


def possible(kept: KeptRun) -> dict[str, Happening]:
    """All that may happen next, by a name that says it."""
    happenings: dict[str, Happening] = {}
    for row in sorted((kept.rows[key] for key in kept.dispatches), key=lambda row: int(row.id)):
        if row.status == "pending":
            happenings[f"claim {named(row)}"] = partial(kept.claim, row)
        else:
            happenings |= {
                f"{name} {named(row)}": partial(kept.decide, fact, row) for name, fact in outcomes(row).items()
            }
    for row in kept.of("paused"):
        happenings |= {
            f"{name} {named(row)}": partial(kept.decide, fact, row, by_person=True)
            for name, fact in answers(row, kept.run.status in STOPPING).items()
        }
    for key in kept.timers:
        happenings[f"timer {named(kept.rows[key])}"] = partial(kept.decide, TimerDue(kept.rows[key]), kept.rows[key])
    if kept.run.status not in STOPPING and kept.spec.deadline is not None:
        for cancel, undo in ((False, False), (True, False), (True, True)):
            passed = RunDeadlinePassed(cancel=cancel, compensate=undo)
            happenings[f"cancel by the deadline {cancel} {undo}"] = partial(kept.decide, passed)
    if kept.run.status not in STOPPING:
        happenings["cancel"] = partial(kept.decide, RunCancelled(LEE, compensate=False))
        happenings["cancel and undo"] = partial(kept.decide, RunCancelled(LEE, compensate=True))
    if kept.run.compensation == "failed":
        happenings["retry compensation"] = partial(kept.decide, CompensationRetried(LEE))
    return happenings


def named(row: StepFact) -> str:
    return f"{row.kind} {row.step}#{row.visit}"


def outcomes(row: StepFact) -> dict[str, Fact]:
    """What an attempt may come to."""
    done = Performed(row.attempts, "w-1", NOW - timedelta(seconds=1))
    refused = Failure(error=NO, final=True, certain=True)
    return {
        "complete": AttemptCompleted(row, {}, done),
        "fail": AttemptFailed(row, Failure(error=NO), done),
        "refuse": AttemptFailed(row, refused, done),
        "block": InputRefused(row, NO),
        "lose": AttemptAbandoned(row, done, most=2),
    }


def answers(row: StepFact, stopping: bool) -> dict[str, Fact]:
    """What a person may say of a step that waits for one."""
    kind, decision = row.asks, row.decision
    assert decision is not None
    assigned: dict[str, Fact] = {f"assign to {to}": WaitAssigned(row, to, LEE) for to in ("kim", None)}
    if kind == "approval":
        return {**assigned, **{event: DecisionAnswered(row, event, LEE) for event in DECISIONS}}
    if kind == "pause":
        return {**assigned, "resumed": DecisionAnswered(row, "resumed", LEE)}
    if kind == "decision":
        ends: dict[str, Fact] = {
            f"option {each['name']}": DecisionAnswered(row, "decided", LEE, each["name"], {"y": 1})
            for each in options_of(decision)
        }
        for y in (1, 2):
            if not is_last(decision, {"y": y}):
                ends[f"option {options_of(decision)[0]['name']}{y}"] = ApprovalGiven(row, LEE, {"y": y})
        return {**assigned, **ends}
    told: dict[str, Fact] = {"resolve": StepResolved(row, {}, LEE), "give up": StepGivenUp(row, NO, LEE)}
    return told if stopping else {**told, "try again": StepRetried(row, LEE)}


@pytest.mark.parametrize("workflow", [Flow, Depending, Asking, AskingBeside])
@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(data=st.data())
def test_whatever_happens_counters_fit_and_the_run_ends(workflow: type[Workflow], data: st.DataObject) -> None:
    kept = KeptRun(workflow.__squidmesh__)
    kept.check()
    cancellable_from = data.draw(st.integers(0, 40))
    for number in range(40):
        choices = possible(kept)
        names = [name for name in choices if number >= cancellable_from or not name.startswith("cancel")]
        if not names:
            break
        choices[data.draw(st.sampled_from(names))]()
    while onward := [happens for name, happens in possible(kept).items() if name.startswith(ONWARD)]:
        onward[0]()
    assert kept.run.status in TERMINAL
    assert not kept.dispatches
    assert not kept.waits
    assert not kept.timers
    assert kept.run.compensation in (None, "completed", "failed")
