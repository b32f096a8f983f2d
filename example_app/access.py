"""What the dashboard asks the shop: who may do what, who acts, what to hide, where to go on reading."""

from __future__ import annotations

from typing import Any

from flask import has_request_context, url_for
from flask_login import current_user
from sqlalchemy import select

from flask_squidmesh import Deny, RunSummary

from .models import Order, User, db

READING = frozenset({"list", "view", "payload", "export", "audit"})
DECIDING = frozenset({"approve", "reject"})
NEEDED_FOR = {"payments.review": "finance"}


def may(action: str, permission: str | None, actor: str | None) -> bool | Deny:
    """Whether the user may do this, and if not, why.

    Staff may read. Whoever has the role that a decision names may take it. Everything else is for operators. actor: the
    address of who acts, by which a worker asks that goes on with an action on many runs.
    """
    user = current_user if has_request_context() else db.session.scalar(select(User).where(User.email == actor))
    if user is None or not user.is_authenticated:
        return False
    if not user.staff:
        return Deny("It needs the role operator or finance.")
    if action in READING:
        return True
    role = NEEDED_FOR.get(permission, permission) if permission and action in DECIDING else "operator"
    return user.role == role or Deny(f"It needs the role {role}.")


def who() -> str:
    """The name under which actions are recorded."""
    return str(current_user.email)


def mask_mail(path: tuple[str | int, ...], value: Any, run: RunSummary) -> Any:
    """A buyer's address as `b…@shop.test`, everything else as it is."""
    if path and path[-1] == "email" and isinstance(value, str) and "@" in value:
        return f"{value[0]}…@{value.split('@')[1]}"
    return value


def order_links(run: RunSummary) -> list[tuple[str, str]]:
    """A link from a run's page to the order that it works on."""
    order = db.session.scalar(select(Order).where(Order.run_id == run.id))
    return [("Order in the shop", url_for("shop.show_order", number=order.number))] if order else []
