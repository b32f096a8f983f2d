"""Mail against a real SMTP server."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask, request
from flask_babel import Babel

from flask_squidmesh import ChannelError, ConfigurationError, Setting
from flask_squidmesh.catalogues import LOCALES, Phrases, catalogue
from flask_squidmesh.channels import Apprise, Mail, notice_text
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


def test_the_port_may_stand_in_a_setting(open_post: OpenPost, app: Flask) -> None:
    post = open_post()
    by_setting = Mail(post.host, port=Setting("SMTP_PORT"), sender=SENDER, security=None)
    with pytest.raises(ConfigurationError, match="The port of the mail server"):
        by_setting.send("mia@example.org", [notice()])
    app.config["SMTP_PORT"] = post.port
    by_setting.send("mia@example.org", [notice()])
    assert post.receivers == ["mia@example.org"]


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
        {"sender": None},
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
    for language in LOCALES:
        line = notice_text.headline([told], language)
        assert line
        assert "None" not in line
        assert line in notice_text.text([told], language)
    assert notice_text.headline([told], "de") != notice_text.headline([told], "en")
    assert notice_text.headline([told, told], "en").startswith("2 notices")
    assert notice_text.headline([told, told], "de").startswith("2 Mitteilungen")


@pytest.mark.rule("mail-language")
def test_every_word_of_a_mail_is_in_the_language(monkeypatch: pytest.MonkeyPatch) -> None:
    unknown: list[str] = []
    monkeypatch.setattr(notice_text, "phrases", lambda _: veiled(unknown))
    details = {"option": "approve", "actor": "ann", "comment": "c", "steps": ["s"], "event": "e", "key": "k"}
    details |= {"event_id": "i", "sent_at": "now", "queue": "q", "waiting_since": "then"}
    for kind in NOTICE_KINDS:
        one = notice(kind=kind, details=details, error={"type": "ValueError", "message": "no", "code": None})
        many = [one, notice(kind=kind, details={"event": "e"})]
        said = [notice_text.headline([one], "de"), notice_text.headline(many, "de"), notice_text.text(many, "de")]
        assert [word for word in WORDS.findall(" ".join(said)) if word not in OF_THE_NOTICE] == []
    assert unknown == []


WORDS = re.compile(r"[A-Za-z]{4,}")
OF_THE_NOTICE = {
    *("ValueError", "Reimburse", "reimburse", "approve", "review", "finance", "Müller", "ller", "Söhne", "hne", "then"),
    *("https", "shop", "example", "squidmesh", "runs"),
}


def veiled(unknown: list[str]) -> Phrases:
    """Makes every word of ours unreadable, so that what can be read was never translated."""

    def say(said: str, /, **values: object) -> str:
        german = catalogue("de").gettext(said)
        unknown.extend([said] if german == said and said not in ("Queue",) else [])
        return re.sub(r"(\{\w+\})|[A-Za-z]", lambda found: found[1] or "·", german).format_map(values)

    return say


@pytest.mark.rule("mail-language")
@pytest.mark.parametrize(
    ("settings", "given", "subject"),
    [
        ({}, None, "To decide"),
        ({"SQUIDMESH_DASHBOARD_LOCALE": "de"}, None, "Zu entscheiden"),
        ({"SQUIDMESH_DASHBOARD_LOCALE": "de"}, "en", "To decide"),
        ({"BABEL_DEFAULT_LOCALE": "de_AT"}, None, "Zu entscheiden"),
        ({"BABEL_DEFAULT_LOCALE": "fr"}, None, "To decide"),
        ({"BABEL_DEFAULT_LOCALE": "de", "SQUIDMESH_DASHBOARD_LOCALE": "en"}, None, "To decide"),
        ({"SQUIDMESH_DASHBOARD_LOCALE": "de"}, lambda receiver: "en-GB" if "mia" in receiver else None, "To decide"),
        ({"SQUIDMESH_DASHBOARD_LOCALE": "de"}, lambda _: None, "Zu entscheiden"),
        ({}, lambda _: "de", "Zu entscheiden"),
    ],
)
def test_a_mail_is_in_the_receivers_language_or_that_of_the_app(
    app: Flask, open_post: OpenPost, settings: dict[str, str], given: Any, subject: str
) -> None:
    app.config.update(settings)
    if "BABEL_DEFAULT_LOCALE" in settings:
        Babel(app, locale_selector=lambda: request.args["lang"])
    post = open_post()
    mail(post, language=given).send("mia@example.org", [notice()])
    assert post.mails[0]["Subject"] == f"{subject}: Pay 400 EUR to Müller & Söhne?"


@pytest.mark.rule("mail-language")
def test_a_language_that_there_is_not_is_refused() -> None:
    for make in (lambda: Mail("smtp.example.org", sender=SENDER, language="fr"), lambda: Apprise(language="fr")):
        with pytest.raises(ConfigurationError, match="language is one of en, de, or a function"):
            make()
