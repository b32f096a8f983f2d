"""The payment company's HTTP interface.

Every answer is remembered under the request's `Idempotency-Key`, so that asking again does nothing again.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

from flask import Flask, Response, abort, jsonify, make_response, request

from ..serving import address_of, listening, serving
from .callbacks import Callbacks
from .records import Records

MODES = ("fine", "slow", "busy", "declining", "forgetful", "late", "early", "twice", "never", "forged")
SECONDS_UNTIL_LESS_BUSY = "1"
SLOW_SECONDS = 8.0
LATE_SECONDS = 15.0

Kind = Literal["authorise", "capture", "void"]
DONE: dict[Kind, str] = {"authorise": "authorised", "capture": "captured", "void": "voided"}


class Company:
    """What the payment company does: it accepts a payment at once, and calls back when it is authorised.

    slow: answers late. busy: turns away. declining: captures nothing. forgetful: captures, and then loses the answer.
    late, early, twice, never, forged: calls back so.
    """

    def __init__(self, records: Records, callbacks: Callbacks, slow_seconds: float) -> None:
        self._records = records
        self._callbacks = callbacks
        self._slow_seconds = slow_seconds

    def authorise(self) -> Response:
        asked, mode = request.get_json(), str(self._records.mood()["mode"])
        payment = "pay-" + hashlib.sha256(self._key().encode()).hexdigest()[:8]
        answer = self._perform("authorise", payment, asked["reference"], str(Decimal(asked["amount"])))
        if "callback" in asked:
            self._callbacks.expect(mode, payment, asked["reference"], asked["callback"])
        return answer

    def finish(self, payment: str, kind: Kind) -> Response:
        known = self._records.payment(payment) or abort(404, f"There is no payment {payment}.")
        return self._perform(kind, payment, known["reference"], known["amount"])

    def attempt(self, attempt: str) -> Response:
        mode = self._mode_unless_busy()
        state = "declined" if mode == "declining" else "settled"
        return self._answered(mode, {"attempt": attempt, "state": state}, 200)

    def requests(self) -> Response:
        return jsonify(self._records.requests(request.args.get("reference")))

    def callbacks(self) -> Response:
        return jsonify(self._records.callbacks(request.args.get("reference")))

    def call_back(self, id: str) -> Response:
        try:
            self._callbacks.send(id)
        except LookupError as error:
            abort(404, str(error))
        return self.callbacks()

    def mood(self) -> Response:
        return jsonify(self._records.mood())

    def set_mood(self) -> Response:
        asked = request.get_json()
        if asked["mode"] not in MODES:
            abort(400, f"Mode {asked['mode']!r}: one of {', '.join(MODES)} was expected.")
        self._records.set_mood(asked["mode"], int(asked.get("calls", 0)))
        return self.mood()

    def _perform(self, kind: Kind, payment: str, reference: str, amount: str) -> Response:
        mode, key = self._mode_unless_busy(), self._key()
        answer, status = self._records.remembered(key) or (_decided(mode, kind, payment))
        self._records.remember(key, answer, status, kind=kind, payment=payment, reference=reference, amount=amount)
        lost = mode == "forgetful" and kind == "capture"
        return self._answered(mode, {"error": "answer_lost"}, 500) if lost else self._answered(mode, answer, status)

    def _key(self) -> str:
        return request.headers.get("Idempotency-Key") or abort(400, "The header Idempotency-Key is missing.")

    def _mode_unless_busy(self) -> str:
        mode = str(self._records.mood()["mode"])
        if self._records.turned_away():
            busy = make_response({"error": "busy"}, 503)
            busy.headers["Retry-After"] = SECONDS_UNTIL_LESS_BUSY
            abort(busy)
        return mode

    def _answered(self, mode: str, answer: dict[str, Any], status: int) -> Response:
        if mode == "slow":
            time.sleep(self._slow_seconds)
        return make_response(answer, status)


def create_gateway(records: Records, callbacks: Callbacks, slow_seconds: float = SLOW_SECONDS) -> Flask:
    """Make the payment company's app.

    :param records: What it remembers.
    :param callbacks: How it tells the shop what has become of a payment.
    :param slow_seconds: How long it takes to answer while it is slow.
    """
    gateway = Flask(__name__)
    company = Company(records, callbacks, slow_seconds)
    gateway.post("/payments")(company.authorise)
    gateway.post("/payments/<payment>/<any(capture, void):kind>")(company.finish)
    gateway.get("/attempts/<attempt>")(company.attempt)
    gateway.get("/requests")(company.requests)
    gateway.get("/callbacks")(company.callbacks)
    gateway.post("/callbacks/<id>")(company.call_back)
    gateway.get("/mood")(company.mood)
    gateway.put("/mood")(company.set_mood)
    return gateway


@contextmanager
def running_gateway(
    file: Path, secret: str, port: int = 0, slow_seconds: float = SLOW_SECONDS, late_seconds: float = LATE_SECONDS
) -> Iterator[str]:
    """Run the payment company in a thread and yield its address.

    :param file: Where it keeps what it remembers.
    :param secret: What it signs with when it calls the shop back.
    :param port: Port on 127.0.0.1; any free one when 0.
    :param slow_seconds: How long it takes to answer while it is slow.
    :param late_seconds: How long it takes to call back while it is late.
    """
    records = Records(file)
    with (
        closing(Callbacks(records, secret, late_seconds)) as callbacks,
        listening(port) as listener,
        serving(create_gateway(records, callbacks, slow_seconds), listener),
    ):
        yield address_of(listener)


def _decided(mode: str, kind: Kind, payment: str) -> tuple[dict[str, Any], int]:
    if mode == "declining" and kind == "capture":
        return {"id": payment, "error": "card_declined"}, 402
    return {"id": payment, "state": DONE[kind]}, 201
