from __future__ import annotations

from typing import get_args

import pytest

from flask_squidmesh.engine.transitions import RUN_MOVES, TERMINAL, UNFINISHED, RunStatus, may_move


@pytest.mark.rule("statuses", "statuses-table")
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
