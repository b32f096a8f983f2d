"""Who is told by mail that a decision waits for them."""

from __future__ import annotations

from flask import current_app
from sqlalchemy import select

from flask_squidmesh import Mail, Notice, Setting

from .models import User, db
from .people import GROUPS

MAIL = Mail("127.0.0.1", port=Setting("SHOP_SMTP_PORT"), sender="The Corner Shop <shop@shop.test>", security=None)


def people_asked(notice: Notice) -> list[str]:
    """The addresses of whoever is asked, or of everybody in the groups that are; without a mail server nobody's."""
    if current_app.config["SHOP_SMTP_PORT"] is None:
        return []
    if notice.assignee:
        return [notice.assignee]
    roles = [role for role, groups in GROUPS.items() if not set(groups).isdisjoint(notice.groups)]
    return list(db.session.scalars(select(User.email).where(User.role.in_(roles))))
