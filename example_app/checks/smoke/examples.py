"""One walk through each workflow. Each returns what it saw, in a few words."""

from __future__ import annotations

from datetime import UTC, datetime

from flask_squidmesh import Payload

from ...extensions import mesh
from ...gateway.client import behaving
from ...people import BUYER
from ...stage import run_once
from ...workflows import (
    DailyDigest,
    DependencyRecovery,
    LocalLedgerCheckout,
    ManualApproval,
    PaymentRecovery,
    RetryVerification,
    SagaCheckout,
)
from ..looking import asked, ended, entries, expect, history, invoice, order_of, start, step, stock
from ..pages import FOR_OPERATORS, expect_words, on_page


def payment_recovery() -> str:
    """A busy payment company is asked again; a declined attempt is credited."""
    with behaving("busy", calls=1):
        run = ended(start(PaymentRecovery, invoice()), "completed")
    expect("attempts of check_gateway", len(step(run, "check_gateway").attempts), 2)
    first = step(run, "check_gateway").attempts[0].error
    expect("the error of the first", first and first["code"], "retry_required")
    with behaving("declining"):
        credited = ended(start(PaymentRecovery, invoice()), "completed")
    expect("where it was routed", [event.type for event in history(credited)], ["compensation_routed"])
    expect("the books", entries(credited), ["credit"])
    on_page(run.id, "Completed", "Replay")
    on_page(credited.id, "Ended after an error", "Replay")
    return "busy once, asked again, told the customer; declined, credited by the error route"


def dependency_recovery() -> str:
    """Two roots and a step that needs both."""
    run = ended(start(DependencyRecovery, invoice()), "completed")
    found = {view.step: view.depends_on for view in run.steps or ()}
    expected: dict[str, tuple[str, ...]] = {"account": (), "invoice": (), "notification": ("account", "invoice")}
    expect("the steps and what they wait for", found, expected)
    on_page(run.id, "Completed", "Replay")
    return "account and invoice side by side, then the letter"


def manual_approval() -> str:
    """Paused, explained, approved, and the whole story kept."""
    run = ended(start(ManualApproval, {"account_id": BUYER.email}), "paused")
    why = mesh.explain_run(run.id)
    expect("why it waits", (why.reason, why.step), ("paused_for_approval", "wait_for_approval"))
    expect("what can be done", sorted(why.next_actions), ["approve_run", "cancel_run", "reject_run"])
    on_page(run.id, "Decision", "Approve", "Reject", *FOR_OPERATORS, says="waits for a decision at wait_for_approval")
    mesh.approve_run(run.id, actor="ops_smoke", comment="approved", metadata={"ticket": "SMOKE-1"})
    done = ended(run.id, "completed")
    story = [(event.type, event.actor, event.comment, event.metadata) for event in history(done)]
    approved = ("approved", "ops_smoke", "approved", {"ticket": "SMOKE-1"})
    expect("the story", story, [("paused", None, None, None), approved])
    expect("what was recorded", done.context["approval"]["status"], "approved")
    expect_words("the run's page", on_page(run.id, "Completed", "Replay").text, "ops_smoke", "approved")
    return "paused, approved by ops_smoke with comment and ticket, recorded"


def manual_digest() -> str:
    """Started by hand with a payload of one's own."""
    payload = {"channel": "ops-manual", "day": "2026-11-20"}
    run = ended(start(DailyDigest, payload, trigger="manual_digest"), "completed")
    expect("trigger and payload", (run.trigger, run.payload), ("manual_digest", payload))
    on_page(run.id, "Completed", "Replay")
    return "delivered to ops-manual"


def ledger() -> str:
    """Two lines together, or none."""
    committed = ended(start(LocalLedgerCheckout, {"account_id": BUYER.email}), "completed")
    expect("the books after success", entries(committed), ["reserve", "capture"])
    rolled_back = ended(start(LocalLedgerCheckout, {"account_id": BUYER.email, "fail_after_reserve": True}), "failed")
    expect("the books after failure", entries(rolled_back), [])
    on_page(rolled_back.id, "Failed", "Replay", "Acknowledge", says="post_entries failed")
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
    on_page(run.id, "Failed", "Replay", "Acknowledge", says="gave up after 2 of 2 attempts")
    return "capture declined twice; authorisation voided, stock released"


def cron_digest() -> str:
    """Fired by its schedule: one run for one window."""
    window = datetime.now(UTC).isoformat()
    signal = Payload.cron(DailyDigest, "daily_digest", intended_window=window)
    first, again = mesh.perform(signal), mesh.perform(signal)
    expect("the second delivery", (again.outcome, again.run_id), ("duplicate", first.run_id))
    run = ended(first.run_id or "", "completed")
    expect("trigger and channel", (run.trigger, run.payload["channel"]), ("daily_digest", "ops"))
    on_page(run.id, "Completed", "Replay")
    return "one run for one window, although it was delivered twice"


def retry() -> str:
    """Fails once, then succeeds."""
    run = ended(start(RetryVerification, {"attempt_id": "smoke"}), "completed")
    statuses = [attempt.status for attempt in step(run, "exercise_retry").attempts]
    expect("the attempts", statuses, ["failed", "completed"])
    on_page(run.id, "Completed", "Replay")
    return "failed once, succeeded at the second attempt"
