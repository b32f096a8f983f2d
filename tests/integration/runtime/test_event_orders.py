"""Every order in which a wait opens, an event comes, time runs out and a run is cancelled: nothing is lost, nothing is
taken twice."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from functools import partial
from itertools import combinations
from typing import Any

import pytest
from pydantic import BaseModel
from sqlalchemy.orm import Session

from flask_squidmesh import Manual, Pause, Step, TransitionError, WaitForEvent, Workflow
from flask_squidmesh.storage import tables
from flask_squidmesh.testing import drain
from tests.shop import Script, Shop

OpenShop = Callable[..., Shop]
Order = tuple[str, ...]
EVENT = "payment.settled"


class Purchase(BaseModel):
    payment_id: str = "p-1"


def paying(script: Script, accept: Any = "all") -> type[Workflow]:
    """A run that waits at once, or once it is resumed."""

    class Paying(Workflow):
        place = Manual(Purchase)
        hold = Pause()
        paid = WaitForEvent(EVENT, key="{payment_id}", within=timedelta(hours=1), accept=accept)
        ship = Step(script.does("ship"))
        give_up = Step(script.does("give_up"))
        flow = [hold >> paid >> ship, paid.on_timeout >> give_up]

    return Paying


def buying(script: Script) -> type[Workflow]:
    class Buying(Workflow):
        place = Manual(Purchase)
        paid = WaitForEvent(EVENT, key="{payment_id}", within=timedelta(hours=1))
        ship = Step(script.does("ship"))
        give_up = Step(script.does("give_up"))
        flow = [paid >> ship, paid.on_timeout >> give_up]

    return Buying


def interleaved(*parts: Sequence[str]) -> Iterator[Order]:
    """All orders of the parts that keep the order within each."""
    if len(parts) == 1:
        yield tuple(parts[0])
        return
    first, *rest = parts
    for order in interleaved(*rest):
        total = len(first) + len(order)
        for places in combinations(range(total), len(first)):
            ours, theirs = iter(first), iter(order)
            yield tuple(next(ours) if place in places else next(theirs) for place in range(total))


def possible(order: Order, ending: str | None) -> bool:
    """What ends a wait needs one that is open, in a transaction that nobody waits for."""
    return ending is None or order.index(ending) > order.index("wait committed")


def apart(order: Order) -> bool:
    """Whether no transaction is open while another writes, which SQLite would keep waiting."""
    opened = order.index("wait opens"), order.index("event sent")
    return all(order[place + 1].split()[0] == order[place].split()[0] for place in opened)


def orders(last: str, ending: str | None) -> list[Order]:
    parts = [("wait opens", "wait committed"), ("event sent", last)] + ([(ending,)] if ending else [])
    return [order for order in interleaved(*parts) if possible(order, ending)]


CASES = [
    (order, last, ending)
    for last in ("event committed", "event rolled back")
    for ending in (None, "time-out", "cancel")
    for order in orders(last, ending)
]


class Stage:
    """One run and one event, each in a session of the host's of its own."""

    def __init__(self, shop: Shop, *, new: bool) -> None:
        self.shop, self.new = shop, new
        engine = shop.db.engine
        self.opening, self.sending = Session(engine), Session(engine)
        self.run_id = "" if new else shop.run("paying", Purchase())

    def do(self, what: str) -> None:
        mesh = self.shop.mesh
        match what:
            case "wait opens" if self.new:
                self.run_id = mesh.start_run("buying", Purchase(), session=self.opening).id
            case "wait opens":
                mesh.unblock_run(self.run_id, actor="lee", session=self.opening)
            case "wait committed":
                self.opening.commit()
            case "event sent":
                mesh.send_event(EVENT, key="p-1", payload={"n": 1}, session=self.sending)
            case "event committed":
                self.sending.commit()
            case "event rolled back":
                self.sending.rollback()
            case "time-out":
                self.shop.later(timedelta(hours=1))
            case "cancel":
                try:
                    mesh.cancel_run(self.run_id, actor="lee")
                except TransitionError:
                    assert self.shop.status(self.run_id) == "completed"

    def close(self) -> None:
        self.opening.close()
        self.sending.close()


def expected(order: Order, last: str, ending: str | None, new: bool) -> str:
    """What comes first of what can end the wait: ship, give_up, cancelled, or nothing.

    new: whether the run begins with the wait, so that an event from before is none of its.
    """
    both = max(order.index("wait committed"), order.index(last))
    came = last == "event committed" and not (new and order.index(last) < order.index("wait opens"))
    if ending is not None and (not came or order.index(ending) < both):
        return {"time-out": "give_up", "cancel": "cancelled"}[ending]
    return "ship" if came else "waits"


@pytest.mark.rule("events-any-order")
@pytest.mark.parametrize("new", [False, True], ids=["resumed", "started"])
@pytest.mark.parametrize(("order", "last", "ending"), CASES, ids=["-".join(order) for order, _, _ in CASES])
def test_in_every_order_of_commits_the_first_to_come_ends_the_wait(
    open_shop: OpenShop, script: Script, order: Order, last: str, ending: str | None, new: bool
) -> None:
    shop = open_shop(paying(script), buying(script))
    if shop.runtime.database.dialect == "sqlite" and not apart(order):
        pytest.skip("SQLite has one writer at a time")
    stage = Stage(shop, new=new)
    for what in order:
        stage.do(what)
        if what == "wait committed" or what == last:
            drain()
    drain()
    stage.close()
    want = expected(order, last, ending, new)
    assert script.calls == [want] * (want in ("ship", "give_up"))
    status = {"waits": "running", "cancelled": "cancelled"}.get(want, "completed")
    assert shop.status(stage.run_id) == status
    assert len(shop.rows(tables.event_takes)) == (want == "ship")
    assert [row for row in shop.rows(tables.dispatches) if row.kind == "match"] == []


def at_once(shop: Shop, *calls: Callable[[], Any]) -> None:
    """Make the calls in threads of their own, at one moment; none may raise but that a run is over."""
    barrier = threading.Barrier(len(calls))
    raised: list[BaseException] = []

    def make(call: Callable[[], Any]) -> None:
        with shop.app.app_context():
            barrier.wait(120)
            try:
                call()
            except TransitionError:
                pass
            except BaseException as error:
                raised.append(error)

    threads = [threading.Thread(target=make, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert raised == []


ROUNDS = 5


@pytest.mark.rule("events-any-order", "events-first-ends")
@pytest.mark.parametrize("rival", ["opens", "cancel", "time-out", "work", "another"])
def test_an_event_and_what_happens_at_the_same_moment_leave_one_end(
    open_shop: OpenShop, script: Script, rival: str
) -> None:
    shop = open_shop(paying(script))
    for number in range(ROUNDS):
        key = f"p-{number}"
        run_id = shop.run("paying", Purchase(payment_id=key))
        resume = partial(shop.mesh.unblock_run, run_id, actor="lee")
        if rival != "opens":
            resume()
        if rival == "time-out":
            shop.clock.advance(timedelta(hours=1))
        rivals: dict[str, Callable[[], Any]] = {
            "opens": resume,
            "cancel": partial(shop.mesh.cancel_run, run_id, actor="lee"),
            "time-out": shop.runtime.internal_work.perform_due,
            "work": shop.runtime.internal_work.perform_due,
            "another": partial(shop.mesh.send_event, EVENT, key=key, payload={"n": 2}),
        }
        at_once(shop, partial(shop.mesh.send_event, EVENT, key=key, payload={"n": 1}), rivals[rival])
        shop.later(timedelta(seconds=3))
        takes = shop.rows(tables.event_takes, tables.event_takes.c.run_id == run_id)
        run = shop.look(run_id)
        assert run.status in ("completed", "cancelled")
        shipped = run.status == "completed" and run.outcome is None
        assert len(takes) == shipped
        if rival in ("opens", "work", "another"):
            assert shipped


@pytest.mark.rule("events-first")
def test_of_runs_that_wait_for_the_first_event_each_takes_another(open_shop: OpenShop, script: Script) -> None:
    shop = open_shop(paying(script, accept="first"))
    runs = []
    for _ in range(3):
        runs.append(shop.run("paying", Purchase()))
        shop.mesh.unblock_run(runs[-1], actor="lee")
        shop.clock.advance(timedelta(seconds=1))
    sends = [partial(shop.mesh.send_event, EVENT, key="p-1", payload={"n": number}) for number in range(3)]
    at_once(shop, *sends, shop.runtime.internal_work.perform_due)
    shop.later(timedelta(seconds=5))
    takes = shop.rows(tables.event_takes)
    assert sorted(row.run_id for row in takes) == sorted(runs)
    assert len({row.event for row in takes}) == 3
