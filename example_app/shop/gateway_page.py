"""The payment company's buttons: how it behaves, what it was asked, and what it has told the shop."""

from __future__ import annotations

from flask import abort, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from ..gateway import client as gateway
from ..gateway.server import LATE_SECONDS
from ..workflows.checkout import PAYMENT_SECONDS
from . import blueprint

BUSY_CALLS = 3
ANSWERING = {
    "fine": ("Fine", "Answers at once, and confirms each payment at once."),
    "slow": ("Slow", "Takes eight seconds to answer. Time enough to kill the worker in the middle."),
    "busy": ("Busy", f"Turns the next {BUSY_CALLS} calls away (503, with Retry-After), then is fine. See it retrying."),
    "declining": ("Declining", "Declines every capture. See the authorisation voided and the goods put back."),
    "forgetful": ("Forgetful", "Takes the money and loses the answer. See the run interrupted, for you to decide."),
}
CONFIRMING = {
    "late": ("Late", f"Confirms after {LATE_SECONDS:g} seconds. See the run wait; it does so for {PAYMENT_SECONDS:g}."),
    "early": ("Early", "Confirms before it has answered, and so before the run waits for it. Nothing is lost."),
    "twice": ("Twice", "Confirms twice. The second time changes nothing."),
    "never": ("Never", f"Does not confirm. See the run undo, after {PAYMENT_SECONDS:g} seconds, what it has done."),
    "forged": ("Forged", "Somebody else confirms, with a wrong signature. The shop refuses it and goes on waiting."),
}
MOODS = ANSWERING | CONFIRMING
ANSWERS = {"202": "accepted", "200": "known already", "401": "refused, wrong signature", "none": "no answer"}


@blueprint.get("/gateway")
def show_gateway() -> tuple[str, int]:
    """How the payment company behaves, and its newest requests."""
    moods = {"How it answers": ANSWERING, "When it confirms a payment": CONFIRMING}
    try:
        seen = {"mood": gateway.mood(), "requests": gateway.requests(), "callbacks": gateway.callbacks()}
    except gateway.GatewayBusy as silent:
        return render_template("shop/gateway.html", moods=moods, silent=str(silent)), 503
    return render_template("shop/gateway.html", moods=moods, answers=ANSWERS, **seen), 200


@blueprint.post("/gateway")
def set_gateway() -> Response:
    """Change how the payment company behaves."""
    mode = request.form["mode"]
    if mode not in MOODS:
        abort(400, f"Mode {mode!r}: one of {', '.join(MOODS)} was expected.")
    gateway.set_mood(mode, BUSY_CALLS)
    flash(f"The payment company is now set to {MOODS[mode][0]}.")
    return redirect(url_for(".show_gateway"), 303)


@blueprint.post("/gateway/callbacks/<id>")
def call_back(id: str) -> Response:
    """Have the payment company confirm a payment now, also one that it has confirmed before."""
    gateway.call_back(id)
    return redirect(url_for(".show_gateway") + "#callbacks", 303)
