"""The payment company's buttons: make it fine, slow, busy, declining or forgetful, and see what it was asked."""

from __future__ import annotations

from flask import abort, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from ..gateway import client as gateway
from . import blueprint

BUSY_CALLS = 3
MOODS = {
    "fine": ("Fine", "Answers at once."),
    "slow": ("Slow", "Takes eight seconds to answer. Time enough to kill the worker in the middle."),
    "busy": ("Busy", f"Turns the next {BUSY_CALLS} calls away (503, with Retry-After), then is fine. See it retrying."),
    "declining": ("Declining", "Declines every capture. See the authorisation voided and the goods put back."),
    "forgetful": ("Forgetful", "Takes the money and loses the answer. See the run interrupted, for you to decide."),
}


@blueprint.get("/gateway")
def show_gateway() -> tuple[str, int]:
    """How the payment company behaves, and its newest requests."""
    try:
        mood, requests = gateway.mood(), gateway.requests()
    except gateway.GatewayBusy as silent:
        return render_template("shop/gateway.html", moods=MOODS, mood=None, requests=[], silent=str(silent)), 503
    return render_template("shop/gateway.html", moods=MOODS, mood=mood, requests=requests, silent=None), 200


@blueprint.post("/gateway")
def set_gateway() -> Response:
    """Change how the payment company behaves."""
    mode = request.form["mode"]
    if mode not in MOODS:
        abort(400, f"Mode {mode!r}: one of {', '.join(MOODS)} was expected.")
    gateway.set_mood(mode, BUSY_CALLS)
    flash(f"The payment company is now {mode}.")
    return redirect(url_for(".show_gateway"), 303)
