"""The payment company to play with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal

import pytest
from flask import Flask, request

from example_app.gateway import client
from tests.example.conftest import SECRET

Eventually = Callable[..., object]


@pytest.fixture
def told() -> list[str]:
    """What the payment company has told the shop: the id of each event, with a mark where the signature is none."""
    return []


@pytest.fixture(autouse=True)
def in_shop(gateway_url: str, live_server: Callable[[Flask], str], told: list[str]) -> Iterator[None]:
    """Where the client looks for the payment company, and where that calls back."""
    from example_app.shop.payments import SIGNED

    app = Flask(__name__)

    @app.post("/hooks/payments")
    def hear() -> str:
        told.append(request.get_json()["id"] + ("" if SIGNED(request) else ", forged"))
        return "heard"

    app.config.update(GATEWAY_URL=gateway_url, GATEWAY_SECRET=SECRET, SQUIDMESH_EXTERNAL_URL=live_server(app))
    with app.app_context():
        yield


def authorised(key: str = "a") -> str:
    """A payment of one order."""
    return str(client.authorise("o-1", Decimal("9.90"), idempotency_key=key)["id"])


def test_the_same_key_is_answered_the_same_and_done_once() -> None:
    payment = authorised()
    assert client.capture(payment, idempotency_key="c") == client.capture(payment, idempotency_key="c")
    assert [(request["kind"], request["asked"]) for request in client.requests("o-1")] == [
        ("capture", 2),
        ("authorise", 1),
    ]


def test_busy_turns_away_as_often_as_asked() -> None:
    client.set_mood("busy", 2)
    for _ in range(2):
        with pytest.raises(client.GatewayBusy) as busy:
            authorised()
        assert busy.value.retry_after == 1
    assert authorised()
    assert client.mood() == {"mode": "fine", "calls": 0}


def test_declining_captures_nothing() -> None:
    payment = authorised()
    client.set_mood("declining")
    with pytest.raises(client.CardDeclined):
        client.capture(payment, idempotency_key="c")
    assert client.attempt_state("any") == "declined"


def test_forgetful_captures_and_loses_the_answer() -> None:
    payment = authorised()
    client.set_mood("forgetful")
    with pytest.raises(Exception, match="500"):
        client.capture(payment, idempotency_key="c")
    client.set_mood("fine")
    client.capture(payment, idempotency_key="c")
    assert client.requests("o-1")[0] | {"at": ""} == {
        **{"kind": "capture", "payment": payment, "reference": "o-1", "amount": "9.90"},
        **{"status": 201, "asked": 2, "at": ""},
    }


def test_a_payment_is_confirmed_once_however_often_it_is_asked_for(told: list[str], eventually: Eventually) -> None:
    payment = authorised()
    eventually(lambda: told)
    client.set_mood("early")
    assert authorised() == payment
    assert told == [f"evt-{payment}"]


def test_early_confirms_before_it_answers(told: list[str]) -> None:
    client.set_mood("early")
    assert [f"evt-{authorised()}"] == told
    [callback] = client.callbacks("o-1")
    assert callback["answers"] == ["200"]


@pytest.mark.parametrize(("mode", "calls"), [("twice", ["", ""]), ("forged", [", forged"])])
def test_twice_and_forged(mode: str, calls: list[str], told: list[str], eventually: Eventually) -> None:
    client.set_mood(mode)
    payment = authorised()
    eventually(lambda: len(client.callbacks("o-1")[0]["answers"]) == len(calls))
    assert told == [f"evt-{payment}{mark}" for mark in calls]


@pytest.mark.parametrize("mode", ["late", "never"])
def test_what_is_held_back_is_told_when_asked_for(mode: str, told: list[str]) -> None:
    client.set_mood(mode)
    payment = authorised()
    assert told == []
    client.call_back(f"evt-{payment}")
    assert told == [f"evt-{payment}"]


def test_a_shop_that_does_not_answer_is_remembered() -> None:
    from flask import current_app

    current_app.config["SQUIDMESH_EXTERNAL_URL"] = "http://127.0.0.1:9"
    client.set_mood("early")
    authorised()
    assert client.callbacks("o-1")[0]["answers"] == ["none"]


def test_a_mood_ends_with_what_is_done_in_it() -> None:
    client.set_mood("slow")
    with client.behaving("busy", 2):
        assert client.mood() == {"mode": "busy", "calls": 2}
    assert client.mood() == {"mode": "slow", "calls": 0}


def test_one_that_does_not_answer_counts_as_busy() -> None:
    from flask import current_app

    current_app.config["GATEWAY_URL"] = "http://127.0.0.1:9"
    with pytest.raises(client.GatewayBusy, match="does not answer"):
        client.mood()
