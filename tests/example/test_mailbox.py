"""The demo's mail server, who gets mail, and the pages that show it."""

from __future__ import annotations

import smtplib
from datetime import UTC, datetime
from email.message import EmailMessage
from pathlib import Path

import pytest
from flask import Flask

from example_app.mailbox import Mailbox, running_mail_server
from flask_squidmesh import Notice
from tests.example.visiting import Visitor, text_of


def mail(to: str = "fiona@shop.test", text: str = "Open: http://127.0.0.1:5000/squidmesh/runs/7") -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "shop@shop.test", to, "To decide: Pay <b>2</b> EUR?"
    message["Date"] = datetime(2026, 12, 1, 9, 30, tzinfo=UTC)
    message.set_content(text)
    return message


def notice(assignee: str | None = None, groups: tuple[str, ...] = ()) -> Notice:
    return Notice(
        id="n",
        kind="decision.opened",
        at=datetime.now(UTC),
        run_id="7",
        workflow="checkout",
        tenant="",
        subject="Order o-7",
        assignee=assignee,
        groups=groups,
    )


def test_what_the_mail_server_takes_is_kept_newest_first(tmp_path: Path) -> None:
    with running_mail_server(tmp_path) as port, smtplib.SMTP("127.0.0.1", port) as server:
        server.send_message(mail(to="ben@shop.test"))
        server.send_message(mail(text="Grüße"))
    newest, oldest = Mailbox(tmp_path).letters()
    assert (newest.to, newest.text.strip(), oldest.to) == ("fiona@shop.test", "Grüße", "ben@shop.test")
    assert Mailbox(tmp_path).letter(int(newest.number)) == newest


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (notice(assignee="emma@shop.test", groups=("finance",)), ["emma@shop.test"]),
        (notice(groups=("finance",)), ["fiona@shop.test"]),
        (notice(groups=("managers", "finance")), ["fiona@shop.test", "hanna@shop.test", "marco@shop.test"]),
        (notice(), []),
    ],
)
def test_whoever_is_asked_gets_the_mail(shop: Flask, asked: Notice, expected: list[str]) -> None:
    from example_app.notices import people_asked

    with shop.app_context():
        assert people_asked(asked) == []
        shop.config["SHOP_SMTP_PORT"] = 25
        assert sorted(people_asked(asked)) == expected


def test_a_mail_is_found_read_and_its_link_followed(shop: Flask, address: str, tmp_path: Path) -> None:
    shop.config["SHOP_MAILBOX"] = tmp_path
    ben = Visitor(address).log_in("ben@shop.test")
    assert "There are no mails yet." in text_of(ben.open("/mailbox"))
    Mailbox(tmp_path).put(mail(text=f"Open: {address}/orders").as_bytes())
    ben.open("/mailbox")
    assert "To fiona@shop.test 01 Dec 2026, 09:30 UTC" in text_of(ben.page)
    ben.follow("To decide: Pay <b>2</b> EUR?")
    assert "You are Ben. Log in as fiona@shop.test to follow the link." in text_of(ben.page)
    letter = ben.page
    assert ben.follow(f"{address}/orders").status_code == 200
    assert "My orders" in text_of(ben.page)

    ben.page = letter
    ben.follow("Log in as fiona@shop.test")
    ben.send("/login", email="fiona@shop.test", password="demo")
    assert ben.page.url == letter.url
    assert "You are" not in text_of(ben.page)
    assert ben.open("/mailbox/17").status_code == 404
    ben.close()
