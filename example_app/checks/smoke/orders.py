"""Orders from the basket to the receipt, and what comes between."""

from __future__ import annotations

from sqlalchemy import select

from ...extensions import mesh
from ...gateway.client import behaving
from ...models import Mail, db
from ...people import BUYER, FINANCE, OPERATOR
from ...stage import run_once, wait_until
from ...workflows import GoodsReturn
from ..looking import asked, ended, entries, expect, order_of, start, state, step, stock
from ..pages import FOR_OPERATORS, on_page

SETTLING = ("Run the step again", "Count the step as done", "Count the step as failed", "Cancel run")


def checkout() -> str:
    """Bought, approved, captured, and sent back."""
    before = stock("teapot")
    order = order_of("teapot")
    run = ended(order.run_id or "", "paused")
    prompt = next(row.decision for row in run.step_runs or () if row.decision and row.step == "review")
    expect("the question", prompt["prompt"], f"Capture {order.total} EUR for order {order.number}?")
    on_page(run.id, "Decision", *FOR_OPERATORS)
    on_page(run.id, "Decision", "Approve", "Reject", person=FINANCE)
    mesh.approve_run(run.id, actor=FINANCE.email, comment="known customer")
    expect("the books", entries(ended(run.id, "completed")), ["sale"])
    expect("the payment", asked(order), ["authorise", "capture"])
    expect("order and stock", (state(order), stock("teapot")), ("paid", before - 1))
    back = ended(start(GoodsReturn, {"order_id": order.number, "email": BUYER.email}), "paused")
    mesh.unblock_run(back.id, actor=OPERATOR.email, comment="in good order")
    ended(back.id, "completed")
    expect("order and stock after the return", (state(order), stock("teapot")), ("returned", before))
    on_page(back.id, "Completed", "Replay")
    return "approved, captured once, paid; sent back, refunded"


def busy_checkout() -> str:
    """Bought while the payment company is busy: asked again, authorised once."""
    with behaving("busy", calls=1):
        order = order_of("teapot")
        run = ended(order.run_id or "", "paused")
    statuses = [attempt.status for attempt in step(run, "authorise").attempts]
    expect("the attempts", statuses, ["failed", "completed"])
    expect("the payment", asked(order), ["authorise"])
    mesh.cancel_run(run.id, actor=OPERATOR.email, compensate=True)
    run_once(run.id, "cancelled", compensation="completed")
    expect("the order", state(order), "cancelled")
    on_page(run.id, "Cancelled", "Replay")
    return "busy once, asked again, authorised once; cancelled with everything undone"


def interrupted_checkout() -> str:
    """Bought and captured, but the answer was lost: a person decides, with the payment company's word."""
    order = order_of("teapot")
    ended(order.run_id or "", "paused")
    with behaving("forgetful"):
        mesh.approve_run(order.run_id or "", actor=FINANCE.email)
        wait_until(lambda: mesh.explain_run(order.run_id or "").reason == "interrupted", "the capture is interrupted")
    expect("the payment", asked(order), ["authorise", "capture"])
    on_page(order.run_id or "", "Stuck", *SETTLING, says="nobody knows")
    output = {"captured": "seen in the payment company's list"}
    mesh.resolve_step(order.run_id or "", output=output, actor=OPERATOR.email, comment="The money has arrived.")
    expect("the books", entries(ended(order.run_id or "", "completed")), ["sale"])
    expect("order and payment", (state(order), asked(order)), ("paid", ["authorise", "capture"]))
    on_page(order.run_id or "", "Completed", "Replay")
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
    on_page(order.run_id or "", "Rejected", "Replay")
    return "authorisation voided, stock released, the buyer told"


def declined_checkout() -> str:
    """Bought, approved, declined, undone."""
    before = stock("teapot")
    order = order_of("teapot")
    ended(order.run_id or "", "paused")
    with behaving("declining"):
        mesh.approve_run(order.run_id or "", actor=FINANCE.email)
        run = run_once(order.run_id or "", "failed", compensation="completed")
    expect("the error", run.last_error and run.last_error["code"], "declined")
    expect("order and stock", (state(order), stock("teapot")), ("failed", before))
    expect("the payment", asked(order), ["authorise", "capture", "void"])
    on_page(run.id, "Failed", "Replay", "Acknowledge", says="the card was declined")
    return "capture declined; authorisation voided, stock released, order failed"
