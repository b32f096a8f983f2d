"""The same workflow, the same outcomes and the same decisions: a run that is disturbed ends like one that is not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import pytest
from hypothesis import given, seed
from hypothesis import strategies as st

from flask_squidmesh import RunSummary
from flask_squidmesh.engine.transitions import TERMINAL
from flask_squidmesh.queries.results import StepRunView
from tests.integration.state_machine.building import Call, output_of
from tests.integration.state_machine.extent import EXTENT, ROUNDS
from tests.integration.state_machine.invariants import Watcher, check_end
from tests.integration.state_machine.mishaps import Mishap, mishaps
from tests.integration.state_machine.operators import CALLS
from tests.integration.state_machine.plans import StepPlan, WorkflowPlan, workflows
from tests.integration.state_machine.world import LATER, LONG, World

ACTOR = "dana"


@dataclass(frozen=True, kw_only=True)
class Act:
    """Something that happens to the run after `seconds`."""

    what: Literal["work", "claim", "go on", "job", "relay", "decide"]
    seconds: float
    mishap: Mishap | None = None


def acts() -> st.SearchStrategy[list[Act]]:
    """Everything but decisions that nobody meant."""
    harmless = mishaps().filter(lambda mishap: mishap is None or mishap.what != "is cancelled")
    what = st.sampled_from(["work", "work", "claim", "go on", "job", "relay", "decide"])
    one = st.builds(Act, what=what, seconds=st.sampled_from([0.0, LATER, LONG]), mishap=harmless)
    return st.lists(one, min_size=5, max_size=20)


def steady(plan: WorkflowPlan) -> WorkflowPlan:
    """The workflow without what makes an end depend on luck: a lost attempt at a busy step that is tried only once,
    siblings whose outputs overwrite each other, a decision or an event that does not come in time, and a
    deadline."""
    tried = (
        replace(
            each,
            attempts=each.attempts + 1,
            undo_attempts=each.undo_attempts + 1,
            within=each.within and each.kind not in ("decision", "event"),
        )
        for each in plan.steps
    )
    plan = replace(plan, deadline=None)
    return replace(plan, steps=tuple(replace(each, keyed=each.keyed or plan.style == "dependency") for each in tried))


def of_visit(call: Call, _number: int, outcomes: tuple[str, ...]) -> str:
    """What this visit comes to, however often it is tried; a step that is busy is so at its first attempt only."""
    outcome = meant(call.visit, outcomes)
    return "ok" if outcome == "later" and call.attempt > 1 else outcome


def meant(visit: int, outcomes: tuple[str, ...]) -> str:
    """The outcome of the n-th visit."""
    return outcomes[min(visit, len(outcomes)) - 1]


@dataclass(frozen=True)
class End:
    """What a run came to, but for times and numbers of attempts."""

    status: str
    needs: str | None
    compensation: str | None
    context: Mapping[str, Any]
    visits: Mapping[Any, int]
    called: frozenset[tuple[str, str, int]]


class Life:
    """One run from its start to its end. approves: how approvals are decided, in turn."""

    def __init__(self, world: World, plan: WorkflowPlan, approves: Sequence[bool]) -> None:
        self.world, self._plan, self._approves = world, plan, approves
        self._watcher = Watcher(world)
        world.runs.append(world.shop.start(world.workflows[0]))

    def happens(self, act: Act) -> None:
        """Do it, and look whether the rows agree."""
        self.world.shop.clock.advance(act.seconds)
        with self.world.process(None if act.what == "decide" else act.mishap):
            self._do(act)
        self._watcher.check()

    def ends(self) -> End:
        """Let the run come to its end, and answer which."""
        self.world.come_to_rest(lambda world, run_id: self._decide(run_id))
        self._watcher.check()
        check_end(self.world)
        run = self.world.shop.look(self.world.runs[0])
        return End(
            status=run.status,
            needs=run.needs.kind if run.needs else None,
            compensation=run.compensation,
            context=_timeless(run.context),
            visits=Counter((row.kind, row.step, row.visit, row.status) for row in run.step_runs or ()),
            called=frozenset((call.kind, call.step, call.visit) for call in self.world.effects.calls),
        )

    def _do(self, act: Act) -> None:
        world = self.world
        match act.what:
            case "work":
                world.take_turn()
            case "claim":
                world.claim()
            case "go on" if world.claims:
                claim = world.claims.pop(0)
                if not claim.visit.irreversible:  # a person who lets it be tried again relies on the worker being dead
                    world.work(claim)
            case "job" if world.queue.given:
                world.perform(world.queue.given.pop(0)[0])
            case "relay":
                world.shop.relay()
            case "decide":
                self._decide(world.runs[0])

    def _decide(self, run_id: str) -> bool:
        run = self.world.shop.look(run_id)
        opened = [row for row in run.step_runs or () if row.status == "paused"]
        for row in opened[:1]:
            if row.decision is not None and row.decision["kind"] == "event":
                self.world.send(None)
                continue
            call, said = ("fail_step", {}) if run.status in TERMINAL else self._decision(row)
            answer: RunSummary = getattr(self.world.shop.mesh, call)(run_id, step=row.step, actor=ACTOR, **said)
            self.world.decided[answer.id, CALLS[call]] += 1
        return bool(opened)

    def _decision(self, row: StepRunView) -> tuple[str, dict[str, Any]]:
        assert row.decision is not None
        step = self._plan.step(row.step)
        if row.decision["kind"] == "pause":
            return "unblock_run", {}
        if row.decision["kind"] == "interrupted":
            return self._settlement(row, step)
        approved = self._approves[(int(row.step[1:]) + row.visit) % len(self._approves)]
        if row.decision["kind"] == "decision":
            return "decide_run", {"option": "go" if approved else "back"}
        return "approve_run" if approved else "reject_run", {}

    def _settlement(self, row: StepRunView, step: StepPlan) -> tuple[str, dict[str, Any]]:
        """A person finds out whether the effect has happened, and says what the step would have said."""
        outcome = meant(row.visit, step.outcomes)
        visit = (self.world.runs[0], "step", row.step, row.visit)
        tries = [call for call in self.world.effects.calls if (call.run_id, call.kind, call.step, call.visit) == visit]
        if not tries or outcome == "retry" or (outcome == "later" and tries[-1].attempt == 1):
            return "retry_step", {}
        if outcome in ("ok", "again", "later"):
            return "resolve_step", {"output": output_of(outcome, row.step, row.visit)}
        return "fail_step", {}


def _timeless(context: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: _timeless(value) if isinstance(value, dict) else value
        for key, value in context.items()
        if key != "decided_at"
    }


def check_once(world: World, plan: WorkflowPlan) -> None:
    """What cannot be undone happens once where it goes well."""
    times = Counter((call.step, call.visit) for call in world.effects.calls if call.kind == "step")
    for (name, visit), count in times.items():
        step = plan.step(name)
        if step.irreversible and meant(visit, step.outcomes) in ("ok", "again"):
            assert count == 1, (name, visit, count)


@pytest.mark.rule("any-order", "claims-fenced", "claims-late-result")
@pytest.mark.parametrize("number", ROUNDS)
def test_a_disturbed_run_ends_like_an_undisturbed_one(number: int, migrated_url: str) -> None:
    @seed(number)
    @EXTENT
    @given(
        plan=workflows().map(steady),
        happening=acts(),
        approves=st.lists(st.booleans(), min_size=1, max_size=3),
        continues=st.booleans(),
        by_queue=st.booleans(),
    )
    def lives(plan: WorkflowPlan, happening: list[Act], approves: list[bool], continues: bool, by_queue: bool) -> None:
        opened = partial(World, migrated_url, [plan], choose=of_visit, continues=continues, max_abandoned=100)
        with opened() as world:
            expected = Life(world, plan, approves).ends()
        with opened(by_queue=by_queue) as world:
            life = Life(world, plan, approves)
            for act in happening:
                life.happens(act)
            ended = life.ends()
            check_once(world, plan)
        if plan.style == "flow" or expected.status == "completed":
            assert ended == expected
        else:  # which siblings were done when one of them failed depends on who was faster
            assert ended.status == expected.status

    lives()
