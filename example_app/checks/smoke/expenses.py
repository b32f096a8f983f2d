"""An expense on all its ways: decided, asked back, signed twice, rejected, handed on by time, and given up by time."""

from __future__ import annotations

from decimal import Decimal
from uuid import uuid4

from sqlalchemy import select

from flask_squidmesh import ManualActionError, PayloadError, Run

from ...clock import hours_ago
from ...extensions import mesh
from ...models import Expense, Mail, User, db
from ...people import EMPLOYEE, FINANCE, HEAD, MANAGER, Person
from ...placing import submit_expense
from ...stage import apart, later, wait_until
from ..looking import Mismatch, ended, entries, expect, history
from ..pages import expect_words, on_page, text_at

APART = "smoke-expenses"


def asked_back() -> str:
    """Asked back, corrected, and approved with less than was asked for."""
    expense = _submitted("tea for the staff", "90.00")
    _open(expense, "review#1")
    _decide(expense, "ask_back", MANAGER, comment="Whose birthday was it?")
    _open(expense, "correct#1")
    db.session.refresh(expense)
    expect("the expense", (expense.state, expense.reason), ("asked_back", "Whose birthday was it?"))
    _decide(expense, "resubmit", EMPLOYEE, answer={"purpose": "tea for Ben's birthday", "amount": "80.00"})
    _open(expense, "review#2")
    expect("the question", _question(expense), "Pay 80.00 EUR to emma@shop.test for tea for Ben's birthday?")
    _decide(expense, "approve", MANAGER, answer={"amount": "75.50"})
    run = ended(expense.run_id or "", "completed")
    db.session.refresh(expense)
    expect("what was asked for and what was paid", (expense.amount, expense.granted), (Decimal(80), Decimal("75.5")))
    expect("the books and the outcome", (entries(run), run.outcome), (["expense"], None))
    return "asked back, corrected, approved with less, paid"


def signed_twice() -> str:
    """A large expense takes a second signature, and not that of who gave the first one."""
    expense = _submitted("a stand at the fair", "2400.00")
    _open(expense, "review#1")
    _refused(expense, "approve", EMPLOYEE, "who submitted it")
    _decide(expense, "approve", MANAGER)
    _open(expense, "second#1")
    _refused(expense, "approve", MANAGER, "who gave the first signature")
    on_page(expense.run_id or "", "Decision", "Hand on", "Cancel run")
    on_page(expense.run_id or "", "Decision", "Approve", "Reject", "Take it", person=FINANCE)
    _decide(expense, "approve", FINANCE)
    run = ended(expense.run_id or "", "completed")
    story = [(event.type, event.actor["id"]) for event in history(run) if event.type in ("decided", "approved")]
    expect("who decided", story, [("decided", MANAGER.email), ("approved", FINANCE.email)])
    return "approved by the manager, signed by finance, paid; each refused what was not theirs"


def bad_answers() -> str:
    """What does not fit the form, or is not offered, is refused with a sentence, and nothing happens."""
    expense = _submitted("a bicycle", "400.00")
    _open(expense, "review#1")
    for option, answer, comment in (
        ("approve", {"amount": "6000"}, None),
        ("approve", {"sum": "10"}, None),
        ("pay", None, None),
        ("reject", None, None),
    ):
        try:
            _decide(expense, option, MANAGER, answer=answer, comment=comment)
        except (PayloadError, ManualActionError):
            continue
        raise Mismatch(f"{option} with {answer}: it was taken, expected an error")
    expect("what is open", mesh.inspect_run(expense.run_id or "").decision, "review#1")
    _decide(expense, "reject", MANAGER, comment="That one is yours.")
    run = ended(expense.run_id or "", "completed")
    db.session.refresh(expense)
    expect("the expense", (expense.state, expense.reason), ("rejected", "That one is yours."))
    expect("the outcome", run.outcome, "rejected")
    mails = db.session.scalars(select(Mail.subject).where(Mail.subject.contains(f"expense {expense.number}:"))).all()
    expect("what the employee was told", mails, [f"We do not pay expense {expense.number}: That one is yours."])
    return "four bad answers refused, then rejected with a reason, and the employee told"


def withdrawn() -> str:
    """Asked back and taken back."""
    expense = _submitted("a lamp", "30.00")
    _open(expense, "review#1")
    _decide(expense, "ask_back", MANAGER, comment="Which lamp?")
    _open(expense, "correct#1")
    _decide(expense, "withdraw", EMPLOYEE)
    expect("the outcome", ended(expense.run_id or "", "completed").outcome, "withdrawn")
    return "asked back, withdrawn"


def handed_on() -> str:
    """Nobody decides for a day and a half: the manager is reminded, and then it is the head's."""
    expense = _opened_hours_ago(37, "a ladder", "120.00")
    run_id = expense.run_id or ""
    wait_until(lambda: mesh.explain_run(run_id).details["assignee"] == HEAD.email, "the expense is the head's")
    run = mesh.inspect_run(run_id, include_history=True)
    expect("the story", _story(run), ["paused", "reminded", "escalated"])
    expect_words("what the head has to do", text_at("/?tab=mine", HEAD), expense.number)
    mesh.assign_run(run_id, to=MANAGER.email, expected_assignee=HEAD.email, actor=HEAD.email, comment="you are back")
    mesh.note_run(run_id, "The old one broke last week.", actor=MANAGER.email)
    _decide(expense, "approve", MANAGER)
    _perform_apart()
    expect("the story", _story(ended(run_id, "completed"))[3:], ["assigned", "noted", "decided"])
    return "reminded after a day, the head's after a day and a half, handed back, approved"


def unanswered() -> str:
    """Nobody decides for two days: the expense lapses, and the employee is told."""
    expense = _opened_hours_ago(49, "a kettle of our own", "35.00")
    run_id = expense.run_id or ""
    wait_until(lambda: mesh.explain_run(run_id).step == "lapse", "nobody decides about the expense any more")
    _perform_apart()
    run = ended(run_id, "completed")
    expect("the story", _story(run), ["paused", "reminded", "escalated", "timed_out"])
    expect("the outcome", run.outcome, "timed_out")
    db.session.refresh(expense)
    expect("the expense", expense.state, "unanswered")
    return "reminded, handed on, timed out after two days; the employee told"


def _submitted(purpose: str, amount: str) -> Expense:
    employee = db.session.scalars(select(User).where(User.email == EMPLOYEE.email)).one()
    return submit_expense(employee, purpose, Decimal(amount), form_key=uuid4().hex)


def _opened_hours_ago(hours: float, purpose: str, amount: str) -> Expense:
    """An expense that waits for its manager since then, as if no worker had looked at the time in between."""
    with apart(APART), hours_ago(hours):
        number = _submitted(purpose, amount).number
        later(0)
    return Expense.numbered(number)


def _perform_apart() -> None:
    """Perform the steps of such an expense, which no worker takes."""
    with apart(APART):
        later(0)


def _decide(
    expense: Expense, option: str, by: Person, *, answer: dict[str, str] | None = None, comment: str | None = None
) -> None:
    mesh.decide_run(expense.run_id or "", option, answer, actor=by.acting, comment=comment)


def _refused(expense: Expense, option: str, by: Person, whom: str) -> None:
    try:
        _decide(expense, option, by)
    except ManualActionError as refused:
        expect("what is wrong", refused.field, "actor")
    else:
        raise Mismatch(f"{option} by {whom}: it was taken, expected a ManualActionError")


def _open(expense: Expense, decision: str) -> None:
    wait_until(lambda: mesh.inspect_run(expense.run_id or "").decision == decision, f"{decision} is open")


def _question(expense: Expense) -> str | None:
    prompt: str | None = mesh.explain_run(expense.run_id or "").details["prompt"]
    return prompt


def _story(run: Run) -> list[str]:
    return [event.type for event in history(run)]
