"""The kernel alone: whatever happens to a run, its counters stay true to its rows, and it comes to an end."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flask_squidmesh import Approval, Fixed, Manual, Pause, Retry, Step, Workflow
from flask_squidmesh.definition.spec import WorkflowSpec
from flask_squidmesh.engine.decide import Progress
from flask_squidmesh.engine.facts import (
    Decider,
    DecisionContext,
    Failure,
    Performed,
    RowsToRead,
    RunFact,
    StepFact,
    entered,
    error,
    fact_after,
)
from flask_squidmesh.engine.moves import claimed
from flask_squidmesh.engine.transitions import STOPPING, TERMINAL
from tests.unit.engine.facts import run

NOW = datetime(2026, 3, 9, 12, tzinfo=UTC)
LEE = Decider(actor="lee")
NO = error("OSError", "no")
DECISIONS = ("approved", "rejected")
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
        self._write(self._begun())

    def _begun(self) -> Progress:
        progress = self._progress(DecisionContext())
        progress.begin()
        return progress

    def claim(self, row: StepFact) -> None:
        self.rows[row.id], moved = claimed(self.spec, self.run, row, NOW)
        self.run = fact_after(self.run, moved, self.run.revision + 1)

    def decide(
        self, fact: Callable[[Progress], Any], about: StepFact | None = None, *, by_person: bool = False
    ) -> None:
        steps = [row for row in self.rows.values() if row.kind == "step"]
        around = DecisionContext(
            visits={row.step: row.visit for row in steps},
            joins={row.step: row for row in steps},
            decisions=[row for row in self.rows.values() if row.status == "paused" and row != about],
            compensations=[row for row in self.rows.values() if row.kind == "compensation"],
        )
        progress = self._progress(around)
        if by_person and about and self.spec.style == "dependency" and self.run.status not in STOPPING:
            progress.adopt([*self.rows.values()], NOW)
        fact(progress)
        progress.reconcile()
        self._write(progress)
        if progress.reads:
            found: dict[RowsToRead, list[StepFact]] = {
                "open": [row for row in self.of("pending", "running", "paused") if row.kind == "step"],
                "completed": [row for row in self.of("completed") if row.kind == "step"],
            }
            rest = progress.halt({rows: found[rows] for rows in progress.reads})
            assert not rest.reads
            self._write(rest)
        self.check()

    def of(self, *statuses: str) -> list[StepFact]:
        return [row for row in self.rows.values() if row.status in statuses]

    def _progress(self, around: DecisionContext) -> Progress:
        return Progress(self.spec, self.run, now=NOW, new_id=lambda: str(next(self._ids)), around=around)

    def _write(self, progress: Progress) -> None:
        changes = progress.changes
        self.run = fact_after(self.run, changes.run, self.run.revision + 1)
        for new in changes.entered:
            self.rows[new.id] = entered(self.run.id, new)
            self.dispatches |= {new.id} if new.delivered else set()
        for key, columns in changes.updated.items():
            known = {name: value for name, value in columns.items() if name in StepFact._fields}
            self.rows[key] = self.rows[key]._replace(**known)
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


Fact = Callable[[Progress], Any]
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
        happenings["cancel"] = partial(kept.decide, cancelled(kept, compensate=False))
        happenings["cancel and undo"] = partial(kept.decide, cancelled(kept, compensate=True))
    if kept.run.compensation == "failed":
        happenings["retry compensation"] = partial(kept.decide, lambda progress: progress.retry_compensation(LEE))
    return happenings


def named(row: StepFact) -> str:
    return f"{row.kind} {row.step}#{row.visit}"


def outcomes(row: StepFact) -> dict[str, Fact]:
    """What an attempt may come to."""
    done = Performed(row.attempts, "w-1", NOW - timedelta(seconds=1))
    refused = Failure(error=NO, final=True, certain=True)
    return {
        "complete": lambda progress: progress.complete(row, {}, done),
        "fail": lambda progress: progress.fail(row, Failure(error=NO), done),
        "refuse": lambda progress: progress.fail(row, refused, done),
        "block": lambda progress: progress.block(row, NO),
        "lose": lambda progress: lost(progress, row, done),
    }


def lost(progress: Progress, row: StepFact, done: Performed) -> None:
    """The claim is lost, and freed where the step may be attempted again."""
    if progress.abandon(row, done, most=2):
        progress.changes.update(row.id, status="pending")


def answers(row: StepFact, stopping: bool) -> dict[str, Fact]:
    """What a person may say of a step that waits for one."""
    kind = (row.decision or {})["kind"]
    if kind == "approval":
        return {event: partial(Progress.decide, visit=row, event=event, decider=LEE) for event in DECISIONS}
    if kind == "pause":
        return {"resumed": partial(Progress.decide, visit=row, event="resumed", decider=LEE)}
    told: dict[str, Fact] = {
        "resolve": lambda progress: progress.resolve(row, {}, LEE),
        "give up": lambda progress: progress.give_up(row, NO, LEE),
    }
    return told if stopping else {**told, "try again": lambda progress: progress.try_again(row, LEE)}


def cancelled(kept: KeptRun, *, compensate: bool) -> Fact:
    opened = [row for row in kept.of("pending", "running", "paused") if row.kind == "step"]
    return lambda progress: progress.cancel(LEE, opened, compensate=compensate)


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
