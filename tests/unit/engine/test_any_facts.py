"""The kernel alone: whatever happens to a run, its counters stay true to its rows, and it comes to an end."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flask_squidmesh import Approval, Fixed, Manual, Pause, Retry, Step, Workflow
from flask_squidmesh.definition.spec import WorkflowSpec
from flask_squidmesh.engine.changes import Changes, RowsToRead
from flask_squidmesh.engine.decide import decide
from flask_squidmesh.engine.error_records import error
from flask_squidmesh.engine.facts import (
    Adoption,
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
    RunFact,
    RunStarted,
    StepFact,
    StepGivenUp,
    StepResolved,
    StepRetried,
    entered,
    fact_after,
    step_after,
)
from flask_squidmesh.engine.kept_decisions import DecisionEvent
from flask_squidmesh.engine.moves import claimed
from flask_squidmesh.engine.transitions import STOPPING, TERMINAL
from tests.unit.engine.facts import run

NOW = datetime(2026, 3, 9, 12, tzinfo=UTC)
LEE = Decider(actor="lee")
NO = error("OSError", "no")
DECISIONS: tuple[DecisionEvent, ...] = ("approved", "rejected")
ONWARD = ("claim", "complete", "approved", "resumed", "resolve")


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


class KeptRun:
    """A run with its rows and dispatches as a store would keep them."""

    def __init__(self, spec: WorkflowSpec) -> None:
        self.spec, self.rows, self.dispatches = spec, dict[str, StepFact](), set[str]()
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

    def check(self) -> None:
        steps = [row for row in self.rows.values() if row.kind == "step"]
        going = [row for row in steps if row.status == "running" or (row.status == "pending" and not row.missing)]
        compensating = {row.id for row in self.of("running") if row.kind == "compensation"}
        assert self.run.open_steps == len(going)
        assert self.run.retrying_steps == sum(row.waits_for_retry for row in going)
        assert {row.id for row in going} | compensating <= self.dispatches
        assert all(self.rows[key].status in ("pending", "running") for key in self.dispatches)
        assert sum(self.rows[key].kind == "compensation" for key in self.dispatches) <= 1
        paused = self.of("paused")
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
    kind = row.asks
    if kind == "approval":
        return {event: DecisionAnswered(row, event, LEE) for event in DECISIONS}
    if kind == "pause":
        return {"resumed": DecisionAnswered(row, "resumed", LEE)}
    told: dict[str, Fact] = {"resolve": StepResolved(row, {}, LEE), "give up": StepGivenUp(row, NO, LEE)}
    return told if stopping else {**told, "try again": StepRetried(row, LEE)}


@pytest.mark.parametrize("workflow", [Flow, Depending])
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
    assert kept.run.compensation in (None, "completed", "failed")
