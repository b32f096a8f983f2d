"""The mails that the shop has sent, for the person of the demo, who is everybody in it."""

from __future__ import annotations

from flask import abort, current_app, render_template

from ..mailbox import Mailbox
from . import blueprint


@blueprint.get("/mailbox")
def show_mailbox() -> str:
    """Everybody's mails, the newest first."""
    return render_template("shop/mailbox.html", letters=_mailbox().letters())


@blueprint.get("/mailbox/<int:number>")
def show_letter(number: int) -> str:
    """One mail; its link leads to where something is to be decided."""
    try:
        letter = _mailbox().letter(number)
    except LookupError:
        abort(404)
    return render_template("shop/letter.html", letter=letter)


def _mailbox() -> Mailbox:
    return Mailbox(current_app.config["SHOP_MAILBOX"])
