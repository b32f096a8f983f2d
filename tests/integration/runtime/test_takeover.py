"""How soon another process goes on with what a dead one held."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from flask_squidmesh import Manual, Step, Workflow
from flask_squidmesh.clock import SettableClock
from flask_squidmesh.engine.decide import Progress
from flask_squidmesh.runtime.claimer import FairClaimer, claim_due, look_for_lost
from flask_squidmesh.runtime.deliveries import deliver
from flask_squidmesh.runtime.relay import take_from_dead_workers
from flask_squidmesh.storage import work_queue
from flask_squidmesh.storage.database import Contact
from flask_squidmesh.testing import drain
from tests.shop import Order, Recording, Script, Shop

OpenShop = Callable[..., Shop]
TIMEOUT = 30


def single(script: Script) -> type[Workflow]:
    class Single(Workflow):
        place = Manual(Order)
        work = Step(script.does("work"))
        flow = [work]

    return Single


def lost_among_many(open_shop: OpenShop, script: Script, **settings: Any) -> tuple[Shop, str]:
    """A shop in which a worker has died over one run, before many others that were due while its claim still held."""
    workflow = single(script)
    shop = open_shop(workflow, claim_timeout=TIMEOUT, **settings)
    lost = shop.start(workflow)
    assert claim_due(shop.runtime, "squidmesh", limit=1)
    for _ in range(20):
        shop.start(workflow)
    shop.clock.advance(TIMEOUT + 1)
    return shop, lost


@pytest.mark.rule("claims-expired-first")
def test_what_has_expired_is_taken_before_all_that_was_due_earlier(open_shop: OpenShop, script: Script) -> None:
    shop, lost = lost_among_many(open_shop, script)
    turns = FairClaimer(shop.runtime, "squidmesh")
    assert [claim.run.id for claim in turns.claim(limit=2)] == [lost]
    assert lost not in [claim.run.id for claim in turns.claim(limit=2)]


@pytest.mark.rule("claims-expired-first")
def test_looking_for_what_has_expired_costs_a_statement_now_and_then(open_shop: OpenShop, script: Script) -> None:
    shop, _ = lost_among_many(open_shop, script)
    turns = FairClaimer(shop.runtime, "squidmesh")
    [lost] = turns.claim(limit=1)
    deliver(shop.runtime, lost)
    counts = []
    for _ in range(3):
        with shop.counted() as counted:
            assert turns.claim(limit=1)
        counts.append(counted["statements"])
    assert max(counts[1:]) <= (5 if shop.runtime.database.dialect == "sqlite" else 2)


@pytest.mark.rule("work-untakeable")
def test_work_that_cannot_be_taken_up_keeps_nobody_from_the_rest(
    open_shop: OpenShop, script: Script, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    shop, lost = lost_among_many(open_shop, script)
    abandon = Progress.abandon

    def fail(progress: Progress, *given: Any, **more: Any) -> bool:
        abandon(progress, *given, **more)
        raise LookupError("nobody has thought of it")

    monkeypatch.setattr(Progress, "abandon", fail)
    assert drain() == 20
    assert "could not be taken up" in caplog.text
    assert "(LookupError)" in shop.mesh.explain_run(lost).details["held"]
    assert (shop.status(lost), shop.events(lost)) == ("running", [])
    monkeypatch.undo()
    shop.later(timedelta(minutes=2))
    assert (shop.status(lost), shop.events(lost)) == ("completed", ["abandoned"])


@pytest.mark.rule("work-untakeable")
def test_a_lost_step_that_cannot_be_settled_keeps_a_relay_from_no_other(
    open_shop: OpenShop, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = open_shop(single(script), claim_timeout=TIMEOUT, executor=Recording())
    first, second = shop.start("single"), shop.start("single")
    assert len(claim_due(shop.runtime, "squidmesh", limit=2)) == 2
    shop.clock.advance(TIMEOUT + 1)
    abandon = Progress.abandon

    def fail(progress: Progress, *given: Any, **more: Any) -> bool:
        if progress.run.id == first:
            raise LookupError("nobody has thought of it")
        return abandon(progress, *given, **more)

    monkeypatch.setattr(Progress, "abandon", fail)
    assert take_from_dead_workers(shop.runtime) == 1
    assert (shop.events(first), shop.events(second)) == ([], ["abandoned"])


@pytest.mark.rule("claims-expired-first")
def test_a_relay_gives_a_lost_step_its_place_in_the_queue_back(open_shop: OpenShop, script: Script) -> None:
    shop, lost = lost_among_many(open_shop, script, executor=Recording())
    assert take_from_dead_workers(shop.runtime) == 1
    assert [claim.run.id for claim in claim_due(shop.runtime, "squidmesh", limit=1)] == [lost]


@pytest.mark.rule("outage-standstill")
def test_a_claim_that_expired_while_the_database_was_silent_is_left_to_its_worker(
    open_shop: OpenShop, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The query for due work itself was long in coming, as on a server that stood still."""
    shop, _ = lost_among_many(open_shop, script)
    plain, silence = work_queue.due_work, [TIMEOUT * 0.7]

    def slowly(*given: Any, **named: Any) -> Any:
        found = plain(*given, **named)
        later = time.monotonic() + silence.pop() if silence else time.monotonic()
        monkeypatch.setattr(time, "monotonic", lambda: later)
        return found

    assert shop.runtime.database.contact.unbroken_for(TIMEOUT)
    with monkeypatch.context() as patched:
        patched.setattr(work_queue, "due_work", slowly)
        assert look_for_lost(shop.runtime, "squidmesh", limit=5) == []
    assert not shop.runtime.database.contact.unbroken_for(TIMEOUT)


@pytest.mark.rule("outage-standstill")
def test_only_writing_ends_an_outage_of_writing() -> None:
    clock = SettableClock()
    met = Contact(clock)
    met.made()
    clock.advance(TIMEOUT)
    assert met.unbroken_for(TIMEOUT)
    met.lost()
    met.made(written=False)
    clock.advance(TIMEOUT)
    assert not met.unbroken_for(TIMEOUT)
    met.made()
    clock.advance(TIMEOUT)
    assert met.unbroken_for(TIMEOUT)
