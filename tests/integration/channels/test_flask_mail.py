"""Mail by the host's own Flask-Mail."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask_mail import Mail as FlaskMail

from flask_squidmesh import ChannelError, ConfigurationError, Mail
from flask_squidmesh.notices import message_id
from tests.integration.channels.conftest import Post, notice


def through(app: Flask, post: Post, **settings: Any) -> FlaskMail:
    app.config.update(MAIL_SERVER=post.host, MAIL_PORT=post.port, MAIL_DEFAULT_SENDER="shop@example.org", **settings)
    return FlaskMail(app)


@pytest.mark.rule("mail-flask-mail")
def test_the_hosts_flask_mail_sends_as_it_is_set_up(app: Flask, open_post: Callable[..., Post]) -> None:
    post = open_post()
    Mail(through(app, post)).send("Mia Möß <mia@example.org>", [notice()])
    sent: Any = post.mails[0]
    assert post.receivers == ["mia@example.org"]
    assert (sent["Subject"], sent["From"]) == ("To decide: Pay 400 EUR to Müller & Söhne?", "shop@example.org")
    assert (sent["Message-ID"], sent["Auto-Submitted"]) == (f"<{notice().id}@example.org>", "auto-generated")
    assert f"Open: {notice().url}" in sent.get_payload(decode=True).decode()


@pytest.mark.rule("mail-flask-mail")
def test_it_can_be_recorded_and_held_back_as_flask_mail_does(app: Flask) -> None:
    app.config.update(MAIL_SUPPRESS_SEND=True, MAIL_DEFAULT_SENDER=("Shop", "shop@example.org"))
    hosts, both = FlaskMail(app), [notice(), notice(id="2")]
    with hosts.record_messages() as outbox:
        Mail(hosts, sender="Desk <desk@example.com>", language="de").send("mia@example.org", both)
    [sent] = outbox
    assert sent.subject == "2 Mitteilungen, 2 warten auf Sie"
    assert (sent.sender, sent.msgId) == ("Desk <desk@example.com>", f"<{message_id(both)}@example.com>")


@pytest.mark.rule("mail-flask-mail")
def test_what_its_server_refuses_is_told_like_any(app: Flask, open_post: Callable[..., Post]) -> None:
    post = open_post()
    post.refused = "550 no such user mia"
    with pytest.raises(ChannelError, match=r"refused the address \(550\)"):
        Mail(through(app, post)).send("mia@example.org", [notice()])


@pytest.mark.rule("mail-flask-mail")
def test_what_is_missing_or_belongs_elsewhere_is_told(app: Flask) -> None:
    extension: Any = FlaskMail(app)
    with pytest.raises(ConfigurationError, match="MAIL_DEFAULT_SENDER"):
        Mail(extension).send("mia@example.org", [notice()])
    with pytest.raises(ConfigurationError, match="port, security is for the Flask-Mail to say"):
        Mail(extension, port=25, security=None)  # type: ignore[call-overload]
