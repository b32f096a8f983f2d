"""How the shop talks to the payment company. Every call that moves money carries an idempotency key."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import httpx
from flask import current_app

PATIENCE_SECONDS = 30.0
CALLBACK_PATH = "/hooks/payments"
"""Where the shop is called back."""


class GatewayBusy(Exception):
    """The payment company did not take the call; nothing has happened. retry_after: seconds it asks us to wait."""

    def __init__(self, message: str, retry_after: float) -> None:
        self.retry_after = retry_after
        super().__init__(message)


class CardDeclined(Exception):
    """The payment company refused to take the money."""


def authorise(reference: str, amount: Decimal, *, idempotency_key: str) -> dict[str, Any]:
    """Have the amount set aside on the buyer's card. The company accepts that, and calls back once it is done.

    :returns: The payment, with its `id`.
    """
    document = {"reference": reference, "amount": str(amount)}
    if shop := current_app.config["SQUIDMESH_EXTERNAL_URL"]:
        document["callback"] = shop + CALLBACK_PATH
    return _call("POST", "/payments", idempotency_key, document)


def capture(payment: str, *, idempotency_key: str) -> dict[str, Any]:
    """Take the money that was set aside.

    :raises CardDeclined: The card's bank refused.
    """
    return _call("POST", f"/payments/{payment}/capture", idempotency_key)


def void(payment: str, *, idempotency_key: str) -> dict[str, Any]:
    """Give up what was set aside."""
    return _call("POST", f"/payments/{payment}/void", idempotency_key)


def attempt_state(attempt: str) -> str:
    """What became of an earlier attempt to pay: settled or declined."""
    return str(_call("GET", f"/attempts/{attempt}")["state"])


def requests(reference: str | None = None) -> list[dict[str, Any]]:
    """What the payment company was asked lately, newest first, or about one order."""
    return _listed("/requests", reference)


def callbacks(reference: str | None = None) -> list[dict[str, Any]]:
    """What the payment company has told the shop, or has yet to tell it, newest first, or about one order."""
    return _listed("/callbacks", reference)


def call_back(id: str) -> None:
    """Have the payment company make this callback now, whatever it has made of it so far."""
    _send("POST", f"/callbacks/{id}").raise_for_status()


def mood() -> dict[str, Any]:
    """How the payment company behaves at present: its mode, and for how many calls more."""
    return _call("GET", "/mood")


def set_mood(mode: str, calls: int = 0) -> None:
    """Change how the payment company behaves.

    :param mode: One of those in server.py, such as fine or slow.
    :param calls: For busy: how many calls are turned away.
    """
    _send("PUT", "/mood", json={"mode": mode, "calls": calls}).raise_for_status()


@contextmanager
def behaving(mode: str, calls: int = 0) -> Iterator[None]:
    """Have the payment company behave so meanwhile, and then as it did before."""
    before = mood()
    set_mood(mode, calls)
    try:
        yield
    finally:
        set_mood(**before)


def _listed(path: str, reference: str | None) -> list[dict[str, Any]]:
    answer: list[dict[str, Any]] = _send("GET", path, params={"reference": reference} if reference else {}).json()
    return answer


def _call(method: str, path: str, key: str | None = None, document: dict[str, str] | None = None) -> dict[str, Any]:
    answer = _send(method, path, headers={"Idempotency-Key": key} if key else {}, json=document)
    if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE:
        raise GatewayBusy("the payment company is busy", float(answer.headers.get("Retry-After", 1)))
    if answer.status_code == httpx.codes.PAYMENT_REQUIRED:
        raise CardDeclined("the card was declined")
    document_back: dict[str, Any] = answer.raise_for_status().json()
    return document_back


def _send(method: str, path: str, **request: Any) -> httpx.Response:
    base = current_app.config["GATEWAY_URL"]
    try:
        with httpx.Client(base_url=base, timeout=PATIENCE_SECONDS, trust_env=False, verify=False) as client:
            return client.request(method, path, **request)
    except httpx.ConnectError as error:
        raise GatewayBusy(f"the payment company at {base} does not answer", retry_after=2) from error
