"""How the payment company tells the shop later that a payment is authorised: by webhooks that it signs."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from threading import Timer

import httpx

from .records import Records

PATIENCE_SECONDS = 10.0
FORGED = "a secret that somebody has guessed"


class Callbacks:
    """Calls the shop back about each payment, once or twice, now or later or never, as the mode has it.

    :param secret: What they are signed with; the shop knows it too.
    :param late_seconds: How long a call is held back while the company is late.
    """

    def __init__(self, records: Records, secret: str, late_seconds: float) -> None:
        self._records = records
        self._secret = secret
        self._late_seconds = late_seconds
        self._timers: list[Timer] = []

    def expect(self, mode: str, payment: str, reference: str, url: str) -> None:
        """Plan the call about a payment, once for each. One that comes early has been made when this returns."""
        id = f"evt-{payment}"
        told = {"id": id, "type": "payment.authorised", "payment_id": payment, "order_id": reference}
        if not self._records.hold(id, reference, url, json.dumps(told)):
            return
        if mode == "early":
            self.send(id)
        elif mode != "never":
            self._later(self._late_seconds if mode == "late" else 0, id, mode)

    def send(self, id: str, mode: str = "fine") -> None:
        """Call the shop back now, and keep what it answers.

        :raises LookupError: No call was planned under this id.
        """
        url, body = self._records.held(id)
        secret, at = FORGED if mode == "forged" else self._secret, str(int(time.time()))
        signature = hmac.new(secret.encode(), f"{at}.{body}".encode(), hashlib.sha256).hexdigest()
        headers = {"Content-Type": "application/json", "Gateway-Timestamp": at, "Gateway-Signature": signature}
        for _ in range(2 if mode == "twice" else 1):
            self._records.called(id, _answer_of(url, body, headers))

    def close(self) -> None:
        """Call nobody any more; a call under way is awaited."""
        for timer in self._timers:
            timer.cancel()
            timer.join()

    def _later(self, seconds: float, id: str, mode: str) -> None:
        timer = Timer(seconds, self.send, (id, mode))
        timer.daemon = True
        timer.start()
        self._timers = [*(each for each in self._timers if each.is_alive()), timer]


def _answer_of(url: str, body: str, headers: dict[str, str]) -> str:
    try:
        with httpx.Client(timeout=PATIENCE_SECONDS, trust_env=False, verify=False) as client:
            return str(client.post(url, content=body, headers=headers).status_code)
    except httpx.TransportError:
        return "none"
