"""What is promised of events and notices, where no test of how they work holds it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest
from pydantic import BaseModel

from flask_squidmesh import Approval, FailStep, Manual, Notice, OnEvent, Step, WaitForEvent, Workflow
from flask_squidmesh.errors import ChannelError
from flask_squidmesh.notices import message_id
from flask_squidmesh.runtime.event_matching import EventMatcher, Look
from flask_squidmesh.runtime.notice_deliverer import LEASE
from flask_squidmesh.storage import tables
from flask_squidmesh.testing import drain
from tests.shop import Order, Script, Shop, single

OpenShop = Callable[..., Shop]
EVENT = "payment.settled"
WEEK = timedelta(days=7)


class Purchase(BaseModel):
    payment_id: str = "p-1"


def buying(script: Script, *outcomes: Any, **how: Any) -> type[Workflow]:
    class Buying(Workflow):
        place = Manual(Purchase)
        paid = WaitForEvent(EVENT, key="{payment_id}", **how)
        ship = Step(script.does("ship", *outcomes))
        flow = [paid >> ship]

    return Buying


def settle(shop: Shop, **said: Any) -> Any:
    return shop.mesh.send_event(EVENT, **{"key": "p-1", "payload": {"n": 1}, **said})


@pytest.fixture
def dying(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Has senders die between the commit of an event and bringing it, until it is called."""
    bring = EventMatcher.bring

    def die(*_: object) -> None:
        raise OSError("killed")

    monkeypatch.setattr(EventMatcher, "bring", die)
    return lambda: monkeypatch.setattr(EventMatcher, "bring", bring)


@pytest.mark.rule("events-crash")
@pytest.mark.parametrize("by", ["worker", "relay"])
def test_who_dies_with_an_event_committed_leaves_it_to_others(
    open_shop: OpenShop, script: Script, dying: Callable[[], None], by: str
) -> None:
    shop = open_shop(buying(script))
    run_id = shop.run("buying", Purchase())
    assert settle(shop).runs == ()
    dying()
    shop.clock.advance(3)
    if by == "worker":
        drain()
    else:
        shop.relay()
        assert shop.events(run_id) == ["event_received"]
        drain()
    assert (shop.status(run_id), script.calls) == ("completed", ["ship"])


@pytest.mark.rule("events-unseen")
def test_an_event_that_was_brought_to_nobody_is_kept_until_it_was(
    open_shop: OpenShop, script: Script, dying: Callable[[], None]
) -> None:
    shop = open_shop(buying(script))
    run_id = shop.run("buying", Purchase())
    settle(shop)
    dying()
    shop.clock.advance(2 * WEEK)
    shop.runtime.retention.keep()
    drain()
    assert shop.status(run_id) == "completed"
    shop.clock.advance(timedelta(hours=1))
    shop.runtime.retention.keep()
    assert shop.rows(tables.events) == []


@pytest.mark.rule("events-outlived")
def test_what_a_run_has_taken_outlives_the_event(open_shop: OpenShop, script: Script) -> None:
    shop = open_shop(buying(script))
    run_id = shop.run("buying", Purchase())
    settle(shop)
    shop.later(WEEK + timedelta(hours=1))
    shop.runtime.retention.keep()
    assert shop.rows(tables.events) == []
    assert shop.mesh.inspect_run(run_id).context["paid"] == {"n": 1}
    assert shop.events(run_id) == ["event_received"]


@pytest.mark.rule("events-age")
def test_an_event_is_as_old_as_its_commit_and_not_as_the_transaction(open_shop: OpenShop, script: Script) -> None:
    shop = open_shop(buying(script, lookback=timedelta(minutes=10)))
    settle(shop, session=shop.db.session)
    shop.clock.advance(timedelta(hours=1))
    shop.db.session.commit()
    drain()
    shop.clock.advance(timedelta(minutes=9))
    assert shop.status(shop.run("buying", Purchase())) == "completed"
    shop.clock.advance(timedelta(minutes=2))
    assert shop.status(shop.run("buying", Purchase())) == "running"


@pytest.mark.rule("events-busy")
def test_a_run_that_somebody_is_just_changing_takes_it_a_moment_later(
    open_shop: OpenShop, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = open_shop(buying(script))
    free, busy = (shop.run("buying", Purchase()) for _ in range(2))
    look = EventMatcher._look

    def looking(matcher: EventMatcher, run_id: str, *given: Any, **options: Any) -> Any:
        return Look("locked") if run_id == busy else look(matcher, run_id, *given, **options)

    with monkeypatch.context() as locked:
        locked.setattr(EventMatcher, "_look", looking)
        assert settle(shop).runs == (free,)
    shop.later(2)
    assert [shop.status(run_id) for run_id in (free, busy)] == ["completed", "completed"]


@pytest.mark.rule("events-one")
def test_a_visit_takes_one_event_and_no_event_is_taken_twice(open_shop: OpenShop, script: Script) -> None:
    shop = open_shop(buying(script))
    run_id = shop.start("buying", Purchase())
    sent = [settle(shop, payload={"n": number}).id for number in range(3)]
    drain()
    settle(shop, payload={"n": 4})
    drain()
    assert shop.mesh.inspect_run(run_id).context["paid"] == {"n": 0}
    assert [(row.event, row.run_id) for row in shop.rows(tables.event_takes)] == [(sent[0], run_id)]
    assert script.calls == ["ship"]


@pytest.mark.rule("events-without-id")
def test_without_an_id_each_call_is_an_event(open_shop: OpenShop, script: Script) -> None:
    shop = open_shop(buying(script))
    assert [settle(shop).repeated for _ in range(2)] == [False, False]
    assert len(shop.rows(tables.events)) == 2


@pytest.mark.rule("events-id-forgotten")
def test_an_id_is_remembered_for_as_long_as_the_event(open_shop: OpenShop, script: Script) -> None:
    shop = open_shop(buying(script))
    first = settle(shop, event_id="evt-1")
    shop.clock.advance(WEEK - timedelta(hours=1))
    shop.runtime.retention.keep()
    assert settle(shop, event_id="evt-1").id == first.id
    shop.clock.advance(timedelta(hours=2))
    shop.runtime.retention.keep()
    run_id = shop.run("buying", Purchase())
    again = settle(shop, event_id="evt-1", payload={"n": 2})
    assert (again.repeated, again.runs) == (False, (run_id,))


@pytest.mark.rule("events-start-remembered")
def test_an_event_starts_no_second_run_under_its_id_while_the_first_is_kept(
    open_shop: OpenShop, script: Script
) -> None:
    class Fulfilling(Workflow):
        created = OnEvent(EVENT, Purchase)
        pack = Step(script.does("pack"))

    shop = open_shop(Fulfilling)
    sent = {"payload": {"payment_id": "p-1"}, "event_id": "evt-1"}
    [run_id] = settle(shop, **sent).runs
    shop.later(WEEK + timedelta(hours=1))
    shop.runtime.retention.keep()
    assert shop.rows(tables.events) == []
    again = settle(shop, **sent)
    drain()
    assert (again.repeated, again.runs, script.calls) == (False, (run_id,), ["pack"])
    assert len(shop.rows(tables.runs)) == 1


@pytest.mark.rule("events-ended")
@pytest.mark.parametrize("end", ["completed", "failed"])
def test_an_event_to_a_run_that_has_ended_is_kept_and_changes_nothing(
    open_shop: OpenShop, script: Script, end: str
) -> None:
    shop = open_shop(buying(script, *([FailStep("broken")] if end == "failed" else [])))
    run_id = shop.run("buying", Purchase())
    settle(shop)
    drain()
    before = shop.look(run_id)
    assert before.status == end
    late = settle(shop, payload={"n": 2})
    drain()
    assert late.runs == ()
    assert shop.look(run_id) == before
    assert [row.payload for row in shop.rows(tables.events, tables.events.c.id == late.id)] == [{"n": 2}]


def approving(script: Script) -> type[Workflow]:
    class Approving(Workflow):
        place = Manual(Order)
        review = Approval("Good?", assignee="mia", after=[])

    return Approving


class Post:
    """A channel that keeps its messages, and fails as often as it is told; what fails may have arrived."""

    def __init__(self, failures: int = 0) -> None:
        self.failures, self.messages = failures, list[tuple[str, list[Notice]]]()

    def send(self, receiver: str, notices: Sequence[Notice]) -> None:
        self.messages.append((receiver, list(notices)))
        if self.failures:
            self.failures -= 1
            raise ChannelError("It said nothing.")


@pytest.mark.rule("telling-as-it-stands")
def test_a_wait_is_told_as_it_stands_then(open_shop: OpenShop, script: Script) -> None:
    shop, post = open_shop(approving(script)), Post(failures=1)
    shop.mesh.add_channel(post, on="decision.opened", to="all")
    run_id = shop.run("approving")
    shop.mesh.assign_run(run_id, to="lee", actor="mia")
    shop.later(11)
    assert [[notice.assignee for notice in notices] for _, notices in post.messages] == [["mia"], ["lee"]]


@pytest.mark.rule("telling-ids")
def test_a_notice_has_one_id_for_each_receiver_and_subscription(open_shop: OpenShop, script: Script) -> None:
    shop, post = open_shop(single(script)), Post(failures=3)
    shop.mesh.add_channel(post, on="run.completed", to=["ann", "bob"], name="mails")
    shop.mesh.add_channel(post, on="run.completed", name="hook")
    shop.run("single")
    for _ in range(3):
        shop.later(timedelta(minutes=5))
    ids: dict[str, list[str]] = {"ann": [], "bob": [], "": []}
    for receiver, [notice] in post.messages:
        ids[receiver].append(notice.id)
    assert sum(map(len, ids.values())) == 6
    assert [len(set(several)) for several in ids.values()] == [1, 1, 1]
    assert len({several[0] for several in ids.values()}) == 3


@pytest.mark.rule("telling-twice")
def test_who_dies_between_telling_and_writing_it_down_has_it_told_twice_under_one_id(
    open_shop: OpenShop, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop, post = open_shop(single(script)), Post()
    shop.mesh.add_channel(post, on="run.completed", to="ann")
    with monkeypatch.context() as dying:
        end = type(shop.runtime.notice_deliverer)._end

        def die(*given: Any) -> None:
            if post.messages:
                raise KeyboardInterrupt
            end(*given)

        dying.setattr(type(shop.runtime.notice_deliverer), "_end", die)
        with pytest.raises(KeyboardInterrupt):
            shop.run("single")
    shop.later(LEASE - timedelta(seconds=10))
    assert len(post.messages) == 1
    shop.later(timedelta(seconds=20))
    assert len(post.messages) == 2
    assert len({notices[0].id for _, notices in post.messages}) == 1


@pytest.mark.rule("telling-message-ids")
def test_a_digest_that_comes_again_with_more_in_it_is_another_message(open_shop: OpenShop, script: Script) -> None:
    shop, post = open_shop(single(script)), Post(failures=2)
    shop.mesh.add_channel(post, on="run.completed", to="ann", digest=timedelta(minutes=1))
    shop.run("single")
    shop.run("single")
    shop.later(61)
    shop.later(11)
    shop.run("single")
    shop.later(61)
    assert [len(notices) for _, notices in post.messages] == [2, 2, 3]
    first, again, more = (message_id(notices) for _, notices in post.messages)
    assert first == again != more
    assert message_id(post.messages[0][1][:1]) == post.messages[0][1][0].id
