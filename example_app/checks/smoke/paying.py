"""Payments that the payment company confirms late, early, twice, never, and that somebody else confirms."""

from __future__ import annotations

from ...clock import hours_ago
from ...extensions import mesh
from ...gateway import client as gateway
from ...gateway.client import behaving
from ...models import Order
from ...people import FINANCE
from ...stage import apart, later, run_once, wait_until
from ...workflows.checkout import PAYMENT_SECONDS
from ..looking import asked, ended, expect, order_of, state, step, stock
from ..pages import on_page

APART = "smoke-payments"


def confirmed_late() -> str:
    """The run waits for the payment, and goes on when it is confirmed."""
    order = _bought_while("late")
    _waits(order)
    on_page(order.run_id or "", "Waiting", "Cancel run", says="It waits for the event payment.authorised")
    expect("what the shop was told", _answers(order), [])
    _confirm(order)
    _reject(order)
    return "waited for the payment, went on when it was confirmed"


def confirmed_early() -> str:
    """The payment is confirmed before the step that asks for it has returned."""
    order = _bought_while("early")
    run = ended(order.run_id or "", "paused")
    expect("what came", run.context["confirmation"], {"order_id": order.number})
    expect("what the shop answered", _answers(order), ["202"])
    _reject(order)
    return "confirmed before the run waited for it, nothing lost"


def confirmed_twice() -> str:
    """The payment company calls twice; the shop takes it once."""
    order = _bought_while("twice")
    wait_until(lambda: len(_answers(order)) == 2, "the shop is called twice")
    expect("what the shop answered", _answers(order), ["202", "200"])
    run = ended(order.run_id or "", "paused")
    expect("the visits", [row.visit for row in run.step_runs or () if row.step == "confirmation"], [1])
    _reject(order)
    return "told twice, taken once"


def never_confirmed() -> str:
    """Nothing comes in time: everything is undone, and what comes then changes nothing."""
    before = stock("teapot")
    with apart(APART), hours_ago(1 + PAYMENT_SECONDS / 3600), behaving("never"):
        number = order_of("teapot").number
        later(0)
    order = Order.numbered(number)
    run_id = order.run_id or ""
    wait_until(lambda: mesh.explain_run(run_id).step == "give_up", "nobody waits for the payment any more")
    with apart(APART):
        later(0)
    run = run_once(run_id, "completed", compensation="completed")
    expect("the outcome", run.outcome, "unpaid")
    expect("order and stock", (state(order), stock("teapot")), ("unpaid", before))
    expect("the payment", asked(order), ["authorise", "void"])
    _confirm(order)
    expect("the run after that", (mesh.inspect_run(run_id).outcome, state(order)), ("unpaid", "unpaid"))
    on_page(run_id, "Unpaid", "Replay")
    return "timed out; authorisation voided, stock released; confirmed too late, and nothing changed"


def forged_confirmation() -> str:
    """A confirmation with a wrong signature is refused, and the run goes on waiting for a good one."""
    order = _bought_while("forged")
    wait_until(lambda: _answers(order), "somebody calls the shop")
    expect("what the shop answered", _answers(order), ["401"])
    _waits(order)
    _confirm(order)
    _reject(order)
    return "refused the forged one, took the signed one"


def _bought_while(mode: str) -> Order:
    """An order whose payment the company has accepted while it behaved so."""
    with behaving(mode):
        order = order_of("teapot")
        wait_until(lambda: asked(order), "the payment company has accepted the payment")
    return order


def _waits(order: Order) -> None:
    wait_until(lambda: mesh.explain_run(order.run_id or "").reason == "waiting_for_event", "the run waits")


def _answers(order: Order) -> list[str]:
    """What the shop has answered to the payment company about the order."""
    answers: list[str] = gateway.callbacks(order.number)[0]["answers"]
    return answers


def _confirm(order: Order) -> None:
    """Have the payment company confirm the payment now."""
    gateway.call_back(gateway.callbacks(order.number)[0]["id"])
    expect("what the shop answered", _answers(order)[-1], "202")


def _reject(order: Order) -> None:
    """Bring the order to its end once it waits for finance."""
    run = ended(order.run_id or "", "paused")
    expect("the wait for the payment", step(run, "confirmation").status, "completed")
    mesh.reject_run(run.id, actor=FINANCE.email)
    ended(run.id, "completed")
