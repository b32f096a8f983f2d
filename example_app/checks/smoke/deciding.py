"""What waits for a person, and what people answer."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from sqlalchemy import select

from flask_squidmesh import ConflictError, ManualActionError

from ...clock import hours_later
from ...extensions import mesh
from ...models import Product, db
from ...people import BUYER, FINANCE, OPERATOR
from ...stage import wait_until
from ...workflows import GoodsReturn, ManualApproval, PriceChange, Restocking
from ..looking import Mismatch, ended, expect, history, invoice, start, step, stock
from ..pages import FOR_OPERATORS, Visitor, expect_words, on_page, text_at

QUESTION = ("Approve", "Reject", *FOR_OPERATORS)


def rejection() -> str:
    """Rejected: the other route is taken, with the answer at hand."""
    run = ended(start(ManualApproval, {"account_id": BUYER.email}), "paused")
    mesh.reject_run(run.id, actor=OPERATOR.email, comment="bills are open")
    done = ended(run.id, "completed")
    expect("what was recorded", done.context["approval"]["status"], "rejected")
    expect("the accepting step", step(done, "accept").status, "waiting")
    on_page(run.id, "Rejected", "Replay")
    return "rejected with a comment, the other route taken"


def pause() -> str:
    """Paused until somebody has seen the parcel."""
    number = invoice()["invoice_id"]
    run = ended(start(GoodsReturn, {"order_id": number, "email": BUYER.email}), "paused")
    why = mesh.explain_run(run.id)
    expect("why it waits", (why.reason, why.step), ("paused_for_manual_action", "await_parcel"))
    on_page(run.id, "Paused", "Resume", *FOR_OPERATORS, says="until somebody resumes it")
    mesh.unblock_run(run.id, actor=OPERATOR.email, comment="in good order")
    resumed = history(ended(run.id, "completed"))[-1]
    expect("the last event", (resumed.type, resumed.actor), ("resumed", OPERATOR.email))
    on_page(run.id, "Completed", "Replay")
    return "paused, resumed by the operator, the goods taken back"


def deadlines() -> str:
    """A decision that is due in a day, seen now, towards the end, and afterwards."""
    run = ended(start(ManualApproval, {"account_id": BUYER.email}), "paused")
    found = []
    for hours in (0, 20, 25):
        with hours_later(hours):
            found.append(mesh.explain_run(run.id).details["deadline"])
    expect("the deadline now, after 20 and after 25 hours", found, ["on_time", "due_soon", "overdue"])
    on_page(run.id, "Decision", *QUESTION, says="due")
    with hours_later(25):
        on_page(run.id, "Decision", *QUESTION, says="overdue")
        expect_words("the page Needs you", text_at("/"), "1 h overdue")
    mesh.approve_run(run.id, actor=OPERATOR.email)
    ended(run.id, "completed")
    return "on time, due soon, overdue; answered all the same"


def rework_loop() -> str:
    """A price that is rejected, revised and put before finance again."""
    product = db.session.scalars(select(Product).where(Product.sku == "cups")).one()
    old, wanted = product.price, product.price + 4
    run_id = start(PriceChange, {"sku": "cups", "price": str(wanted)})
    _asked_for(run_id, 1, wanted, old)
    mesh.reject_run(run_id, actor=FINANCE.email, comment="too much at once")
    _asked_for(run_id, 2, wanted - 2, old)
    page = on_page(run_id, "Decision", "Approve", "Reject", person=FINANCE)
    expect_words("the steps on the run's page", page.text, "visit 2")
    mesh.approve_run(run_id, actor=FINANCE.email)
    done = ended(run_id, "completed")
    visits = {view.step: view.visits for view in done.steps or ()}
    expect("how often each step was entered", visits, {"look_up": 1, "review": 2, "revise": 1, "change": 1})
    db.session.refresh(product)
    expect("the price", product.price, wanted - 2)
    product.price_cents = int(old.scaleb(2))
    db.session.commit()
    on_page(run_id, "Completed", "Replay")
    return "rejected, revised, asked again on a second visit, approved"


def endless_rework() -> str:
    """Rejected as often as the loop may be entered: the run fails and says why."""
    run_id = start(PriceChange, {"sku": "kettle", "price": "99.00"})
    for visit in (1, 2, 3):
        _open(run_id, f"review#{visit}")
        mesh.reject_run(run_id, actor=FINANCE.email)
    failed = ended(run_id, "failed")
    expect("the error", failed.last_error and failed.last_error["code"], "max_visits")
    on_page(run_id, "Failed", "Replay", "Acknowledge")
    mesh.acknowledge_run(run_id, actor=OPERATOR.email)
    return "rejected three times, then failed with max_visits"


def four_eyes() -> str:
    """Whoever proposes a price does not approve it."""
    run_id = start(PriceChange, {"sku": "kettle", "price": "36.00"}, by=FINANCE)
    _open(run_id, "review#1")
    try:
        mesh.approve_run(run_id, actor=FINANCE.email)
    except ManualActionError as refused:
        expect("what is wrong", refused.field, "actor")
    else:
        raise Mismatch("an approval by who started the run: it was taken, expected a ManualActionError")
    on_page(run_id, "Decision", "Reject", person=FINANCE)
    mesh.cancel_run(run_id, actor=OPERATOR.email)
    on_page(run_id, "Cancelled", "Replay")
    return "refused to the person who had started the run, here and on the page"


def side_by_side() -> str:
    """Two people decide at the same time in a dependency workflow; the join waits for both."""
    before = stock("biscuits")
    run_id = start(Restocking, {"sku": "biscuits", "pieces": 5})
    _open(run_id, "budget#1,room#1")
    needs = mesh.inspect_run(run_id).needs
    expect("what it needs", (needs and needs.kind, needs and needs.count), ("decision", 2))
    _refused_without_step(run_id)
    on_page(run_id, "Decision", "Approve room", "Reject room", *FOR_OPERATORS)
    on_page(run_id, "Decision", "Approve budget", "Reject budget", person=FINANCE)
    mesh.approve_run(run_id, step="budget", actor=FINANCE.email)
    still = mesh.inspect_run(run_id)
    expect("status and what is open after the first answer", (still.status, still.decision), ("paused", "room#1"))
    mesh.approve_run(run_id, step="room", actor=OPERATOR.email)
    done = ended(run_id, "completed")
    expect("who decided", [done.context[key]["actor"] for key in ("budget", "room")], [FINANCE.email, OPERATOR.email])
    expect("the stock", stock("biscuits"), before + 5)
    on_page(run_id, "Completed", "Replay")
    return "budget and room approved by two people, then ordered"


def side_by_side_rejected() -> str:
    """One of two people says no: there is no other route, so the run fails."""
    run_id = start(Restocking, {"sku": "biscuits"})
    _open(run_id, "budget#1,room#1")
    mesh.reject_run(run_id, step="room", actor=OPERATOR.email, comment="the shelf is full")
    failed = ended(run_id, "failed")
    expect("where it failed", failed.current_step, "room")
    expect("the order", step(failed, "order").status, "waiting")
    on_page(run_id, "Failed", "Replay", "Acknowledge")
    mesh.acknowledge_run(run_id, actor=OPERATOR.email)
    return "room rejected, nothing ordered"


def said_twice() -> str:
    """The same answer sent twice under one key, and an answer to what is open no more."""
    run = ended(start(ManualApproval, {"account_id": BUYER.email}), "paused")
    said: dict[str, Any] = {"actor": OPERATOR.email, "idempotency_key": "click-1", "expected": run.decision}
    first, again = mesh.approve_run(run.id, **said), mesh.approve_run(run.id, **said)
    expect("the second answer", again, first)
    done = ended(run.id, "completed")
    expect("the story", [event.type for event in history(done)], ["paused", "approved"])
    try:
        mesh.reject_run(run.id, actor=FINANCE.email, expected=run.decision)
    except ConflictError as conflict:
        expect("what holds now", (conflict.current or {})["decision"], "completed")
        return "approved once although said twice; a rejection of what is settled was told so"
    raise Mismatch("a rejection of a decision that is settled: it was taken, expected a ConflictError")


def stale_page() -> str:
    """Two operators have the same page open; the second one is told what the first one did."""
    run = ended(start(ManualApproval, {"account_id": BUYER.email}), "paused")
    olivia, colleague = Visitor(OPERATOR), Visitor(OPERATOR)
    buttons = olivia.run(run.id).buttons
    approve, reject = olivia.form(buttons["Approve"]), colleague.form(buttons["Reject"])
    expect("the answer to the first", olivia.send(buttons["Approve"], {**approve, "comment": "known"})[0], 303)
    expect("the answer to its second click", olivia.send(buttons["Approve"], {**approve, "comment": "known"})[0], 303)
    status, text = colleague.send(buttons["Reject"], {**reject, "comment": "unknown"})
    expect("the answer to the second", status, 409)
    expect_words("what the second is told", text, OPERATOR.name)
    done = ended(run.id, "completed")
    expect("the story", [event.type for event in history(done)], ["paused", "approved"])
    return "the first click approved, its double changed nothing, the other operator was told who had decided"


def _asked_for(run_id: str, visit: int, price: Decimal, old: Decimal) -> None:
    """Wait for the visit to review that asks about this price."""
    _open(run_id, f"review#{visit}")
    run = ended(run_id, "paused")
    [question] = [row.decision for row in run.step_runs or () if (row.step, row.visit) == ("review", visit)]
    expected = f"Sell cups at {price} EUR instead of {old} EUR?"
    expect(f"the question of review {visit}", question and question["prompt"], expected)


def _open(run_id: str, decision: str) -> None:
    """Wait until exactly these decisions are open."""
    wait_until(lambda: mesh.inspect_run(run_id).decision == decision, f"{decision} is open")


def _refused_without_step(run_id: str) -> None:
    try:
        mesh.approve_run(run_id, actor=OPERATOR.email)
    except ManualActionError as refused:
        expect("what is missing", refused.field, "step")
    else:
        raise Mismatch("an approval without step= where two are open: it was taken, expected a ManualActionError")
