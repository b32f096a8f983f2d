"""One walk through each workflow. Each returns what it saw, in a few words."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import select

from flask_squidmesh import Payload

from ...extensions import mesh
from ...models import Mail, db
from ...people import BUYER, FINANCE, OPERATOR
from ...stage import run_once, wait_until
from ...workflows import (
    CancellableWait,
    DailyDigest,
    DependencyRecovery,
    GoodsReturn,
    LocalLedgerCheckout,
    ManualApproval,
    PaymentRecovery,
    RetryVerification,
    SagaCheckout,
    StockCount,
)
from ..looking import asked, ended, entries, expect, history, invoice, mood, order_of, start, state, step, stock


def payment_recovery() -> str:
    """A busy payment company is asked again; a declined attempt is credited."""
    with mood("busy", calls=1):
        run = ended(start(PaymentRecovery, invoice()), "completed")
    expect("attempts of check_gateway", len(step(run, "check_gateway").attempts), 2)
    expect("the error of the first", (step(run, "check_gateway").attempts[0].error or {})["code"], "retry_required")
    with mood("declining"):
        credited = ended(start(PaymentRecovery, invoice()), "completed")
    expect("where it was routed", [event.type for event in history(credited)], ["compensation_routed"])
    expect("the books", entries(credited), ["credit"])
    return "busy once, asked again, told the customer; declined, credited by the error route"


def dependency_recovery() -> str:
    """Two roots and a step that needs both."""
    run = ended(start(DependencyRecovery, invoice()), "completed")
    found = {view.step: view.depends_on for view in run.steps or ()}
    expected: dict[str, tuple[str, ...]] = {"account": (), "invoice": (), "notification": ("account", "invoice")}
    expect("the steps and what they wait for", found, expected)
    return "account and invoice side by side, then the letter"


def manual_approval() -> str:
    """Paused, explained, approved, and the whole story kept."""
    run = ended(start(ManualApproval, {"account_id": BUYER.email}), "paused")
    why = mesh.explain_run(run.id)
    expect("why it waits", (why.reason, why.step), ("paused_for_approval", "wait_for_approval"))
    expect("what can be done", sorted(why.next_actions), ["approve_run", "cancel_run", "reject_run"])
    mesh.approve_run(run.id, actor="ops_smoke", comment="approved", metadata={"ticket": "SMOKE-1"})
    done = ended(run.id, "completed")
    story = [(event.type, event.actor, event.comment, event.metadata) for event in history(done)]
    approved = ("approved", "ops_smoke", "approved", {"ticket": "SMOKE-1"})
    expect("the story", story, [("paused", None, None, None), approved])
    expect("what was recorded", done.context["approval"]["status"], "approved")
    return "paused, approved by ops_smoke with comment and ticket, recorded"


def manual_digest() -> str:
    """Started by hand with a payload of one's own."""
    payload = {"channel": "ops-manual", "day": "2026-11-20"}
    run = ended(start(DailyDigest, payload, trigger="manual_digest"), "completed")
    expect("trigger and payload", (run.trigger, run.payload), ("manual_digest", payload))
    return "delivered to ops-manual"


def ledger() -> str:
    """Two lines together, or none."""
    committed = ended(start(LocalLedgerCheckout, {"account_id": BUYER.email}), "completed")
    expect("the books after success", entries(committed), ["reserve", "capture"])
    rolled_back = ended(start(LocalLedgerCheckout, {"account_id": BUYER.email, "fail_after_reserve": True}), "failed")
    expect("the books after failure", entries(rolled_back), [])
    return "two lines after success, none after failure"


def saga() -> str:
    """A capture that is declined twice, and everything before it undone."""
    before = stock("kettle")
    order = order_of("kettle", SagaCheckout)
    run = run_once(order.run_id or "", "failed", compensation="completed")
    statuses = [view.status for view in run.steps or ()]
    expect("where it failed", run.current_step, "capture_card")
    expect("the steps", statuses, ["completed", "completed", "failed"])
    undone = [(row.step, row.status) for row in run.step_runs or () if row.kind == "compensation"]
    expect("what was undone", undone, [("authorise_card", "completed"), ("reserve_inventory", "completed")])
    expect("the stock", stock("kettle"), before)
    expect("the payment", asked(order), ["authorise", "void"])
    return "capture declined twice; authorisation voided, stock released"


def cron_digest() -> str:
    """Fired by its schedule: one run for one window."""
    window = datetime.now(UTC).isoformat()
    signal = Payload.cron(DailyDigest, "daily_digest", intended_window=window)
    first, again = mesh.perform(signal), mesh.perform(signal)
    expect("the second delivery", (again.outcome, again.run_id), ("duplicate", first.run_id))
    run = ended(first.run_id or "", "completed")
    expect("trigger and channel", (run.trigger, run.payload["channel"]), ("daily_digest", "ops"))
    return "one run for one window, although it was delivered twice"


def retry() -> str:
    """Fails once, then succeeds."""
    run = ended(start(RetryVerification, {"attempt_id": "smoke"}), "completed")
    statuses = [attempt.status for attempt in step(run, "exercise_retry").attempts]
    expect("the attempts", statuses, ["failed", "completed"])
    return "failed once, succeeded at the second attempt"


def cancelled_wait() -> str:
    """Cancelled in the middle of a long wait, at once."""
    run_id = start(CancellableWait, {"account_id": BUYER.email})
    wait_until(lambda: mesh.explain_run(run_id).reason == "waiting_until", "the wait has begun")
    expect("the answer", mesh.cancel_run(run_id, actor=OPERATOR.email).status, "cancelled")
    run = run_once(run_id, "cancelled")
    expect("the delivery", step(run, "record_delivery").status, "waiting")
    return "cancelled in the middle of the wait, nothing recorded"


def cancelled_count() -> str:
    """Cancelled while a step is running, which looks up and stops."""
    run_id = start(StockCount, {"seconds": 60})
    wait_until(lambda: mesh.explain_run(run_id).reason == "step_running", "the count has begun")
    expect("the answer", mesh.cancel_run(run_id, actor=OPERATOR.email).status, "cancelling")
    expect("the count", step(ended(run_id, "cancelled"), "count").status, "completed")
    return "cancelling while it counted, cancelled when the step had looked up"


def checkout() -> str:
    """Bought, approved, captured, and sent back."""
    before = stock("teapot")
    order = order_of("teapot")
    run = ended(order.run_id or "", "paused")
    prompt = next(row.decision for row in run.step_runs or () if row.decision and row.step == "review")
    expect("the question", prompt["prompt"], f"Capture {order.total} EUR for order {order.number}?")
    mesh.approve_run(run.id, actor=FINANCE.email, comment="known customer")
    expect("the books", entries(ended(run.id, "completed")), ["sale"])
    expect("the payment", asked(order), ["authorise", "capture"])
    expect("order and stock", (state(order), stock("teapot")), ("paid", before - 1))
    back = ended(start(GoodsReturn, {"order_id": order.number, "email": BUYER.email}), "paused")
    mesh.unblock_run(back.id, actor=OPERATOR.email, comment="in good order")
    ended(back.id, "completed")
    expect("order and stock after the return", (state(order), stock("teapot")), ("returned", before))
    return "approved, captured once, paid; sent back, refunded"


def busy_checkout() -> str:
    """Bought while the payment company is busy: asked again, authorised once."""
    with mood("busy", calls=1):
        order = order_of("teapot")
        run = ended(order.run_id or "", "paused")
    statuses = [attempt.status for attempt in step(run, "authorise").attempts]
    expect("the attempts", statuses, ["failed", "completed"])
    expect("the payment", asked(order), ["authorise"])
    mesh.cancel_run(run.id, actor=OPERATOR.email, compensate=True)
    run_once(run.id, "cancelled", compensation="completed")
    expect("the order", state(order), "cancelled")
    return "busy once, asked again, authorised once; cancelled with everything undone"


def interrupted_checkout() -> str:
    """Bought and captured, but the answer was lost: a person decides, with the payment company's word."""
    order = order_of("teapot")
    ended(order.run_id or "", "paused")
    with mood("forgetful"):
        mesh.approve_run(order.run_id or "", actor=FINANCE.email)
        wait_until(lambda: mesh.explain_run(order.run_id or "").reason == "interrupted", "the capture is interrupted")
    expect("the payment", asked(order), ["authorise", "capture"])
    output = {"captured": "seen in the payment company's list"}
    mesh.resolve_step(order.run_id or "", output=output, actor=OPERATOR.email, comment="The money has arrived.")
    expect("the books", entries(ended(order.run_id or "", "completed")), ["sale"])
    expect("order and payment", (state(order), asked(order)), ("paid", ["authorise", "capture"]))
    return "capture sent, answer lost, interrupted; resolved by the operator, captured once"


def rejected_checkout() -> str:
    """Bought and rejected."""
    before = stock("teapot")
    order = order_of("teapot")
    mesh.reject_run(ended(order.run_id or "", "paused").id, actor=FINANCE.email, comment="card reported stolen")
    ended(order.run_id or "", "completed")
    expect("order and stock", (state(order), stock("teapot")), ("rejected", before))
    expect("the payment", asked(order), ["authorise", "void"])
    mails = db.session.scalars(select(Mail.subject).where(Mail.order_id == order.id)).all()
    expect("what the buyer was told", mails, [f"We could not accept order {order.number}: {order.reason}"])
    expect("the comment stays with the run", [mail for mail in mails if "stolen" in mail], [])
    return "authorisation voided, stock released, the buyer told"


def declined_checkout() -> str:
    """Bought, approved, declined, undone."""
    before = stock("teapot")
    order = order_of("teapot")
    ended(order.run_id or "", "paused")
    with mood("declining"):
        mesh.approve_run(order.run_id or "", actor=FINANCE.email)
        run = run_once(order.run_id or "", "failed", compensation="completed")
    expect("the error", (run.last_error or {})["code"], "declined")
    expect("order and stock", (state(order), stock("teapot")), ("failed", before))
    expect("the payment", asked(order), ["authorise", "capture", "void"])
    return "capture declined; authorisation voided, stock released, order failed"


WALKS = (
    payment_recovery,
    dependency_recovery,
    manual_approval,
    manual_digest,
    ledger,
    saga,
    cron_digest,
    retry,
    cancelled_wait,
    cancelled_count,
    checkout,
    busy_checkout,
    interrupted_checkout,
    rejected_checkout,
    declined_checkout,
)
