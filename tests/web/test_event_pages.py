"""The page of events, sending one by hand, and the page of a run that waits for one."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from pydantic import BaseModel

from flask_squidmesh import REDACTED, End, Manual, OnEvent, Scope, Step, WaitForEvent, Workflow
from flask_squidmesh.storage import tables
from flask_squidmesh.testing import drain
from tests.web.shop import advance, mesh_of
from tests.web.visiting import Visitor, queries, text_of


class Order(BaseModel):
    order_id: str = "o-1"


class Settlement(BaseModel):
    status: str
    amount: int = 0


def ship() -> None: ...


class Purchase(Workflow):
    """Wait for the payment and ship."""

    subject = "Purchase {order_id}"
    place = Manual(Order)
    paid = WaitForEvent("payment.settled", key="{order_id}", model=Settlement, within=600)
    ship = Step(ship)
    flow = [paid >> ship]


class Reservation(Workflow):
    """Wait for two payments, and not for ever."""

    place = Manual(Order)
    deposit = WaitForEvent("deposit.settled", key="{order_id}", within=600)
    rest = WaitForEvent("rest.settled", key="{order_id}", within=600)
    release = Step(ship)
    flow = [deposit >> rest, deposit.on_timeout >> release, rest.on_timeout >> End("unpaid")]


class Arrival(Workflow):
    """Begin with what comes in."""

    came = OnEvent("parcel.arrived")
    ship = Step(ship)


class Desk:
    """Somebody with these rights in this scope."""

    def __init__(self, make: Any) -> None:
        self.denied: set[str] = set()
        self.scope = Scope.all()
        self.tenant = ""
        hooks = {
            "authorize": lambda action, run, permission: action not in self.denied,
            "actor": lambda: "dana",
            "scope": lambda: self.scope,
            "tenant": lambda: self.tenant,
        }
        self.visitor: Visitor = make(hooks)
        self.mesh = mesh_of(self.visitor.app)
        self.mesh.register(Purchase, Reservation, Arrival)

    def start(self, workflow: type[Workflow] = Purchase, **how: Any) -> str:
        with self.visitor.app.app_context():
            run_id = str(self.mesh.start_run(workflow, Order(), **how).id)
            drain()
            return run_id

    def send(self, **how: Any) -> None:
        said: dict[str, Any] = {"name": "payment.settled", "key": "o-1", "payload": {"status": "settled"}, **how}
        with self.visitor.app.app_context():
            self.mesh.send_event(said.pop("name"), **said)

    def rows(self, table: Any) -> list[Any]:
        with self.visitor.app.app_context(), self.visitor.app.extensions["squidmesh"].database.read() as connection:
            return list(connection.execute(table.select()))


@pytest.fixture
def desk(make: Any) -> Desk:
    return Desk(make)


def test_a_run_says_what_follows_if_nothing_comes(desk: Desk) -> None:
    run_id = desk.start(Reservation)
    assert "If nothing comes by then, it goes on to release" in desk.visitor.read(f"/runs/{run_id}")
    desk.send(name="deposit.settled", payload={})
    with desk.visitor.app.app_context():
        drain()
    assert "If nothing comes by then, the run ends as unpaid" in desk.visitor.read(f"/runs/{run_id}")


def test_a_run_says_which_event_it_waits_for(desk: Desk) -> None:
    run_id = desk.start()
    page = desk.visitor.read(f"/runs/{run_id}")
    assert "It waits for the event payment.settled with key o-1 , due in 9 min" in page
    assert "Der Lauf wartet auf das Ereignis payment.settled mit dem Schlüssel o-1" in text_of(
        desk.visitor.get(f"/runs/{run_id}", headers={"Accept-Language": "de"}).text
    )
    assert run_id not in desk.visitor.get("/").text
    assert "Waiting" in desk.visitor.read("/runs?word=waiting&q=Purchase")
    assert "Purchase o-1" not in desk.visitor.read("/runs?word=running")
    desk.send()
    history = desk.visitor.read(f"/runs/{run_id}?view=history")
    assert "paid received the event payment.settled" in history
    assert "attempt 1 at paid" not in history
    panel = desk.visitor.read(f"/runs/{run_id}?step=paid").partition("Opened ")[2].partition("The state it saw")[0]
    assert "Ended" in panel
    assert ("Attempt 1" in panel, "Decided" in panel) == (False, False)
    for path in (f"/runs/{run_id}?view=graph", f"/runs/{run_id}?view=data", f"/runs/{run_id}?step=paid"):
        assert "paid" in desk.visitor.read(path)


@pytest.mark.rule("events-page")
def test_events_are_listed_with_the_runs_that_they_reached(desk: Desk) -> None:
    desk.start()
    desk.send(event_id="evt-7")
    desk.send(key="o-2")
    page = desk.visitor.read("/events")
    assert page.index("o-2") < page.index("o-1")
    assert "taken by Purchase o-1" in page
    assert "no run so far" in page
    assert "o-2" not in desk.visitor.read("/events?key=o-1").replace("Purchase o-1", "")
    assert "Nothing matches." in desk.visitor.read("/events?name=nothing")
    assert "This search cannot be made." in desk.visitor.read("/events?after=nonsense")


@pytest.mark.rule("events-page")
def test_events_are_paged_and_a_longer_page_asks_no_more(desk: Desk) -> None:
    desk.send(key="k-oldest")
    few = len(queries(desk.visitor, "/events"))
    for number in range(50):
        desk.send(key=f"k-{number}")
    page = desk.visitor.get("/events").text
    assert "k-oldest" not in page
    assert len(queries(desk.visitor, "/events")) == few
    older = page.partition('rel="next"')[0].rpartition('href="/squidmesh')[2].partition('"')[0].replace("&amp;", "&")
    assert "k-oldest" in desk.visitor.read(older)


@pytest.mark.rule("events-page")
def test_only_events_within_the_scope_are_listed(desk: Desk) -> None:
    desk.send(tenant="acme", key="of-acme")
    desk.send(tenant="bolt", key="of-bolt")
    desk.send(name="parcel.arrived", tenant="acme", key="parcel", payload={})
    desk.scope = Scope(tenants=["acme"])
    page = desk.visitor.read("/events")
    assert "of-acme" in page
    assert "of-bolt" not in page
    desk.scope = Scope(tenants=["acme"], workflows=[Arrival])
    page = desk.visitor.read("/events")
    assert "parcel" in page
    assert "of-acme" not in page


@pytest.mark.rule("events-page")
def test_a_run_that_may_not_be_viewed_is_not_told(desk: Desk) -> None:
    desk.start()
    desk.send()
    desk.denied = {"view"}
    assert "Purchase o-1" not in desk.visitor.read("/events")
    desk.denied = {"list"}
    assert desk.visitor.get("/events").status_code == 403


@pytest.mark.rule("events-by-hand")
def test_an_event_is_sent_by_hand_once_and_recorded(desk: Desk) -> None:
    run_id = desk.start()
    assert "payment.settled" in desk.visitor.read("/events/send")
    fields = desk.visitor.form("/events/send?name=payment.settled")
    filled = {**fields, "key": "o-1", "p-status": "settled"}
    filled = {name: "settled" if name.endswith("status") else value for name, value in filled.items()}
    sent = desk.visitor.client.post("/squidmesh/events/send", data=filled)
    again = desk.visitor.client.post("/squidmesh/events/send", data=filled)
    assert (sent.status_code, again.status_code) == (303, 303)
    assert "The event was sent, and 1 run has taken it." in desk.visitor.read("/events")
    [event] = desk.rows(tables.events)
    assert (event.actor, event.payload) == ("dana", {"status": "settled", "amount": 0})
    assert [row.run_id for row in desk.rows(tables.event_takes)] == [run_id]
    [audited] = [row for row in desk.rows(tables.audit_events) if row.type == "event_sent"]
    assert (audited.actor, audited.metadata["key"]) == ("dana", "o-1")
    assert "sent the event payment.settled" in desk.visitor.read("/audit")


@pytest.mark.rule("events-by-hand")
def test_what_is_wrong_with_it_is_said_beside_its_field_and_nothing_is_sent(desk: Desk) -> None:
    fields = desk.visitor.form("/events/send?name=payment.settled")
    answer = desk.visitor.client.post("/squidmesh/events/send", data=fields)
    assert answer.status_code == 422
    assert "Nothing was sent" in text_of(answer.text)
    assert "Say which; the run that waits says it on its page." in text_of(answer.text)
    assert desk.rows(tables.events) == []
    assert desk.visitor.get("/events/send?name=unheard.of").status_code == 404


@pytest.mark.rule("events-by-hand")
def test_it_takes_the_right_and_stays_within_the_scope(desk: Desk) -> None:
    fields = desk.visitor.form("/events/send?name=payment.settled")
    filled = {**fields, **{name: "settled" for name in fields if name.endswith("status")}, "key": "o-1"}
    desk.scope = Scope(tenants=["acme", "bolt"])
    assert desk.visitor.client.post("/squidmesh/events/send", data=filled).status_code == 403
    desk.tenant = "acme"
    assert desk.visitor.client.post("/squidmesh/events/send", data=filled).status_code == 303
    [event] = desk.rows(tables.events)
    assert event.tenant == "acme"
    desk.denied = {"send_event"}
    assert desk.visitor.get("/events/send").status_code == 403
    assert desk.visitor.client.post("/squidmesh/events/send", data=filled).status_code == 403
    assert "Send an event" not in desk.visitor.read("/events")


@pytest.mark.rule("events-by-hand")
def test_an_event_without_a_model_takes_any_json(desk: Desk) -> None:
    fields = desk.visitor.form("/events/send?name=parcel.arrived")
    [name] = _areas(desk.visitor.get("/events/send?name=parcel.arrived").text)
    filled = {**fields, "key": "p", name: '{"from": ["sea"]}'}
    assert desk.visitor.client.post("/squidmesh/events/send", data=filled).status_code == 303
    [event] = desk.rows(tables.events)
    assert event.payload == {"from": ["sea"]}
    [take] = desk.rows(tables.event_takes)
    assert take.kind == "start"


def _areas(page: str) -> list[str]:
    return [part.partition('name="')[2].partition('"')[0] for part in page.split("<textarea")[1:]]


def _first_event(desk: Desk) -> str:
    [event] = desk.rows(tables.events)
    return f"/events/{event.id}"


@pytest.mark.rule("events-shown")
def test_an_event_that_nobody_took_shows_what_it_brought(desk: Desk) -> None:
    desk.send(key="o-9", payload={"status": "settled", "amount": 7}, event_id="evt-9", actor="the bank")
    page = desk.visitor.read(_first_event(desk))
    for said in ('"amount": 7', "o-9", "evt-9", "the bank", "Kept until", "No run has taken it so far."):
        assert said in page
    assert desk.visitor.get(f"{_first_event(desk)}/payload").json == {"status": "settled", "amount": 7}
    listed = desk.visitor.get("/events").text
    assert f'href="/squidmesh{_first_event(desk)}"' in listed
    assert "amount" not in text_of(listed)


@pytest.mark.rule("events-shown")
def test_an_event_says_who_took_it_and_who_waits_for_its_like(desk: Desk) -> None:
    desk.start()
    desk.send()
    desk.start()
    page = desk.visitor.read(_first_event(desk))
    assert "taken by Purchase o-1 purchase / paid" in page
    assert page.index("Runs that wait for such an event") < page.index("Payload")
    desk.denied = {"view"}
    assert "Purchase o-1" not in desk.visitor.read(_first_event(desk))


@pytest.mark.rule("events-shown")
def test_what_an_event_brought_takes_the_right_and_is_redacted(desk: Desk) -> None:
    desk.send(name="parcel.arrived", key="p", payload={"from": "sea", "door_password": "xyzzy", "email": "a@b.c"})
    path = _first_event(desk)
    desk.mesh.redact(lambda path, value, run: REDACTED if path[-1] == "email" else value)
    for page in (desk.visitor.read(path), desk.visitor.get(f"{path}/payload").text):
        assert "sea" in page
        assert "xyzzy" not in page
        assert "a@b.c" not in page
    desk.denied = {"payload"}
    page = desk.visitor.read(path)
    assert "You may not see what it brought." in page
    assert "sea" not in page
    assert desk.visitor.get(f"{path}/payload").status_code == 403
    desk.denied = {"list"}
    assert desk.visitor.get(path).status_code == 403


@pytest.mark.rule("events-shown")
def test_what_a_run_took_that_may_not_be_viewed_is_not_shown(desk: Desk) -> None:
    desk.start()
    desk.send(payload={"status": "settled", "amount": 77})
    desk.denied = {"view"}
    assert "77" not in desk.visitor.read(_first_event(desk))


@pytest.mark.rule("events-shown")
def test_an_event_outside_the_scope_does_not_exist(desk: Desk) -> None:
    desk.send(tenant="acme")
    path = _first_event(desk)
    assert desk.visitor.get(path.upper().replace("/EVENTS", "/events")).status_code in (302, 308)
    assert len(queries(desk.visitor, path)) <= 8
    for scope in (Scope(tenants=["bolt"]), Scope(tenants=["acme"], workflows=[Arrival])):
        desk.scope = scope
        assert desk.visitor.get(path).status_code == 404
        assert desk.visitor.get(f"{path}/payload").status_code == 404
    assert desk.visitor.get("/events/nonsense").status_code == 404


@pytest.mark.rule("events-card")
def test_the_card_of_a_wait_says_what_comes_by_when_and_what_then(desk: Desk) -> None:
    run_id = desk.start()
    page = desk.visitor.read(f"/runs/{run_id}")
    for said in ("Waiting for the event payment.settled", "Key o-1", "Waiting since", "Due"):
        assert said in page
    assert "when the time is over it is shown as late, and goes on waiting" in page
    assert 'href="/squidmesh/events/send?name=payment.settled&amp;key=o-1"' in desk.visitor.get(f"/runs/{run_id}").text
    assert 'name="key" value="o-1"' in desk.visitor.get("/events/send?name=payment.settled&key=o-1").text
    advance(desk.visitor.app, timedelta(minutes=11))
    assert "1 min overdue" in desk.visitor.read(f"/runs/{run_id}")
    desk.send()
    assert "Waiting for the event" not in desk.visitor.read(f"/runs/{run_id}")


@pytest.mark.rule("events-card")
def test_an_event_is_offered_only_to_who_may_send_one_that_the_run_takes(desk: Desk) -> None:
    run_id = desk.start(tenant="acme")
    assert "Send this event" not in desk.visitor.read(f"/runs/{run_id}")
    desk.tenant = "acme"
    assert "Send this event" in desk.visitor.read(f"/runs/{run_id}")
    desk.denied = {"send_event"}
    assert "Send this event" not in desk.visitor.read(f"/runs/{run_id}")


@pytest.mark.rule("events-card")
def test_what_came_and_did_not_fit_is_said_on_both_sides(desk: Desk) -> None:
    desk.send(payload={"status": "settled"}, event_id="evt-old")
    with desk.visitor.app.app_context(), desk.visitor.app.extensions["squidmesh"].database.write() as connection:
        seen_at = desk.visitor.app.extensions["squidmesh"].clock.now() + timedelta(hours=1)
        connection.execute(tables.events.update().values(payload={"state": "odd"}, seen_at=seen_at))
    run_id = desk.start()
    page = desk.visitor.read(f"/runs/{run_id}")
    assert "The event evt-old came" in page
    assert "its payload does not fit: " in page
    assert "It could not take this one: " in desk.visitor.read(_first_event(desk))
