"""Mail against a real SMTP server."""

from __future__ import annotations

import socket
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask

from flask_squidmesh import ChannelError, ConfigurationError, Setting
from flask_squidmesh.channels import Mail, notice_text
from flask_squidmesh.notices import NOTICE_KINDS, NoticeKind
from tests.integration.channels.conftest import Post, authenticating, notice

OpenPost = Callable[..., Post]
SENDER = "Workflows <workflows@example.org>"
pytestmark = pytest.mark.usefixtures("app")


def mail(post: Post, **options: Any) -> Mail:
    return Mail(post.host, port=post.port, sender=SENDER, **{"security": None, **options})


@pytest.mark.rule("mail-text")
def test_a_mail_says_what_is_asked_and_leads_there(open_post: OpenPost) -> None:
    post = open_post()
    mail(post).send("Mia Moss <mia@example.org>", [notice()])
    [sent] = post.mails
    assert post.receivers == ["mia@example.org"]
    assert sent["Subject"] == "To decide: Pay 400 EUR to Müller & Söhne?"
    assert sent["From"] == SENDER
    assert sent["Message-ID"] == f"<{notice().id}@example.org>"
    assert sent["Auto-Submitted"] == "auto-generated"
    text = sent.get_content()
    for said in ("Reimburse 400 EUR", "mia, finance", "2026-03-11 12:00 UTC", f"Open: {notice().url}"):
        assert said in text


@pytest.mark.rule("mail-text")
def test_what_people_wrote_makes_no_header(open_post: OpenPost) -> None:
    post = open_post()
    mail(post).send("mia@example.org", [notice(prompt="Pay?\r\nBcc: all@example.org\r\n\r\nHello")])
    [sent] = post.mails
    assert sent["Bcc"] is None
    assert sent["Subject"] == "To decide: Pay? Bcc: all@example.org Hello"
    assert post.receivers == ["mia@example.org"]


@pytest.mark.rule("mail-text")
def test_the_text_may_be_the_hosts(open_post: OpenPost) -> None:
    post = open_post()
    mail(post, text=lambda notices: ("Bitte\nentscheiden", f"{len(notices)}× ß")).send("mia@example.org", [notice()])
    [sent] = post.mails
    assert (sent["Subject"], sent.get_content()) == ("Bitte entscheiden", "1× ß\r\n")


@pytest.mark.rule("mail-server")
@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")
def test_user_and_password_may_stand_in_settings(open_post: OpenPost) -> None:
    post = open_post(authenticator=authenticating, auth_require_tls=False, auth_required=True)
    mail(post, username="shop", password=Setting("SMTP_PASSWORD")).send("mia@example.org", [notice()])
    assert post.receivers == ["mia@example.org"]
    with pytest.raises(ChannelError) as refused:
        mail(post, username="shop", password="wrong-hunter").send("mia@example.org", [notice()])
    assert str(refused.value).startswith("The mail server ")
    assert "wrong-hunter" not in str(refused.value)


@pytest.mark.rule("mail-server")
@pytest.mark.parametrize(
    ("answer", "refused", "said"),
    [
        ("451 later mia@example.org", None, "The mail server answered 451."),
        ("250 OK", "550 no such user mia", "The mail server refused the address (550)."),
    ],
)
def test_what_the_server_refuses_is_told_by_its_code(
    open_post: OpenPost, answer: str, refused: str | None, said: str
) -> None:
    post = open_post()
    post.answer, post.refused = answer, refused
    with pytest.raises(ChannelError) as told:
        mail(post).send("mia@example.org", [notice()])
    assert str(told.value) == said


@pytest.mark.rule("mail-server")
def test_a_server_that_is_down_or_silent_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(ChannelError, match=r"could not be reached"):
            Mail("127.0.0.1", port=port, sender=SENDER, security=None, timeout=timedelta(seconds=0.3)).send(
                "mia@example.org", [notice()]
            )
    with pytest.raises(ChannelError, match=r"could not be reached \(ConnectionRefusedError\)"):
        Mail("127.0.0.1", port=port, sender=SENDER, security=None).send("mia@example.org", [notice()])


@pytest.mark.rule("mail-server")
def test_nothing_is_sent_in_the_clear_where_starttls_was_asked_for(open_post: OpenPost) -> None:
    post = open_post()
    with pytest.raises(ChannelError):
        mail(post, security="starttls").send("mia@example.org", [notice()])
    assert post.mails == []


@pytest.mark.rule("mail-server")
@pytest.mark.parametrize("receiver", ["mia", "mia@", "@example.org", "a b@example.org", "<>"])
def test_what_is_no_address_is_told(open_post: OpenPost, receiver: str) -> None:
    post = open_post()
    with pytest.raises(ChannelError):
        mail(post).send(receiver, [notice()])
    assert post.mails == []


@pytest.mark.rule("channel-secrets")
@pytest.mark.parametrize(
    "options",
    [
        {"security": "ssl"},
        {"username": "shop"},
        {"sender": "workflows"},
        {"timeout": timedelta(hours=1)},
    ],
    ids=repr,
)
def test_settings_that_make_no_sense_are_refused(options: dict[str, Any], app: Flask) -> None:
    with pytest.raises(ConfigurationError):
        Mail("smtp.example.org", **{"sender": SENDER, **options})


@pytest.mark.rule("mail-text")
@pytest.mark.parametrize("kind", NOTICE_KINDS)
def test_every_kind_has_its_words(kind: NoticeKind) -> None:
    details = {"option": "approve", "actor": {"id": "ann", "label": "Ann"}, "steps": ["take"], "event": "paid"}
    told = notice(kind=kind, details=details, error={"type": "ValueError", "message": "no\nway", "code": None})
    line = notice_text.headline([told])
    assert line
    assert "None" not in line
    assert line in notice_text.text([told])
    assert notice_text.headline([told, told]).startswith("2 notices")
