"""What went wrong, and how an operator puts it right."""

from __future__ import annotations

from ...extensions import mesh
from ...gateway.client import behaving
from ...models import Order
from ...people import BUYER, FINANCE, OPERATOR
from ...stage import run_once, wait_until
from ...workflows import LocalLedgerCheckout, SagaCheckout
from ..looking import asked, ended, expect, history, order_of, start, state, step, stock
from ..pages import expect_words, on_page, text_at
from .orders import SETTLING


def attempted_again() -> str:
    """The capture's answer was lost; the operator has the step run again, under the same key."""
    order = _interrupted_order()
    mesh.retry_step(order.run_id or "", step="capture", actor=OPERATOR.email, comment="asking again is safe")
    run = ended(order.run_id or "", "completed")
    statuses = [attempt.status for attempt in step(run, "capture").attempts]
    expect("the attempts", statuses, ["failed", "completed"])
    expect("the story", _story(order), ["event_received", "paused", "approved", "interrupted", "retried"])
    expect("order and payment", (state(order), asked(order)), ("paid", ["authorise", "capture"]))
    return "run again by the operator, captured once"


def counted_as_failed() -> str:
    """The capture's answer was lost; the operator knows that it came to nothing."""
    before = stock("teapot")
    order = _interrupted_order()
    mesh.fail_step(order.run_id or "", reason="The payment company has no such capture.", actor=OPERATOR.email)
    run = run_once(order.run_id or "", "failed", compensation="completed")
    expect("the error", run.last_error and run.last_error["code"], "failed_by_operator")
    story = ["event_received", "paused", "approved", "interrupted", "failed_by_operator"]
    expect("the story", _story(order), story)
    expect("order and stock", (state(order), stock("teapot")), ("failed", before))
    on_page(run.id, "Failed", "Replay", "Acknowledge", says="no such capture")
    mesh.acknowledge_run(run.id, actor=OPERATOR.email)
    return "counted as failed; authorisation voided, stock released"


def acknowledged() -> str:
    """A failed run leaves Needs you once somebody has taken note."""
    run_id = start(LocalLedgerCheckout, {"account_id": BUYER.email, "fail_after_reserve": True})
    run = ended(run_id, "failed")
    expect("what it needs", run.needs and run.needs.kind, "failed")
    on_page(run_id, "Failed", "Replay", "Acknowledge", says="asked to fail")
    after = mesh.acknowledge_run(run_id, actor=OPERATOR.email, comment="a test account")
    expect("what it needs afterwards", after.needs, None)
    expect("the story", [event.type for event in history(ended(run_id, "failed"))], ["acknowledged"])
    on_page(run_id, "Failed", "Replay")
    return "failed, acknowledged, out of Needs you"


def failed_compensation() -> str:
    """The payment company is away while a saga is undone; the operator tries again when it is back."""
    before = stock("kettle")
    order = order_of("kettle", SagaCheckout)
    run_id = order.run_id or ""
    wait_until(lambda: mesh.explain_run(run_id).reason == "waiting_for_retry", "the first capture has failed")
    with behaving("busy", calls=1000):
        run = run_once(run_id, "failed", compensation="failed")
    undone = {row.step: row.status for row in run.step_runs or () if row.kind == "compensation"}
    expect("what was undone", undone, {"authorise_card": "failed", "reserve_inventory": "completed"})
    expect("why", mesh.explain_run(run_id).reason, "compensation_failed")
    expect_words("the page Needs you", text_at("/?tab=problems"), order.number)
    on_page(run_id, "Failed", "Try again to undo", "Replay", "Acknowledge", says="could not be undone")
    mesh.retry_compensation(run_id, actor=OPERATOR.email, comment="they are back")
    run_once(run_id, "failed", compensation="completed")
    expect("payment and stock", (asked(order), stock("kettle")), (["authorise", "void"], before))
    return "stock released at once, authorisation voided at the second try"


def _interrupted_order() -> Order:
    order = order_of("teapot")
    run_id = ended(order.run_id or "", "paused").id
    with behaving("forgetful"):
        mesh.approve_run(run_id, actor=FINANCE.email)
        wait_until(lambda: mesh.explain_run(run_id).reason == "interrupted", "the capture is interrupted")
    on_page(run_id, "Stuck", *SETTLING, says="nobody knows")
    return order


def _story(order: Order) -> list[str]:
    return [event.type for event in mesh.inspect_run(order.run_id or "", include_history=True).audit_events or ()]
