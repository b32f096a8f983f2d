"""Runs that are cancelled."""

from __future__ import annotations

from ...extensions import mesh
from ...people import BUYER, OPERATOR
from ...stage import run_once, wait_until
from ...workflows import CancellableWait, StockCount
from ..looking import asked, ended, expect, history, order_of, start, state, step, stock
from ..pages import on_page


def cancelled_wait() -> str:
    """Cancelled in the middle of a long wait, at once."""
    run_id = start(CancellableWait, {"account_id": BUYER.email})
    wait_until(lambda: mesh.explain_run(run_id).reason == "waiting_until", "the wait has begun")
    on_page(run_id, "Waiting", "Cancel run", says="It waits at wait_for_cancellation until")
    expect("the answer", mesh.cancel_run(run_id, actor=OPERATOR.email).status, "cancelled")
    run = run_once(run_id, "cancelled")
    expect("the delivery", step(run, "record_delivery").status, "waiting")
    on_page(run_id, "Cancelled", "Replay")
    return "cancelled in the middle of the wait, nothing recorded"


def cancelled_count() -> str:
    """Cancelled while a step is running, which looks up and stops."""
    run_id = start(StockCount, {"seconds": 60})
    wait_until(lambda: mesh.explain_run(run_id).reason == "step_running", "the count has begun")
    on_page(run_id, "Running", "Cancel run", says="count is being performed, attempt 1")
    expect("the answer", mesh.cancel_run(run_id, actor=OPERATOR.email).status, "cancelling")
    expect("the count", step(ended(run_id, "cancelled"), "count").status, "completed")
    on_page(run_id, "Cancelled", "Replay")
    return "cancelling while it counted, cancelled when the step had looked up"


def cancelled_and_undone() -> str:
    """Cancelled while a decision is open, with everything undone that was done."""
    before = stock("cups")
    order = order_of("cups")
    run = ended(order.run_id or "", "paused")
    mesh.cancel_run(run.id, actor=OPERATOR.email, comment="asked for by the buyer", compensate=True)
    run = run_once(run.id, "cancelled", compensation="completed")
    undone = [(row.step, row.status) for row in run.step_runs or () if row.kind == "compensation"]
    expect("what was undone", undone, [("authorise", "completed"), ("reserve", "completed")])
    expect("the story", [event.type for event in history(run)], ["event_received", "paused", "cancelled"])
    expect("the payment", asked(order), ["authorise", "void"])
    expect("order and stock", (state(order), stock("cups")), ("cancelled", before))
    on_page(run.id, "Cancelled", "Replay")
    return "authorisation voided and stock released, newest first"
