"""What the dashboard asks the shop: who may do what, who acts, what to hide, where to go on reading."""

from __future__ import annotations

from typing import Any

from flask import has_request_context, url_for
from flask_login import current_user
from sqlalchemy import select

from flask_squidmesh import Deny, Person, RunSummary, Scope

from .models import Expense, Order, User, db

EXPENSES = "reimbursement"
READING = frozenset({"list", "view", "payload", "export", "audit"})
DECIDING = frozenset({"approve", "reject"})
NEEDED_FOR = {"payments.review": "finance"}
SEEING_ALL = frozenset({"operator", "finance"})

ANSWERING = DECIDING | {"decide", "take"}
FOLLOWING = frozenset({"tasks", "view", "payload", "note"})
ABOUT_EXPENSES = {
    "employee": FOLLOWING | {"decide", "take"},
    "manager": FOLLOWING | ANSWERING,
    "head": FOLLOWING | ANSWERING | {"assign"},
    "finance": READING | FOLLOWING | ANSWERING,
}
"""Who may do what about expenses. Whose a decision is the workflow says, by its assignee and groups."""


def may(
    action: str, run: RunSummary | None, permission: str | None, workflow: str | None, actor: Any = None
) -> bool | Deny:
    """Whether the user may do this, and if not, why.

    Operators and finance may read everything, the head what there is about expenses, one or many, the others their own
    tasks.
    Whoever has the role that a decision names may take it. Everything else is for operators.

    actor: who acts, by whom a worker asks that goes on with an action on many runs.
    """
    user = current_user if has_request_context() else db.session.scalar(select(User).where(User.email == _id_of(actor)))
    if user is None or not user.is_authenticated:
        return False
    if not user.staff:
        return Deny("It is for people who work here.")
    if workflow == EXPENSES:
        return _may_about_expenses(user, action, run)
    if action == "tasks" or (action in ("list", "bulk") and user.role == "head"):
        return True
    if user.role not in SEEING_ALL:
        return Deny("It needs the role operator or finance.")
    if action in READING:
        return True
    role = NEEDED_FOR.get(permission, permission) if permission and action in DECIDING else "operator"
    return user.role == role or Deny(f"It needs the role {role}.")


def _may_about_expenses(user: User, action: str, run: RunSummary | None) -> bool | Deny:
    if user.role == "operator":
        return action not in ANSWERING or Deny("Managers and finance decide about expenses.")
    if action not in ABOUT_EXPENSES[user.role]:
        return Deny(f"It is not for the role {user.role}.")
    theirs = run is None or user.role != "employee" or _id_of(run.actor) == user.email
    return theirs or Deny("It is a colleague's expense.")


def _id_of(actor: Any) -> Any:
    return actor["id"] if isinstance(actor, dict) else actor


def who() -> Person:
    """Who acts, as it is recorded; the groups say which decisions are theirs."""
    person: Person = current_user.acting
    return person


def whose() -> Scope:
    """Which runs there are for the user: for managers and those who submit expenses, these alone."""
    return Scope.all() if getattr(current_user, "role", None) in SEEING_ALL else Scope(workflows=[EXPENSES])


def colleagues() -> list[Person]:
    """To whom expenses can be handed on."""
    deciding = select(User).where(User.role.in_(("manager", "head", "finance"))).order_by(User.name)
    return [user.acting for user in db.session.scalars(deciding)]


def mask_mail(path: tuple[str | int, ...], value: Any, run: RunSummary) -> Any:
    """A buyer's address as `b…@shop.test`, everything else as it is."""
    if path and path[-1] == "email" and isinstance(value, str) and "@" in value:
        return f"{value[0]}…@{value.split('@')[1]}"
    return value


def links(run: RunSummary) -> list[tuple[str, str]]:
    """A link from a run's page to the order or the expense that it works on."""
    order = db.session.scalar(select(Order).where(Order.run_id == run.id))
    expense = db.session.scalar(select(Expense).where(Expense.run_id == run.id)) if run.workflow == EXPENSES else None
    return [
        *([("Order in the shop", url_for("shop.show_order", number=order.number))] if order else []),
        *([("Expense in the shop", url_for("shop.show_expense", number=expense.number))] if expense else []),
    ]
