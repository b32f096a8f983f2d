"""Random workflows under random deliveries, crashes, decisions and delays: what must hold always holds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal
from uuid import uuid4

import pytest
from hypothesis import seed
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from flask_squidmesh import SquidMeshError
from flask_squidmesh.engine.transitions import TERMINAL
from flask_squidmesh.executor import Payload
from flask_squidmesh.storage import tables
from tests.integration.state_machine.deploys import Change, changes
from tests.integration.state_machine.extent import EXTENT, ROUNDS
from tests.integration.state_machine.invariants import Watcher, check_end, held
from tests.integration.state_machine.mishaps import Mishap, deaths, mishaps
from tests.integration.state_machine.operators import CALLS, How, Operator, options, settle
from tests.integration.state_machine.plans import WorkflowPlan, first_name, workflows
from tests.integration.state_machine.world import LATER, LONG, World

MOST_LIVE, MOST_RUNS, MOST_DEPLOYS = 2, 6, 2
BRIEF = 11.0
CALLED_NOTHING = ("too_early", "duplicate", "held", "unknown_run", "cancelled")

which = st.integers(0, 7)


class AnyWorkflow(RuleBasedStateMachine):
    """Everything that may happen to the runs of one host."""

    world: World

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url
        self.opened = False

    @initialize(
        plans=st.lists(workflows(), min_size=1, max_size=2),
        continues=st.booleans(),
        by_queue=st.booleans(),
        steps=st.sampled_from([1, 2, 25]),
        abandoned=st.sampled_from([1, 2, 3]),
    )
    def open(self, plans: list[WorkflowPlan], continues: bool, by_queue: bool, steps: int, abandoned: int) -> None:
        self.world = World(
            self._url,
            plans,
            continues=continues,
            by_queue=by_queue,
            delivery_steps=steps,
            max_abandoned=abandoned,
        )
        self.world.__enter__()
        self.opened = True
        self.watcher, self.operator = Watcher(self.world), Operator(self.world)
        self.world.meanwhile = self.operator.try_everything
        self.keys: dict[tuple[int, str], str] = {}
        for number in range(len(plans)):
            self._start(number, "alone", None, None)

    # -- starting ----------------------------------------------------------------------------------------------

    @precondition(lambda self: self._live() < MOST_LIVE and len(self.world.runs) < MOST_RUNS)
    @rule(
        workflow=which,
        how=st.sampled_from(["alone", "joined", "rolled back"]),
        key=st.sampled_from([None, None, "one", "two"]),
        mishap=deaths(),
    )
    def start(self, workflow: int, how: How, key: str | None, mishap: Mishap | None) -> None:
        self._start(workflow, how, key, mishap)

    def _start(self, workflow: int, how: How, key: str | None, mishap: Mishap | None) -> None:
        world, number = self.world, workflow % len(self.world.workflows)
        known = self._runs()
        with world.process(mishap):
            session = None if how == "alone" else world.shop.db.session
            started = world.shop.start(world.workflows[number], idempotency_key=key, actor="lee", session=session)
            if session is not None:
                session.rollback() if how == "rolled back" else session.commit()
            if key and how != "rolled back":
                assert self.keys.setdefault((number, key), started) == started
        new = self._runs() - known
        assert len(new) <= (0 if how == "rolled back" or (mishap and mishap.nth == 1 and not mishap.after) else 1)
        world.runs += new
        if key and new:
            self.keys[number, key] = world.runs[-1]

    def _live(self) -> int:
        return len(self.world.shop.rows(tables.runs, tables.runs.c.status.not_in(TERMINAL)))

    def _runs(self) -> set[str]:
        return {row.id for row in self.world.shop.rows(tables.runs)}

    # -- workers -----------------------------------------------------------------------------------------------

    @rule(
        workflow=which,
        shifts=st.lists(st.tuples(st.sampled_from([0.0, LATER, LATER, LONG]), mishaps()), min_size=1, max_size=6),
    )
    def work(self, workflow: int, shifts: list[tuple[float, Mishap | None]]) -> None:
        if not self._live():
            self._start(workflow, "alone", None, None)
        for seconds, mishap in shifts:
            self.world.shop.clock.advance(seconds)
            with self.world.process(mishap):
                self.world.take_turn()
                self.world.take_turn()
            self.everything_agrees()

    @rule(limit=st.integers(1, 3), take_over=st.sampled_from([True, None]), mishap=deaths())
    def claim(self, limit: int, take_over: bool | None, mishap: Mishap | None) -> None:
        early = {row.id for row in self.world.shop.rows(tables.dispatches)} - self._due()
        known = {claim.claim_id for claim in self.world.claims}
        with self.world.process(mishap):
            self.world.claim(limit=limit, take_over=take_over)
        taken = {claim.dispatch_id for claim in self.world.claims if claim.claim_id not in known}
        assert not taken & early, "work was claimed before it was due"

    @precondition(lambda self: self.world.claims)
    @rule(which=which, dies=st.sampled_from([False, False, True]), mishap=mishaps())
    def go_on(self, which: int, dies: bool, mishap: Mishap | None) -> None:
        claim = self.world.claims.pop(which % len(self.world.claims))
        with self.world.process(mishap):
            if not dies:
                self.world.work(claim)

    def _due(self) -> set[str]:
        now = self.world.shop.clock.now()
        return {row.id for row in self.world.shop.rows(tables.dispatches) if row.due_at <= now}

    # -- the outside -------------------------------------------------------------------------------------------

    @rule(
        how=st.sampled_from(["alone", "joined", "rolled back"]),
        event_id=st.sampled_from([None, None, "one", "two"]),
        mishap=deaths(),
    )
    def send(self, how: How, event_id: str | None, mishap: Mishap | None) -> None:
        world = self.world
        known = {row.event_id for row in world.shop.rows(tables.events)}
        with world.process(mishap):
            session = None if how == "alone" else world.shop.db.session
            receipt = world.send(event_id, session)
            assert receipt.repeated == (event_id in known)
            if session is not None:
                session.rollback() if how == "rolled back" else session.commit()

    # -- deploys -----------------------------------------------------------------------------------------------

    @precondition(lambda self: len(self.world.shops) <= MOST_DEPLOYS)
    @rule(workflow=which, change=changes())
    def deploy(self, workflow: int, change: Change) -> None:
        self.world.deploy(workflow % len(self.world.versions), change)

    @precondition(lambda self: len(self.world.shops) > 1)
    @rule(version=which, mishap=mishaps())
    def work_of_an_older_version(self, version: int, mishap: Mishap | None) -> None:
        with self.world.process(mishap):
            self.world.take_turn(version % (len(self.world.shops) - 1))

    # -- the host's queue --------------------------------------------------------------------------------------

    @rule(which=which, again=st.booleans(), mishap=mishaps())
    def deliver(self, which: int, again: bool, mishap: Mishap | None) -> None:
        given = self.world.queue.given
        if not given:
            given += [(payload, None) for payload in self._nobody_asked_for()]
        payload, _ = given[which % len(given)] if again else given.pop(which % len(given))
        self._deliver(payload, mishap)

    def _nobody_asked_for(self) -> Iterator[Payload]:
        for run_id in (self.world.runs[0], str(uuid4())):
            yield Payload(kind="compensation", run_id=run_id)
            yield from (Payload(kind="step", run_id=run_id, step=step) for step in ("s0", "s1", "gone"))

    def _deliver(self, payload: Any, mishap: Mishap | None) -> None:
        calls, due = len(self.world.effects.calls), self._due_for(payload)
        with self.world.process(mishap):
            delivery = self.world.perform(payload)
            if delivery.outcome in CALLED_NOTHING:
                assert len(self.world.effects.calls) == calls, delivery
            else:
                assert due, (payload, delivery)
            assert (delivery.outcome == "unknown_run") == (payload["run_id"] not in self.world.runs)

    def _due_for(self, payload: Any) -> bool:
        steps = {row.id: row.step for row in self.world.shop.rows(tables.step_runs)}
        due = self._due()
        return any(
            row.id in due
            and row.kind == payload["kind"]
            and first_name(payload.get("step", steps[row.step_run_id])) == first_name(steps[row.step_run_id])
            for row in self.world.shop.rows(tables.dispatches, tables.dispatches.c.run_id == payload["run_id"])
        )

    @rule(trouble=st.sampled_from(["lost", "down", "up"]), mishap=deaths())
    def trouble_with_the_queue(self, trouble: str, mishap: Mishap | None) -> None:
        self.world.queue.failing = ConnectionError("the queue is down") if trouble == "down" else None
        if trouble == "lost":
            self.world.queue.given.clear()
        with self.world.process(mishap):
            self.world.shop.relay()

    # -- time and people ---------------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from([BRIEF, LATER, LATER, LONG]))
    def time_passes(self, seconds: float) -> None:
        self.world.shop.clock.advance(seconds)

    @rule(
        which=which,
        call=st.sampled_from(sorted(CALLS)).flatmap(lambda call: st.tuples(st.just(call), options(call))),
        step=which,
        seen=st.sampled_from(["nothing", "now", "before"]),
        key=st.sampled_from([None, None, "one", "two"]),
        how=st.sampled_from(["alone", "joined", "rolled back"]),
        mishap=deaths(),
    )
    def decide(
        self,
        which: int,
        call: tuple[str, dict[str, Any]],
        step: int,
        seen: Literal["nothing", "now", "before"],
        key: str | None,
        how: How,
        mishap: Mishap | None,
    ) -> None:
        run_id = self.world.runs[which % len(self.world.runs)]
        self.operator.decide(run_id, *call, which=step, seen=seen, key=key, how=how, mishap=mishap)

    @rule(
        which=which,
        offer=which,
        key=st.sampled_from([None, "one", "two", "three"]),
        how=st.sampled_from(["alone", "joined"]),
        mishap=deaths(),
    )
    def decide_as_offered(self, which: int, offer: int, key: str | None, how: How, mishap: Mishap | None) -> None:
        run_id = self.world.runs[which % len(self.world.runs)]
        offered = [call for call in self.world.shop.mesh.explain_run(run_id).next_actions if call != "cancel_run"]
        if offered:
            call = str(offered[offer % len(offered)])
            self.operator.decide(run_id, call, {}, which=offer, seen="now", key=key, how=how, mishap=mishap)

    @rule(which=which, to=st.sampled_from(["lee", "kim", None]), expects=st.booleans(), mishap=deaths())
    def assign(self, which: int, to: str | None, expects: bool, mishap: Mishap | None) -> None:
        run_id = self.world.runs[which % len(self.world.runs)]
        waits = self.world.shop.rows(tables.waits, tables.waits.c.run_id == run_id, tables.waits.c.event_key.is_(None))
        expected = {"expected_assignee": waits[0].assignee} if waits and expects else {}
        step = waits[0].step if waits else None
        with self.world.process(mishap):
            if waits and waits[0].assignee != to:
                self.world.shop.mesh.assign_run(run_id, to=to, step=step, actor="lee", **expected)
            else:
                with pytest.raises(SquidMeshError):
                    self.world.shop.mesh.assign_run(run_id, to=to, step=step, actor="lee", **expected)

    @rule(which=which)
    def decide_what_is_open(self, which: int) -> None:
        settle(self.world, self.world.runs[which % len(self.world.runs)])

    @rule(which=which)
    def look_closely(self, which: int) -> None:
        run_id = self.world.runs[which % len(self.world.runs)]
        self.operator.try_everything(run_id)
        self.world.shop.mesh.inspect_graph(run_id)
        assert run_id in {run.id for run in self.world.shop.mesh.list_runs(limit=50).runs}

    # -- always ------------------------------------------------------------------------------------------------

    @invariant()
    def everything_agrees(self) -> None:
        if self.opened:
            self.watcher.check()

    def teardown(self) -> None:
        if not self.opened:
            return
        try:
            self.world.come_to_rest(settle)
            self.watcher.check()
            if held(self.world):
                self.world.restore()
                self.world.come_to_rest(settle)
                self.watcher.check()
            check_end(self.world)
        finally:
            self.world.__exit__(None, None, None)


@pytest.mark.rule(
    "dispatch-is-a-row",
    "dispatch-agrees",
    "delivery-completed",
    "attempts-numbered",
    "attempts-one-outcome",
    "call-key-once",
    "call-session",
    "compensating-order",
    "deploy-completes",
    "statuses-paused",
    "next-actions",
    "next-actions-lead-to",
    "statuses-table",
)
@pytest.mark.parametrize("number", ROUNDS)
def test_whatever_happens_the_rules_hold(number: int, migrated_url: str) -> None:
    def machine() -> AnyWorkflow:
        return AnyWorkflow(migrated_url)

    run_state_machine_as_test(seed(number)(machine), settings=EXTENT)  # type: ignore[arg-type]
