"""What a process may claim beside a step that may have killed the last one."""

from __future__ import annotations

import pytest

from flask_squidmesh.engine.facts import StepFact
from flask_squidmesh.runtime import solitude
from flask_squidmesh.runtime.solitude import Solitude
from flask_squidmesh.store.claiming import Claim

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
    monkeypatch.setattr(solitude, "time", clock)
    return clock


PLAIN, OTHER, SUSPECT, SECOND = visit("plain"), visit("other"), visit("suspect", 1), visit("second", 2)


def test_others_go_side_by_side(time: Time) -> None:
    found = Solitude(patience=30)
    found.enter(claim(PLAIN))
    assert found.admits(OTHER, [claim(PLAIN)])


def test_a_suspect_waits_until_nothing_is_at_work_and_then_goes_alone(time: Time) -> None:
    found = Solitude(patience=30)
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


def test_a_suspect_that_takes_long_keeps_nobody_but_other_suspects(time: Time) -> None:
    found = Solitude(patience=30)
    assert found.admits(SUSPECT)
    found.enter(claim(SUSPECT))
    time.now += 30
    assert found.admits(OTHER)
    found.enter(claim(OTHER))
    time.now += 3_600
    assert not found.admits(SECOND)
    assert found.admits(PLAIN), "the second waits for the first, and nobody for the second"
    found.leave(claim(SUSPECT))
    assert not found.admits(SECOND)
    assert not found.admits(PLAIN), "now that it is its turn"
    found.leave(claim(OTHER))
    assert found.admits(SECOND)


@pytest.mark.parametrize("seconds_between_looks", [1, 10])
def test_a_suspect_waits_no_longer_than_others_wait_for_it(time: Time, seconds_between_looks: int) -> None:
    found = Solitude(patience=30)
    found.enter(claim(PLAIN))
    waited = 0
    while not found.admits(SUSPECT):
        time.now += seconds_between_looks
        waited += seconds_between_looks
        assert waited <= 30
    assert waited == 30
    assert not found.admits(OTHER)
    found.enter(claim(SUSPECT))
    assert not found.admits(OTHER)
    assert not found.admits(SECOND)


def test_one_that_was_claimed_and_never_began_keeps_nobody_waiting_for_long(time: Time) -> None:
    found = Solitude(patience=30)
    assert found.admits(SUSPECT)
    assert found.admits(SUSPECT), "its claim was not committed, and is made anew"
    time.now += 6
    assert found.admits(OTHER)


def test_others_wait_for_a_suspect_and_not_for_ever(time: Time) -> None:
    found = Solitude(patience=30)
    found.enter(claim(PLAIN))
    waited = []
    for second in range(90):
        if second < 30:
            assert not found.admits(SUSPECT)
        waited += [second] if not found.admits(OTHER) else []
        time.now += 1
    assert waited == [*range(30)]


def test_nobody_waits_for_a_suspect_that_another_process_has_taken(time: Time) -> None:
    found = Solitude(patience=30)
    found.enter(claim(PLAIN))
    assert not found.admits(SUSPECT)
    assert not found.admits(OTHER)
    time.now += 4
    assert found.admits(OTHER)
