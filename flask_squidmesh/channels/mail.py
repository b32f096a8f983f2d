"""Notices to people by mail."""

from __future__ import annotations

import smtplib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import formatdate, parseaddr
from typing import Any, Final, Literal, Protocol, cast, overload

from ..app_settings import Setting, Text, number_of, text_of
from ..errors import ChannelError, ConfigurationError
from ..notices import Notice, message_id
from . import notice_text
from .notice_text import Language, checked_language, language_for

TIMEOUT: Final = timedelta(seconds=10)
LONGEST_SUBJECT: Final = 200
HEADERS: Final = {"Auto-Submitted": "auto-generated"}
"""So that nobody's automatic answer comes back."""

Security = Literal["starttls", "tls"] | None
MailText = Callable[[Sequence[Notice]], tuple[str, str]]
"""Answers the subject and the text of a mail with these notices."""


class MailExtension(Protocol):
    """The host's Flask-Mail."""

    def send(self, message: Any) -> object:
        """Send one `flask_mail.Message`."""


class Mail:
    """Sends notices as plain text to the addresses that `to` answers, with a link to the run.

    host: the mail server, as text, a Setting, or a function that answers it; or the host's own Flask-Mail, which sends
    as it is set up. sender, username, password: as host; with a Flask-Mail its default sender if left out. port: a
    number or a Setting; 587 with "starttls", 465 with "tls", else 25, if left out. security: "starttls", "tls" from the
    first byte on, or None on a network that can be trusted. timeout: for each answer of the server. text:
    `text(notices)` answers subject and text; if left out they are ours. language: of ours, or a function of the
    receiver that answers it; if left out that of the app. Raises ConfigurationError.
    """

    @overload
    def __init__(
        self,
        host: MailExtension,
        *,
        sender: Text | None = None,
        text: MailText | None = None,
        language: Language = None,
    ) -> None: ...
    @overload
    def __init__(
        self,
        host: Text,
        *,
        sender: Text,
        port: int | Setting | None = None,
        security: Security = "starttls",
        username: Text | None = None,
        password: Text | None = None,
        timeout: timedelta = TIMEOUT,
        text: MailText | None = None,
        language: Language = None,
    ) -> None: ...
    def __init__(
        self,
        host: Text | MailExtension,
        *,
        sender: Text | None = None,
        text: MailText | None = None,
        language: Language = None,
        **server: Any,
    ) -> None:
        if isinstance(sender, str) and "@" not in parseaddr(sender)[1]:
            raise ConfigurationError('Mail: sender is an address, such as "Workflows <workflows@example.org>".')
        checked_language(language, "Mail")
        self._sender, self._text, self._language = sender, text, language
        self._way = _way(host, sender, server)

    def send(self, receiver: str, notices: Sequence[Notice]) -> None:
        """Send one mail with the notices to the address."""
        address, language = _address(receiver), language_for(receiver, self._language)
        make = self._text or (lambda all: (notice_text.headline(all, language), notice_text.text(all, language)))
        subject, body = make(notices)
        letter = _Letter(
            id=message_id(notices),
            sender=None if self._sender is None else text_of(self._sender, "The sender of mails"),
            address=address,
            subject=" ".join(str(subject).split())[:LONGEST_SUBJECT],
            text=str(body),
        )
        try:
            self._way.send(letter)
        except smtplib.SMTPRecipientsRefused as error:
            code = next((code for code, _ in error.recipients.values()), 0)
            raise ChannelError(f"The mail server refused the address ({code}).") from None
        except smtplib.SMTPResponseException as error:
            raise ChannelError(f"The mail server answered {error.smtp_code}.") from None
        except (OSError, smtplib.SMTPException) as error:
            raise ChannelError(f"The mail server could not be reached ({type(error).__name__}).") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Letter:
    """What is to be sent. id: of the message, by which programs for mail know one that comes twice."""

    id: str
    sender: str | None
    address: Address
    subject: str
    text: str

    def message_id(self, sender: str) -> str:
        return f"<{self.id}@{parseaddr(sender)[1].rpartition('@')[2] or 'localhost'}>"


class _Smtp:
    """By a connection of our own for each mail."""

    def __init__(
        self,
        host: Text,
        *,
        port: int | Setting | None = None,
        security: Security = "starttls",
        username: Text | None = None,
        password: Text | None = None,
        timeout: timedelta = TIMEOUT,
    ) -> None:
        if security not in ("starttls", "tls", None):
            raise ConfigurationError('Mail: security is "starttls", "tls" or None.')
        if (username is None) != (password is None):
            raise ConfigurationError("Mail: username and password belong together.")
        if not isinstance(timeout, timedelta) or not timedelta(0) < timeout <= timedelta(minutes=1):
            raise ConfigurationError("Mail: timeout is a timedelta of more than nothing and at most a minute.")
        self._host, self._security = host, security
        self._port = port or {"starttls": 587, "tls": 465}.get(security or "", 25)
        self._username, self._password, self._seconds = username, password, timeout.total_seconds()

    def send(self, letter: _Letter) -> None:
        sender, message = letter.sender or "", EmailMessage()
        message["Subject"] = letter.subject
        message["From"] = sender
        message["To"] = letter.address
        message["Date"] = formatdate()
        message["Message-ID"] = letter.message_id(sender)
        for name, value in HEADERS.items():
            message[name] = value
        message.set_content(letter.text)
        with self._connected() as server:
            server.send_message(message)

    def _connected(self) -> smtplib.SMTP:
        host = text_of(self._host, "The host of the mail server")
        kind = smtplib.SMTP_SSL if self._security == "tls" else smtplib.SMTP
        server = kind(host, number_of(self._port, "The port of the mail server"), timeout=self._seconds)
        try:
            if self._security == "starttls":
                server.starttls()
            if self._username is not None and self._password is not None:
                user = text_of(self._username, "The user of the mail server")
                server.login(user, text_of(self._password, "The password of the mail server"))
        except BaseException:
            server.close()
            raise
        return server


class _FlaskMail:
    """By the host's Flask-Mail, with its server, its default sender and its MAIL_SUPPRESS_SEND."""

    def __init__(self, extension: MailExtension) -> None:
        self._extension = extension

    def send(self, letter: _Letter) -> None:
        from flask_mail import Message

        message = Message(
            subject=letter.subject,
            recipients=[str(letter.address)],
            body=letter.text,
            sender=letter.sender,
            extra_headers=dict(HEADERS),
        )
        if not message.sender:
            raise ConfigurationError("Mail: nothing says who sends. Set MAIL_DEFAULT_SENDER, or pass sender=.")
        message.msgId = letter.message_id(str(message.sender))
        self._extension.send(message)


def _way(host: object, sender: object, server: Mapping[str, Any]) -> _Smtp | _FlaskMail:
    if not callable(getattr(host, "send", None)):
        if sender is None:
            raise ConfigurationError('Mail: sender= says from whom, such as "Workflows <workflows@example.org>".')
        return _Smtp(cast(Text, host), **server)
    if server:
        raise ConfigurationError(f"Mail: {', '.join(server)} is for the Flask-Mail to say. Set it up with that.")
    return _FlaskMail(cast(MailExtension, host))


def _address(receiver: str) -> Address:
    name, address = parseaddr(receiver)
    try:
        return Address(display_name=name, addr_spec=address)
    except (MessageError, ValueError, IndexError) as error:
        raise ChannelError("What `to` has answered is no mail address.") from error
