"""Events: a wait takes the one it waits for, whichever comes first, once, and each for its own reasons."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from pydantic import BaseModel

from flask_squidmesh import (
    CancelOn,
    ConflictError,
    EventReceipt,
    Manual,
    OnEvent,
    PayloadError,
    Step,
    WaitForEvent,
    Workflow,
)
from flask_squidmesh.storage import tables
from flask_squidmesh.testing import drain
from tests.shop import Script, Shop

OpenShop = Callable[..., Shop]


class Purchase(BaseModel):
    payment_id: str = "p-1"


class Settlement(BaseModel):
    status: str
    amount: int = 0


def buying(script: Script, **how: Any) -> type[Workflow]:
    """An order that waits for its payment: shipped if that is settled, else refused."""

    class Buying(Workflow):
        place = Manual(Purchase)
        order = Step(script.does("order"))
        paid = WaitForEvent("payment.settled", key="{payment_id}", model=Settlement, **how)
        ship = Step(script.does("ship"))
        refuse = Step(script.does("refuse"))
        flow = [order >> paid, paid.when("paid.status", equals="settled") >> ship, paid >> refuse]

    return Buying


@pytest.fixture
def shop(open_shop: OpenShop, script: Script) -> Shop:
    return open_shop(buying(script))


def waiting(shop: Shop, **payload: Any) -> str:
    """A run that waits for its payment."""
    run_id = shop.run("buying", Purchase(**payload))
    drain()
    return run_id


def settle(shop: Shop, key: str = "p-1", status: str = "settled", **said: Any) -> EventReceipt:
    return shop.mesh.send_event("payment.settled", key=key, payload={"status": status}, **said)


def payload_of(shop: Shop, run_id: str) -> Any:
    """What the last visit to the wait has added to the run's state."""
    rows = shop.rows(tables.step_runs, tables.step_runs.c.run_id == run_id, tables.step_runs.c.step == "paid")
    return max(rows, key=lambda row: row.visit).output


def taken(shop: Shop) -> list[tuple[str, str, str | None]]:
    return sorted((row.kind, row.run_id, row.step) for row in shop.rows(tables.event_takes))


def matches(shop: Shop) -> int:
    """How much internal work is left to do."""
    return len(shop.rows(tables.dispatches, tables.dispatches.c.kind == "match"))


@pytest.mark.rule("events-take")
def test_a_waiting_run_takes_the_event_at_once_and_goes_where_its_payload_leads(shop: Shop, script: Script) -> None:
    run_id = waiting(shop)
    run = shop.look(run_id)
    assert (run.status, run.needs, run.current_step) == ("running", None, "paid")
    receipt = settle(shop)
    assert receipt.runs == (run_id,)
    assert not receipt.repeated
    drain()
    assert shop.look(run_id).status == "completed"
    assert script.calls == ["order", "ship"]
    assert payload_of(shop, run_id) == {"paid": {"status": "settled", "amount": 0}}
    assert shop.events(run_id) == ["event_received"]
    assert matches(shop) == 0


@pytest.mark.rule("events-early")
def test_an_event_that_came_before_the_wait_opened_is_taken_when_it_opens(shop: Shop, script: Script) -> None:
    run_id = shop.start("buying", Purchase())
    assert settle(shop, status="open").runs == ()
    drain()
    assert shop.look(run_id).status == "completed"
    assert script.calls == ["order", "refuse"]


@pytest.mark.rule("events-lookback")
def test_without_a_lookback_an_event_from_before_the_run_is_none_of_its(shop: Shop) -> None:
    settle(shop)
    shop.later(timedelta(seconds=1))
    run_id = waiting(shop)
    assert shop.look(run_id).status == "running"


@pytest.mark.rule("events-lookback")
@pytest.mark.parametrize(("age", "status"), [(59, "completed"), (61, "running")])
def test_a_lookback_says_how_old_an_event_may_be(open_shop: OpenShop, script: Script, age: int, status: str) -> None:
    shop = open_shop(buying(script, lookback=timedelta(hours=1)))
    settle(shop)
    shop.later(timedelta(minutes=age))
    assert shop.look(waiting(shop)).status == status


@pytest.mark.rule("events-key")
def test_only_the_run_with_the_key_and_the_tenant_takes_it(shop: Shop) -> None:
    mine, other = waiting(shop), waiting(shop, payment_id="p-2")
    acme = str(shop.mesh.start_run("buying", Purchase(), tenant="acme").id)
    drain()
    assert settle(shop).runs == (mine,)
    assert shop.look(other).status == "running"
    assert settle(shop, tenant="acme").runs == (acme,)


@pytest.mark.rule("events-repeat")
def test_a_repeat_answers_the_first_receipt_and_another_payload_is_a_conflict(shop: Shop, script: Script) -> None:
    run_id = waiting(shop)
    first = settle(shop, event_id="evt_1")
    again = settle(shop, event_id="evt_1")
    assert (again.id, again.runs, again.repeated) == (first.id, (run_id,), True)
    with pytest.raises(ConflictError, match="with another key or payload"):
        settle(shop, event_id="evt_1", status="open")
    with pytest.raises(ConflictError):
        settle(shop, "p-2", event_id="evt_1")
    assert not settle(shop, event_id="evt_1", tenant="acme").repeated
    drain()
    assert script.calls == ["order", "ship"]
    assert len(shop.rows(tables.events)) == 2


@pytest.mark.rule("events-payload")
def test_a_payload_that_does_not_fit_is_refused_to_the_sender_and_nothing_is_kept(shop: Shop) -> None:
    waiting(shop)
    with pytest.raises(PayloadError) as refused:
        shop.mesh.send_event("payment.settled", key="p-1", payload={"amount": "many", "colour": "red"})
    assert refused.value.missing_fields == ["status"]
    assert refused.value.unknown_fields == ["colour"]
    assert refused.value.invalid_types.keys() == {"amount"}
    assert shop.rows(tables.events) == []


@pytest.mark.rule("events-payload")
@pytest.mark.parametrize(
    "wrong", [{"name": "no name"}, {"key": ""}, {"key": " "}, {"key": "k" * 201}, {"key": True}, {"event_id": ""}]
)
def test_a_name_key_or_id_that_is_none_is_refused(shop: Shop, wrong: dict[str, Any]) -> None:
    said: dict[str, Any] = {"name": "payment.settled", "key": "p-1", "payload": {"status": "x"}, **wrong}
    with pytest.raises(PayloadError) as refused:
        shop.mesh.send_event(said.pop("name"), **said)
    assert refused.value.invalid_types.keys() == wrong.keys()


@pytest.mark.rule("events-unmodelled")
def test_an_event_that_nobody_knows_is_kept_with_whatever_it_brings(shop: Shop) -> None:
    receipt = shop.mesh.send_event("parcel.lost", key=7, payload={"where": ["sea"]})
    assert (receipt.key, receipt.runs) == ("7", ())
    [kept] = shop.rows(tables.events)
    assert kept.payload == {"where": ["sea"]}


@pytest.mark.rule("events-all")
def test_every_waiting_run_takes_it(shop: Shop) -> None:
    runs = {waiting(shop) for _ in range(3)}
    assert {*settle(shop).runs} == runs


@pytest.mark.rule("events-first")
def test_with_first_the_one_that_has_waited_longest_takes_it_and_nobody_after(
    open_shop: OpenShop, script: Script
) -> None:
    shop = open_shop(buying(script, accept="first", lookback=timedelta(hours=1)))
    first = waiting(shop)
    shop.later(timedelta(seconds=1))
    second = waiting(shop)
    assert settle(shop).runs == (first,)
    third = waiting(shop)
    drain()
    assert [shop.look(each).status for each in (first, second, third)] == ["completed", "running", "running"]
    assert settle(shop).runs == (second,)
    assert settle(shop).runs == (third,)
    assert settle(shop).runs == ()
    shop.later(timedelta(seconds=1))
    assert shop.look(waiting(shop)).status == "completed"


@pytest.mark.rule("events-oldest")
def test_a_wait_takes_the_oldest_event(shop: Shop) -> None:
    run_id = shop.start("buying", Purchase())
    for status in ("one", "two"):
        settle(shop, status=status)
        shop.clock.advance(timedelta(seconds=1))
    drain()
    assert payload_of(shop, run_id)["paid"]["status"] == "one"


@pytest.mark.rule("events-visits")
def test_each_visit_of_a_step_takes_another_event(open_shop: OpenShop, script: Script) -> None:
    class Collecting(Workflow):
        place = Manual(Purchase)
        part = WaitForEvent("part.arrived", key="{payment_id}")
        count = Step(script.does("count"))
        flow = [part.when("part.last", equals=True) >> count, part >> part]

    shop = open_shop(Collecting)
    run_id = shop.run(Collecting, Purchase())
    drain()
    for number in (1, 2):
        assert shop.mesh.send_event("part.arrived", key="p-1", payload={"number": number}).runs == (run_id,)
        assert script.calls == []
    shop.mesh.send_event("part.arrived", key="p-1", payload={"last": True})
    drain()
    assert shop.look(run_id).status == "completed"
    assert [row.visit for row in shop.rows(tables.event_takes)] == [1, 2, 3]


@pytest.mark.rule("events-replay")
def test_a_replay_does_not_take_what_the_run_has_taken_that_it_replays(open_shop: OpenShop, script: Script) -> None:
    shop = open_shop(buying(script, lookback=timedelta(hours=1)))
    first = waiting(shop)
    settle(shop)
    drain()
    replay = str(shop.mesh.replay_run(first).id)
    drain()
    assert shop.look(replay).status == "running"
    assert settle(shop).runs == (replay,)
    drain()
    again = str(shop.mesh.replay_run(replay).id)
    drain()
    assert shop.look(again).status == "running"


@pytest.mark.rule("events-unfit")
def test_a_wait_whose_model_has_changed_passes_over_an_event_and_shows_it(open_shop: OpenShop, script: Script) -> None:
    class Stricter(Settlement):
        iban_country: str

    old = open_shop(buying(script))
    run_id = old.start("buying", Purchase())
    settle(old)

    class Buying(Workflow):
        place = Manual(Purchase)
        order = Step(script.does("order"))
        paid = WaitForEvent("payment.settled", key="{payment_id}", model=Stricter)
        flow = [order >> paid]

    new = open_shop(Buying)
    drain()
    assert new.look(run_id).status == "running"
    assert new.events(run_id) == ["event_unfit"]
    [row] = [row for row in new.rows(tables.step_runs) if row.step == "paid"]
    assert "iban_country" in row.decision["misfit"]["why"]
    sent = new.mesh.send_event("payment.settled", key="p-1", payload={"status": "settled", "iban_country": "DE"})
    assert sent.runs == (run_id,)


@pytest.mark.rule("events-timeout")
def test_the_time_out_ends_the_wait_and_an_event_after_it_changes_nothing(open_shop: OpenShop, script: Script) -> None:
    class Impatient(Workflow):
        place = Manual(Purchase)
        paid = WaitForEvent("payment.settled", key="{payment_id}", within=timedelta(minutes=10))
        ship = Step(script.does("ship"))
        undo = Step(script.does("undo"))
        flow = [paid >> ship, paid.on_timeout >> undo]

    shop = open_shop(Impatient)
    run_id = shop.run(Impatient, Purchase())
    shop.later(timedelta(minutes=10))
    assert shop.mesh.send_event("payment.settled", key="p-1").runs == ()
    drain()
    assert script.calls == ["undo"]
    assert shop.look(run_id).outcome == "timed_out"
    assert payload_of(shop, run_id) == {}
    assert matches(shop) == 0


@pytest.mark.rule("events-cancelled")
def test_a_cancelled_run_waits_no_more(shop: Shop) -> None:
    run_id = waiting(shop)
    shop.mesh.cancel_run(run_id, actor="lee")
    assert shop.look(run_id).status == "cancelled"
    assert shop.rows(tables.waits) == []
    assert settle(shop).runs == ()


@pytest.mark.rule("events-start")
def test_an_event_starts_a_run_once_of_its_tenant(open_shop: OpenShop, script: Script) -> None:
    class Fulfilling(Workflow):
        created = OnEvent("order.created", Purchase)
        pack = Step(script.does("pack"))

    shop = open_shop(Fulfilling)
    receipt = shop.mesh.send_event(
        "order.created", key="o-1", payload={"payment_id": "p-9"}, event_id="e-1", tenant="acme"
    )
    again = shop.mesh.send_event(
        "order.created", key="o-1", payload={"payment_id": "p-9"}, event_id="e-1", tenant="acme"
    )
    [run_id] = receipt.runs
    assert (again.runs, again.repeated) == ((run_id,), True)
    run = shop.look(run_id)
    assert (run.tenant, run.trigger, run.actor) == ("acme", "created", "event order.created")
    drain()
    [row] = shop.rows(tables.runs)
    assert row.payload == {"payment_id": "p-9"}
    assert taken(shop) == [("start", run_id, None)]
    assert len(shop.mesh.send_event("order.created", key="o-1", payload={}).runs) == 1
    with pytest.raises(ConflictError, match="an event's"):
        shop.mesh.start_run(Fulfilling, Purchase(), idempotency_key="event:x")


def ordering(script: Script, compensate: bool) -> type[Workflow]:
    class Ordering(Workflow, cancel_on=CancelOn("order.withdrawn", key="{payment_id}", compensate=compensate)):
        place = Manual(Purchase)
        reserve = Step(script.does("reserve"), compensate=script.does("release"))
        paid = WaitForEvent("payment.settled", key="{payment_id}")
        flow = [reserve >> paid]

    return Ordering


@pytest.mark.rule("events-cancel-on")
@pytest.mark.parametrize("compensate", [False, True])
def test_an_event_cancels_the_run(open_shop: OpenShop, script: Script, compensate: bool) -> None:
    shop = open_shop(ordering(script, compensate))
    run_id = shop.run("ordering", Purchase())
    drain()
    assert shop.mesh.send_event("order.withdrawn", key="p-1").runs == (run_id,)
    drain()
    assert shop.look(run_id).status == "cancelled"
    assert script.calls == ["reserve", *(["release"] if compensate else [])]
    [event] = [each for each in shop.look(run_id).audit_events or () if each.type == "cancelled"]
    assert (event.actor, (event.metadata or {})["name"]) == ("the event", "order.withdrawn")
    assert taken(shop) == [("cancel", run_id, None)]


@pytest.mark.rule("events-cancel-on")
def test_the_payload_has_to_hold_the_key_of_what_cancels(open_shop: OpenShop, script: Script) -> None:
    shop = open_shop(ordering(script, False))
    with pytest.raises(PayloadError, match="of the event order"):
        shop.mesh.start_run("ordering", Purchase(payment_id=""))
    assert shop.rows(tables.runs) == []


@pytest.mark.rule("events-session")
def test_in_a_session_nothing_happens_before_its_commit(shop: Shop, script: Script) -> None:
    run_id = waiting(shop)
    receipt = settle(shop, session=shop.db.session)
    assert (receipt.runs, receipt.repeated) == ((), False)
    shop.db.session.rollback()
    drain()
    assert shop.look(run_id).status == "running"
    assert shop.rows(tables.events) == []
    settle(shop, session=shop.db.session)
    shop.db.session.commit()
    drain()
    assert shop.look(run_id).status == "completed"


@pytest.mark.rule("events-incident")
def test_a_key_that_the_state_does_not_hold_is_an_incident(open_shop: OpenShop, script: Script) -> None:
    shop = open_shop(buying(script))
    run_id = waiting(shop, payment_id="")
    run = shop.look(run_id)
    assert (run.status, run.needs.kind if run.needs else None) == ("paused", "incident")
    shop.mesh.resolve_step(run_id, output={"status": "settled"}, actor="lee")
    drain()
    assert shop.look(run_id).status == "completed"
    assert script.calls == ["order", "ship"]


@pytest.mark.rule("events-kept")
def test_events_are_kept_for_their_retention(open_shop: OpenShop, script: Script) -> None:
    shop = open_shop(buying(script))
    run_id = waiting(shop)
    settle(shop)
    drain()
    shop.later(timedelta(days=6, hours=23))
    shop.runtime.retention.keep()
    assert len(shop.rows(tables.events)) == 1
    shop.later(timedelta(hours=2))
    shop.runtime.retention.keep()
    assert shop.rows(tables.events) == []
    assert shop.rows(tables.event_takes) == []
    assert shop.look(run_id).status == "completed"


@pytest.mark.rule("explaining-event")
def test_why_a_run_waits_for_an_event(open_shop: OpenShop, script: Script) -> None:
    shop = open_shop(buying(script, within=timedelta(minutes=10)))
    run_id = waiting(shop)
    found = shop.mesh.explain_run(run_id)
    assert (found.reason, found.step) == ("waiting_for_event", "paid")
    assert found.details["event"] == "payment.settled"
    assert found.details["key"] == "p-1"
    assert found.details["deadline"] == "on_time"
    assert [str(action) for action in found.next_actions] == ["cancel_run"]
    shop.later(timedelta(minutes=11))
    assert shop.mesh.explain_run(run_id).details["deadline"] == "overdue"
