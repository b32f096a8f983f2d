"""People who look at runs and decide, rightly or not, once or twice, on what they see or saw before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import pytest
import sqlalchemy as sa
from hypothesis import strategies as st

from flask_squidmesh import ConflictError, Run, RunSummary, SquidMeshError
from flask_squidmesh.engine.command_rules import NextAction
from flask_squidmesh.engine.transitions import TERMINAL
from flask_squidmesh.queries.results import Explanation
from flask_squidmesh.storage import tables
from tests.integration.state_machine.mishaps import Mishap
from tests.integration.state_machine.plans import first_name
from tests.integration.state_machine.world import World

CALLS: Final[Mapping[str, str]] = {
    "approve_run": "approved",
    "reject_run": "rejected",
    "decide_run": "decided",
    "unblock_run": "resumed",
    "retry_step": "retried",
    "resolve_step": "resolved",
    "fail_step": "failed_by_operator",
    "retry_compensation": "compensation_retried",
    "cancel_run": "cancelled",
    "replay_run": "replayed",
    "acknowledge_run": "acknowledged",
}
EVENTS: Final = frozenset(CALLS.values())
ACTOR: Final = "dana"

OPTIONS: Final = ("go", "back")

How = Literal["alone", "joined", "rolled back"]


def options(call: str) -> st.SearchStrategy[dict[str, Any]]:
    """What the call may be given beside who decides."""
    match call:
        case "decide_run":
            return st.fixed_dictionaries({"option": st.sampled_from(OPTIONS)})
        case "cancel_run":
            return st.fixed_dictionaries({"compensate": st.booleans()})
        case "resolve_step":
            return st.fixed_dictionaries({"output": st.sampled_from([None, {"again": True}])})
        case "replay_run":
            steps = st.sampled_from([None, None, "s0", "s1", "s2"])
            return st.fixed_dictionaries({"from_step": steps, "allow_irreversible": st.booleans()})
    return st.just({})


class Operator:
    """Makes control calls, and knows what must come of each."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._answers: dict[tuple[str, str, str], tuple[Mapping[str, Any], Any]] = {}
        self._tokens: dict[str, str] = {}

    def decide(
        self,
        run_id: str,
        call: str,
        given: Mapping[str, Any],
        *,
        which: int,
        seen: Literal["nothing", "now", "before"],
        key: str | None,
        how: How,
        mishap: Mishap | None,
    ) -> None:
        """Make one call, and assert that it does exactly what the run's explanation says."""
        explained, run = self._explained(run_id), self._world.shop.mesh.inspect_run(run_id)
        if call == "decide_run":
            given = {"option": "go", **given}
        offered = [
            action
            for action in explained.next_actions
            if action == call and action.option in (None, given.get("option"))
        ]
        said = {**given, **self._token(run, seen)}
        if key is not None:
            said["idempotency_key"] = key
        if offered and offered[which % len(offered)].step is not None:
            said["step"] = offered[which % len(offered)].step
        stored = self._answers.get((run_id, call, key)) if key else None
        if stored is not None and stored[0] != _arguments(said):
            self._refused(run_id, call, said, ConflictError)
        elif stored is not None:
            self._repeats(run_id, call, said, stored[1])
        elif self._is_stale(call, run, said.get("expected")):
            self._refused(run_id, call, said, ConflictError)
        elif offered or self._is_beyond(call, given):
            self._called(run_id, call, said, how, mishap, certain=bool(offered) and not given.get("from_step"))
        else:
            self._refused(run_id, call, said, SquidMeshError)

    def try_everything(self, run_id: str) -> None:
        """Assert that what is offered would succeed and lead to what it says, and that nothing else would."""
        explained = self._explained(run_id)
        offered = {str(action) for action in explained.next_actions}
        for action in explained.next_actions:
            self._would_succeed(run_id, action)
        for call in CALLS.keys() - offered:
            self._would_be_refused(run_id, call, _least(call))
        of_step = {(str(action), first_name(action.step)) for action in explained.next_actions if action.step}
        rows = self._world.shop.rows(tables.step_runs, tables.step_runs.c.run_id == run_id)
        steps = {first_name(row.step) for row in rows}
        for call, step in {(call, step) for call, _ in of_step for step in steps} - of_step:
            self._would_be_refused(run_id, call, {**_least(call), "step": step})

    def _explained(self, run_id: str) -> Explanation:
        explained = self._world.shop.mesh.explain_run(run_id)
        offered = {str(action) for action in explained.next_actions}
        refused = {refusal.call for refusal in explained.refusals}
        assert refused - {"decide_run"} == CALLS.keys() - offered - {"decide_run"}
        assert not refused & offered
        return explained

    def _token(self, run: Run, seen: str) -> dict[str, str]:
        before = self._tokens.get(run.id, "s0#7")
        self._tokens[run.id] = run.decision
        return {} if seen == "nothing" else {"expected": run.decision if seen == "now" else before}

    def _is_stale(self, call: str, run: Run, expected: str | None) -> bool:
        if expected is None:
            return False
        return run.status in TERMINAL if call == "cancel_run" else first_name(expected) != first_name(run.decision)

    def _is_beyond(self, call: str, given: Mapping[str, Any]) -> bool:
        """Whether the call asks for more than the explanation speaks of, so that it may succeed or not."""
        return call == "replay_run" and bool(given.get("from_step") or given.get("allow_irreversible"))

    def _called(
        self, run_id: str, call: str, said: Mapping[str, Any], how: How, mishap: Mishap | None, *, certain: bool
    ) -> None:
        commits = self._world.fate.commits
        answer: RunSummary | None = None
        alive = False
        try:
            with self._world.process(mishap):
                answer = self._made(run_id, call, said, how)
                alive = True
        except SquidMeshError:
            assert not certain, (call, said)
            assert self._world.fate.commits == commits
            return
        if how == "rolled back":
            assert self._world.fate.commits == commits
        elif alive and answer is not None:
            self._decided(run_id, call, said, answer)
        elif self._world.fate.commits > commits:
            self._was_left(run_id, call, said)

    def _decided(self, run_id: str, call: str, said: Mapping[str, Any], answer: RunSummary) -> None:
        self._world.decided[run_id, CALLS[call]] += 1
        if call == "replay_run":
            self._world.runs.append(answer.id)
        assert answer.status == self._world.shop.status(answer.id)
        if "idempotency_key" in said:
            self._answers[run_id, call, said["idempotency_key"]] = (_arguments(said), answer)
            self._repeats(run_id, call, said, answer)
        self.try_everything(run_id)

    def _was_left(self, run_id: str, call: str, said: Mapping[str, Any]) -> None:
        """The process died in the call, after it was made."""
        self._world.decided[run_id, CALLS[call]] += 1
        known = {row.id for row in self._world.shop.rows(tables.runs)}
        self._world.runs += sorted(known - set(self._world.runs))
        for row in self._world.shop.rows(tables.control_calls, tables.control_calls.c.run_id == run_id):
            self._answers.setdefault((run_id, row.call, row.key), (_arguments(said), row.answer))

    def _made(self, run_id: str, call: str, said: Mapping[str, Any], how: How) -> RunSummary:
        if how != "alone":
            return self._in_session(run_id, call, said, commit=how == "joined")
        answer: RunSummary = getattr(self._world.shop.mesh, call)(run_id, actor=ACTOR, **said)
        return answer

    def _in_session(self, run_id: str, call: str, said: Mapping[str, Any], *, commit: bool) -> RunSummary:
        session = self._world.shop.db.session
        try:
            answer: RunSummary = getattr(self._world.shop.mesh, call)(run_id, actor=ACTOR, session=session, **said)
            if commit:
                session.commit()
            return answer
        finally:
            session.rollback()

    def _repeats(self, run_id: str, call: str, said: Mapping[str, Any], stored: Any) -> None:
        before = self._rows(run_id)
        answer = getattr(self._world.shop.mesh, call)(run_id, actor=ACTOR, **said)
        assert answer == stored or answer.to_dict() == stored
        assert self._rows(run_id) == before

    def _refused(self, run_id: str, call: str, said: Mapping[str, Any], error: type[Exception]) -> None:
        commits = self._world.fate.commits
        with pytest.raises(error):
            getattr(self._world.shop.mesh, call)(run_id, actor=ACTOR, **said)
        assert self._world.fate.commits == commits

    def _would_be_refused(self, run_id: str, call: str, said: Mapping[str, Any]) -> None:
        with pytest.raises(SquidMeshError):
            self._in_session(run_id, call, said, commit=False)

    def _would_succeed(self, run_id: str, action: NextAction) -> None:
        said = {} if action.step is None else {"step": action.step}
        said |= {} if action.option is None else {"option": action.option}
        session = self._world.shop.db.session
        try:
            answer = getattr(self._world.shop.mesh, str(action))(run_id, actor=ACTOR, session=session, **said)
            rows = session.execute(sa.select(tables.step_runs).where(tables.step_runs.c.run_id == run_id)).all()
        finally:
            session.rollback()
        check_leads_to(action, answer, rows)

    def _rows(self, run_id: str) -> Any:
        shop = self._world.shop
        return [
            shop.rows(tables.runs, tables.runs.c.id == run_id),
            sorted(shop.rows(tables.step_runs, tables.step_runs.c.run_id == run_id), key=lambda row: row.id),
            sorted(shop.rows(tables.dispatches, tables.dispatches.c.run_id == run_id), key=lambda row: row.id),
            sorted(shop.rows(tables.audit_events, tables.audit_events.c.run_id == run_id), key=lambda row: row.id),
        ]


def _least(call: str) -> dict[str, Any]:
    """What the call cannot do without."""
    return {"option": "go"} if call == "decide_run" else {}


def _arguments(said: Mapping[str, Any]) -> dict[str, Any]:
    """What a key was used with, and what it may be used with again."""
    return {name: value for name, value in said.items() if name not in ("expected", "idempotency_key") and value}


def check_leads_to(action: NextAction, answer: RunSummary, rows: Sequence[Any]) -> None:
    """The call has led to what it said: the run's status, a step that follows, the compensations in their order."""
    expected = action.leads_to
    assert answer.status == expected.get("status", answer.status), (action, answer.status)
    steps = [row for row in rows if row.kind == "step"]
    opened = {
        first_name(row.step) for row in steps if row.status in ("pending", "running", "paused") and not row.missing
    }
    targets = [expected["target"]] if "target" in expected else expected.get("targets", ())
    targets = {first_name(target) for target in targets}
    assert not targets or targets & opened or answer.status == "failed", (action, targets, opened)
    if expected.get("status") == "failed":
        undoing = [row for row in rows if row.kind == "compensation"]
        order = [first_name(row.step) for row in sorted(undoing, key=lambda row: int(row.settings["order"]))]
        assert order == [first_name(step) for step in expected["compensates"]], (action, order)


def settle(world: World, run_id: str) -> bool:
    """Decide whatever is open in the run and can be, one decision of each step, and send what it waits for; answer
    whether there was anything."""
    run = world.shop.look(run_id)
    opened = [row for row in run.step_runs or () if row.status == "paused"]
    offered = {
        (str(each), first_name(each.step or ""))
        for each in world.shop.mesh.explain_run(run_id).next_actions
        if each.option in (None, "go")
    }
    decided = False
    for row in opened:
        if row.decision and row.decision["kind"] == "event":
            world.send(None)
            decided = True
            break
        call = {"approval": "approve_run", "pause": "unblock_run", "decision": "decide_run"}.get(
            row.decision["kind"] if row.decision else "", "fail_step"
        )
        if (call, first_name(row.step)) not in offered:
            continue
        decided = True
        getattr(world.shop.mesh, call)(run_id, step=row.step, actor=ACTOR, **_least(call))
        world.decided[run_id, CALLS[call]] += 1
        if world.shop.status(run_id) in TERMINAL:
            break
    return decided
