"""The shop's pages. All but the shelves and the log-in are for people who have logged in."""

from __future__ import annotations

from flask import Blueprint, request
from flask_login import current_user
from werkzeug.wrappers import Response

from ..extensions import login as login_manager

OPEN = frozenset({"shop.show_products", "shop.show_product", "shop.login"})

blueprint = Blueprint("shop", __name__)


@blueprint.before_request
def ask_to_log_in() -> Response | None:
    """Send whoever is not logged in to the log-in page first."""
    if request.endpoint in OPEN or current_user.is_authenticated:
        return None
    answer: Response = login_manager.unauthorized()
    return answer


from . import expenses, gateway_page, logging_in, mailbox_page, ordering, payments, shelves  # noqa: E402, F401 - they add their pages to the blueprint
