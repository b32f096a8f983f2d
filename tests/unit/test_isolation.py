"""What a process may claim beside a step that may have killed the last one."""

from __future__ import annotations

import pytest

from flask_squidmesh.engine.facts import StepFact
from flask_squidmesh.runtime import lost_claims
from flask_squidmesh.runtime.lost_claims import SuspectIsolation
from flask_squidmesh.storage.work_queue import Claim

NOTHING = StepFact._make(None for _ in StepFact._fields)


def visit(name: str, abandoned: int = 0) -> StepFact:
    return NOTHING._replace(id=name, abandoned=abandoned)


def claim(made: StepFact) -> Claim:
    return Claim._make(None for _ in Claim._fields)._replace(visit=made)


class Time:
    def __init__(self) -> None:
        self.now = 1_000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    clock = Time()
    monkeypatch.setattr(lost_claims, "time", clock)
    return clock


PLAIN, OTHER, SUSPECT, SECOND = visit("plain"), visit("other"), visit("suspect", 1), visit("second", 2)


def test_others_go_side_by_side(time: Time) -> None:
    found = SuspectIsolation(patience=30)
    found.enter(claim(PLAIN))
    assert found.admits(OTHER, [claim(PLAIN)])


@pytest.mark.rule("interrupted-alone")
def test_a_suspect_waits_until_nothing_is_at_work_and_then_goes_alone(time: Time) -> None:
    found = SuspectIsolation(patience=30)
    found.enter(claim(PLAIN))
    assert not found.admits(SUSPECT)
    found.leave(claim(PLAIN))
    assert not found.admits(SUSPECT, beside=[claim(OTHER)])
    assert found.admits(SUSPECT)
    assert not found.admits(OTHER), "it has been claimed and begins"
    found.enter(claim(SUSPECT))
    time.now += 29
    assert not found.admits(OTHER)
    assert not found.admits(SECOND)
    found.leave(claim(SUSPECT))
    assert found.admits(SECOND)


@pytest.mark.rule("interrupted-alone")
def test_a_suspect_that_takes_hours_keeps_nobody_waiting_for_longer_than_a_claim_holds(time: Time) -> None:
    found = SuspectIsolation(patience=30)
    found.enter(claim(SUSPECT))
    time.now += 31
    assert found.admits(OTHER)
    assert found.admits(SECOND)


def test_one_that_was_claimed_and_never_began_keeps_nobody_waiting_for_long(time: Time) -> None:
    found = SuspectIsolation(patience=30)
    assert found.admits(SUSPECT)
    assert found.admits(SUSPECT), "its claim was not committed, and is made anew"
    time.now += 6
    assert found.admits(OTHER)


@pytest.mark.rule("interrupted-alone")
def test_a_suspect_waits_for_a_step_that_takes_hours_no_longer_than_a_claim_holds(time: Time) -> None:
    found = SuspectIsolation(patience=30)
    found.enter(claim(PLAIN))
    for _second in range(30):
        assert not found.admits(SUSPECT)
        assert not found.admits(OTHER), "others wait with it, or there would always be somebody at work"
        time.now += 1
    assert found.admits(SUSPECT)


def test_nobody_waits_for_a_suspect_that_another_process_has_taken(time: Time) -> None:
    found = SuspectIsolation(patience=30)
    found.enter(claim(PLAIN))
    assert not found.admits(SUSPECT)
    assert not found.admits(OTHER)
    time.now += 4
    assert found.admits(OTHER)
