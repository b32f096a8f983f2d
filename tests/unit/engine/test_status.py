"""The tables of moves, and that decisions and claims ask them."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import product
from typing import get_args

import pytest

from flask_squidmesh import Manual, Step, Workflow
from flask_squidmesh.definition.spec import WorkflowSpec
from flask_squidmesh.engine.facts import DecisionState
from flask_squidmesh.engine.moves import check_move, check_step_move, claimed
from flask_squidmesh.engine.tally import Tally
from flask_squidmesh.engine.transitions import (
    RUN_MOVES,
    STEP_MOVES,
    TERMINAL,
    UNFINISHED,
    ImpossibleMoveError,
    RunStatus,
    StepStatus,
    may_move,
)
from tests.unit.engine.facts import run, visit

NOW = datetime(2026, 3, 9, 12, tzinfo=UTC)


class Line(Workflow):
    place = Manual()
    a = Step(lambda: None)
    flow = [a]


LINE: WorkflowSpec = Line.__squidmesh__


@pytest.mark.rule("statuses")
def test_every_status_has_its_moves_and_they_lead_to_statuses() -> None:
    assert set(RUN_MOVES) == set(get_args(RunStatus))
    assert frozenset().union(*RUN_MOVES.values()) <= set(RUN_MOVES)


@pytest.mark.rule("statuses-end")
def test_what_has_ended_stays_so() -> None:
    assert {"completed", "failed", "cancelled"} == TERMINAL
    assert not any(RUN_MOVES[status] for status in RUN_MOVES if status in TERMINAL)
    assert UNFINISHED.isdisjoint(TERMINAL)


@pytest.mark.rule("statuses-unfinished")
def test_every_unfinished_run_can_be_cancelled_and_none_becomes_pending_again() -> None:
    assert all(may_move(status, "cancelled") for status in RUN_MOVES if status in UNFINISHED)
    assert not any(may_move(status, "pending") for status in RUN_MOVES)


@pytest.mark.rule("cancelling-never-completes")
def test_a_run_that_is_being_cancelled_never_completes() -> None:
    assert not may_move("cancelling", "completed")
    assert not may_move("cancelling", "running")


RUN_STATUSES: tuple[RunStatus, ...] = get_args(RunStatus)
STEP_STATUSES: tuple[StepStatus, ...] = get_args(StepStatus)


@pytest.mark.parametrize(("current", "to"), [*product(RUN_STATUSES, repeat=2)])
def test_a_decision_moves_a_run_as_the_table_says_and_no_other_way(current: RunStatus, to: RunStatus) -> None:
    deciding = Tally(DecisionState(LINE, run(status=current), NOW, lambda: "new"))
    if current == to or to in RUN_MOVES[current]:
        deciding.move_run(to, current_step="b")
        assert (deciding.status, deciding.changes.run.get("status", current)) == (to, to)
        assert deciding.changes.run["current_step"] == "b"
        return
    with pytest.raises(ImpossibleMoveError, match=f"^Run r cannot go from {current} to {to}. This is a bug"):
        deciding.move_run(to, current_step="b")
    assert (deciding.status, deciding.changes.run) == (current, {})


@pytest.mark.parametrize(("kind", "current", "to"), [*product(STEP_MOVES, STEP_STATUSES, STEP_STATUSES)])
def test_a_decision_moves_a_step_run_as_the_table_says_and_no_other_way(
    kind: str, current: StepStatus, to: StepStatus
) -> None:
    deciding = Tally(DecisionState(LINE, run(), NOW, lambda: "new"))
    row = visit(kind=kind, status=current)
    if current == to or to in STEP_MOVES[kind][current]:
        deciding.move_step(row, to, output={"x": 1})
        assert deciding.changes.updated == {"id-a": {"status": to, "output": {"x": 1}}}
        return
    with pytest.raises(ImpossibleMoveError, match=f"^Run r: {kind} a#1 cannot go from {current} to {to}. This is"):
        deciding.move_step(row, to, output={"x": 1})
    assert "output" not in deciding.changes.updated["id-a"]


def test_a_second_move_in_one_decision_goes_from_where_the_first_led() -> None:
    deciding = Tally(DecisionState(LINE, run(), NOW, lambda: "new"))
    deciding.move_step(visit(), "completed")
    with pytest.raises(ImpossibleMoveError, match="from completed to failed"):
        deciding.move_step(visit(), "failed")
    deciding.move_run("completed")
    with pytest.raises(ImpossibleMoveError, match="from completed to running"):
        deciding.move_run("running")


@pytest.mark.parametrize("kind", [*STEP_MOVES])
def test_every_step_status_has_its_moves(kind: str) -> None:
    assert set(STEP_MOVES[kind]) == set(STEP_STATUSES)
    assert not STEP_MOVES[kind]["completed"]


@pytest.mark.parametrize(("kind", "status"), [*product(STEP_MOVES, STEP_STATUSES)])
def test_only_what_is_pending_is_claimed(kind: str, status: StepStatus) -> None:
    row = visit(kind=kind, status=status, attempts=1)
    if status == "pending":
        begun, moved = claimed(LINE, run(status="pending"), row, NOW)
        assert (begun.status, begun.attempts, moved["started_at"]) == ("running", 2, NOW)
        assert moved.get("status") == ("running" if kind == "step" else None)
        return
    with pytest.raises(ImpossibleMoveError, match=f"from {status} to running"):
        claimed(LINE, run(status="pending"), row, NOW)


@pytest.mark.parametrize("kind", [*STEP_MOVES])
def test_a_claim_may_be_given_back(kind: str) -> None:
    check_step_move(visit(kind=kind), "running", "pending")
    check_move(run(), "pending", "running")
