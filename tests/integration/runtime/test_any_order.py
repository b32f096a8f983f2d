"""Whatever happens in whatever order, the rows agree and every run makes legal moves only."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from flask_squidmesh import (
    Approval,
    FailStep,
    Fixed,
    Manual,
    Pause,
    Retry,
    RetryStep,
    Step,
    StepContext,
    Wait,
    Workflow,
    signals,
)
from flask_squidmesh.engine.transitions import RUN_MOVES, TERMINAL
from flask_squidmesh.errors import SquidMeshError, TransitionError
from flask_squidmesh.storage import tables
from flask_squidmesh.storage.work_queue import Claim
from tests.databases import SqliteDatabases
from tests.shop import Order, Shop, check_rows

OUTCOMES: dict[str, Any] = {
    "done": {"done": True},
    "busy": RetryStep("busy"),
    "failed": FailStep("no"),
    "unknown": OSError("unknown"),
}
CALLS = (
    *("approve_run", "reject_run", "unblock_run", "retry_step", "resolve_step", "fail_step"),
    *("retry_compensation", "acknowledge_run", "replay_run", "cancel_run"),
)


class AnyOrder(RuleBasedStateMachine):
    """Workers, operators and time, as they come."""

    databases: SqliteDatabases

    @initialize()
    def open(self) -> None:
        self.upcoming: list[str] = []
        self.held: list[Claim] = []
        self.statuses: dict[str, str] = {}
        self.moves: list[tuple[str, str]] = []
        self.shop = Shop(self.databases.create_migrated(), *self.workflows(), max_abandoned=2, delivery_steps=2)
        self.context = self.shop.app.app_context()
        self.context.push()
        signals.run_transitioned.connect(self.moved, sender=self.shop.app)

    def workflows(self) -> tuple[type[Workflow], ...]:
        def act(ctx: StepContext) -> Any:
            outcome = OUTCOMES[self.upcoming.pop(0) if self.upcoming else "done"]
            if isinstance(outcome, Exception):
                raise outcome
            return outcome

        class Line(Workflow):
            place = Manual(Order)
            a = Step(act, compensate=act, compensate_retry=Retry(2, backoff=Fixed(5)))
            b = Step(act, retry=Retry(2, backoff=Fixed(5)), compensate=act)
            review = Approval("Good?", within=60)
            settle = Wait(10)
            charge = Step(act, irreversible=True, retry=Retry(2, backoff=Fixed(5)))
            rescue = Step(act, compensate=act)
            last = Step(act)
            flow = [
                a >> b >> review >> settle >> charge >> last,
                review.on_reject >> b,
                b.on_error(recovery="compensation") >> rescue,
                rescue.when("done", equals=True) >> review,
                rescue >> last,
            ]

        class Graph(Workflow):
            place = Manual(Order)
            a = Step(act, after=[], compensate=act)
            b = Step(act, after=[], retry=Retry(3, backoff=Fixed(5)), compensate=act)
            settle = Wait(10, after=[])
            review = Approval("Good?", after=[a])
            hold = Pause("Look", after=[a, b])
            charge = Step(act, after=[settle, b], irreversible=True)
            last = Step(act, after=[review, hold, charge], compensate=act)

        return Line, Graph

    def moved(self, app: Flask, **facts: Any) -> None:
        assert facts["status"] in RUN_MOVES[facts["from_status"]], facts
        assert self.statuses.get(facts["run_id"], "pending") == facts["from_status"], facts
        self.statuses[facts["run_id"]] = facts["status"]

    @property
    def runs(self) -> list[Any]:
        return self.shop.rows(tables.runs)

    @rule(workflow=st.sampled_from(["line", "graph"]))
    def start(self, workflow: str) -> None:
        if len(self.runs) < 3:
            self.shop.mesh.start_run(workflow, {})

    @rule(outcomes=st.lists(st.sampled_from(sorted(OUTCOMES)), min_size=1, max_size=4))
    def expect(self, outcomes: list[str]) -> None:
        self.upcoming = outcomes

    @rule(take_over=st.booleans(), limit=st.integers(1, 3))
    def work(self, take_over: bool, limit: int) -> None:
        for claim in self.shop.claim_due(limit=limit, take_over=take_over):
            self.shop.perform(claim)

    @rule(take_over=st.booleans())
    def begin(self, take_over: bool) -> None:
        self.held += self.shop.claim_due(take_over=take_over)

    @precondition(lambda self: self.held)
    @rule()
    def end(self) -> None:
        self.shop.perform(self.held.pop(0))

    @rule()
    def relay(self) -> None:
        self.shop.runtime.relay.once()

    @rule(seconds=st.sampled_from([6, 11, 31]))
    def wait(self, seconds: int) -> None:
        self.shop.clock.advance(seconds)

    @rule(call=st.sampled_from(CALLS), number=st.integers(0, 9), flag=st.booleans())
    def decide(self, call: str, number: int, flag: bool) -> None:
        if not self.runs:
            return
        run_id = self.runs[number % len(self.runs)].id
        options: dict[str, Any] = {"actor": "lee"}
        opened = [row.step for row in self.shop.look(run_id).step_runs or () if row.status == "paused"]
        if call in ("approve_run", "reject_run", "unblock_run", "retry_step", "resolve_step", "fail_step") and opened:
            options["step"] = opened[number % len(opened)]
        if call == "cancel_run":
            options["compensate"] = flag
        if call == "replay_run":
            options["allow_irreversible"] = flag
        possible = {str(action) for action in self.shop.mesh.explain_run(run_id).next_actions}
        refusal: SquidMeshError | None = None
        try:
            getattr(self.shop.mesh, call)(run_id, **options)
        except SquidMeshError as error:
            refusal = error
        if refusal is None:
            assert call in possible or call == "replay_run", (call, possible)
        elif isinstance(refusal, TransitionError):
            assert call not in possible or "step" in options, (call, possible, refusal)

    @invariant()
    def rows_agree(self) -> None:
        if hasattr(self, "shop"):
            check_rows(self.shop)
            assert all(self.statuses.get(run.id, "pending") == run.status for run in self.runs)

    @invariant()
    def ended_runs_need_nobody_but_for_their_end(self) -> None:
        for run in self.runs if hasattr(self, "shop") else ():
            if run.status in TERMINAL:
                assert run.finished_at is not None
                assert run.needs in (None, "failed", "compensation_failed", "interrupted")
            if run.status == "completed":
                assert run.remaining == 0
                assert run.needs is None

    def teardown(self) -> None:
        if hasattr(self, "shop"):
            signals.run_transitioned.disconnect(self.moved, sender=self.shop.app)
            self.come_to_rest()
            self.context.pop()
            self.shop.runtime.database.dispose()
            with self.shop.app.app_context():
                self.shop.db.engine.dispose()
            self.databases.drop(self.shop.url)

    def come_to_rest(self) -> None:
        """However it was left, with time and good outcomes every run ends, or waits for a person."""
        self.upcoming = []
        for _ in range(60):
            self.shop.clock.advance(31)
            self.work(True, 3)
        for run in self.runs:
            assert run.status in TERMINAL or run.needs is not None, run.status
        assert self.shop.rows(tables.dispatches) == []


@pytest.mark.rule("dispatch-agrees", "no-journal", "statuses-paused", "next-actions")
def test_any_order_of_events_keeps_the_rows_in_agreement(sqlite_databases: SqliteDatabases) -> None:
    AnyOrder.databases = sqlite_databases
    run_state_machine_as_test(
        AnyOrder, settings=settings(max_examples=25, stateful_step_count=30, deadline=None, derandomize=True)
    )
