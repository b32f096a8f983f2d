"""Mails that ask somebody, and where their links lead."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from flask import current_app

from ...mailbox import Letter, Mailbox
from ...models import Order
from ...people import FINANCE
from ...stage import wait_until
from ..looking import ended, expect, order_of
from ..pages import PREFIX, Visitor, expect_words


def decided_by_mail() -> str:
    """Finance gets a mail, follows its link, and decides there."""
    order = order_of("teapot")
    run = ended(order.run_id or "", "paused")
    wait_until(lambda: _letters(order), "a mail about the order has come")
    [letter] = _letters(order)
    question = f"Capture {order.total} EUR for order {order.number}?"
    expect("whom it asks what", (letter.to, letter.subject), (FINANCE.email, f"To decide: {question}"))
    link = re.search(r"http\S+", letter.text)
    expect("where it leads", link and urlsplit(link[0]).path, f"{PREFIX}/runs/{run.id}")
    finance = Visitor(FINANCE)
    page = finance.run(run.id)
    expect_words("the page behind the link", page.text, question)
    form = finance.form(page.buttons["Reject"])
    status, _ = finance.send(page.buttons["Reject"], {**form, "comment": "unknown"})
    expect("the answer to the decision", status, 303)
    expect("the outcome", ended(run.id, "completed").outcome, "rejected")
    return "finance was asked by mail, followed its link, and rejected there"


def _letters(order: Order) -> list[Letter]:
    letters = Mailbox(current_app.config["SHOP_MAILBOX"]).letters()
    return [letter for letter in letters if f"order {order.number}?" in letter.subject]
