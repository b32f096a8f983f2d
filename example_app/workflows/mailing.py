"""Mail that is sent once, however often a step is repeated."""

from __future__ import annotations

from sqlalchemy import select

from ..models import Mail, Order, db


def send_once(key: str, recipient: str, subject: str, order: Order | None = None) -> bool:
    """Send a mail, in the session's transaction.

    :param key: The step's idempotency key. What was sent with it before is not sent again.
    :returns: Whether it was sent now.
    """
    if db.session.scalar(select(Mail).where(Mail.key == key)):
        return False
    db.session.add(Mail(key=key, recipient=recipient, subject=subject, order_id=order.id if order else None))
    return True
