"""The payment company to play with."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import pytest
from flask import Flask

from example_app.gateway import client


@pytest.fixture(autouse=True)
def in_shop(gateway_url: str) -> Iterator[None]:
    """Where the client looks for the payment company."""
    app = Flask(__name__)
    app.config["GATEWAY_URL"] = gateway_url
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


def test_one_that_does_not_answer_counts_as_busy() -> None:
    from flask import current_app

    current_app.config["GATEWAY_URL"] = "http://127.0.0.1:9"
    with pytest.raises(client.GatewayBusy, match="does not answer"):
        client.mood()
