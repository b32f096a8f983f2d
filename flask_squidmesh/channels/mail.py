"""Notices to people by mail."""

from __future__ import annotations

import smtplib
from collections.abc import Callable, Sequence
from datetime import timedelta
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import formatdate, parseaddr
from typing import Final, Literal

from ..app_settings import Text, text_of
from ..errors import ChannelError, ConfigurationError
from ..notices import Notice
from . import notice_text

TIMEOUT: Final = timedelta(seconds=10)
LONGEST_SUBJECT: Final = 200

MailText = Callable[[Sequence[Notice]], tuple[str, str]]
"""Answers the subject and the text of a mail with these notices."""


class Mail:
    """Sends notices as plain text by SMTP to the addresses that `to` answers, with a link to the run.

    host, sender, username, password: text, a Setting, or a function that answers it. port: 587 with "starttls", 465
    with "tls", else 25, if left out. security: "starttls", "tls" from the first byte on, or None on a network that can
    be trusted. timeout: for each answer of the server. text: `text(notices)` answers subject and text; if left out they
    are ours, in English. Raises ConfigurationError.
    """

    def __init__(
        self,
        host: Text,
        *,
        sender: Text,
        port: int | None = None,
        security: Literal["starttls", "tls"] | None = "starttls",
        username: Text | None = None,
        password: Text | None = None,
        timeout: timedelta = TIMEOUT,
        text: MailText | None = None,
    ) -> None:
        if security not in ("starttls", "tls", None):
            raise ConfigurationError('Mail: security is "starttls", "tls" or None.')
        if (username is None) != (password is None):
            raise ConfigurationError("Mail: username and password belong together.")
        if isinstance(sender, str) and "@" not in parseaddr(sender)[1]:
            raise ConfigurationError('Mail: sender is an address, such as "Workflows <workflows@example.org>".')
        if not isinstance(timeout, timedelta) or not timedelta(0) < timeout <= timedelta(minutes=1):
            raise ConfigurationError("Mail: timeout is a timedelta of more than nothing and at most a minute.")
        self._host, self._sender, self._security = host, sender, security
        self._port = port or {"starttls": 587, "tls": 465}.get(security or "", 25)
        self._username, self._password = username, password
        self._seconds, self._text = timeout.total_seconds(), text

    def send(self, receiver: str, notices: Sequence[Notice]) -> None:
        """Send one mail with the notices to the address."""
        message = self._message(receiver, notices)
        try:
            with self._connected() as server:
                server.send_message(message)
        except smtplib.SMTPRecipientsRefused as error:
            code = next((code for code, _ in error.recipients.values()), 0)
            raise ChannelError(f"The mail server refused the address ({code}).") from None
        except smtplib.SMTPResponseException as error:
            raise ChannelError(f"The mail server answered {error.smtp_code}.") from None
        except (OSError, smtplib.SMTPException) as error:
            raise ChannelError(f"The mail server could not be reached ({type(error).__name__}).") from None

    def _connected(self) -> smtplib.SMTP:
        host = text_of(self._host, "The host of the mail server")
        kind = smtplib.SMTP_SSL if self._security == "tls" else smtplib.SMTP
        server = kind(host, self._port, timeout=self._seconds)
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

    def _message(self, receiver: str, notices: Sequence[Notice]) -> EmailMessage:
        """The mail. Its id is the notice's own, by which programs for mail know one that comes twice."""
        make = self._text or (lambda all: (notice_text.headline(all), notice_text.text(all)))
        subject, text = make(notices)
        sender = text_of(self._sender, "The sender of mails")
        message = EmailMessage()
        message["Subject"] = " ".join(str(subject).split())[:LONGEST_SUBJECT]
        message["From"] = sender
        message["To"] = _address(receiver)
        message["Date"] = formatdate()
        message["Message-ID"] = f"<{notices[0].id}@{parseaddr(sender)[1].rpartition('@')[2] or 'localhost'}>"
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(str(text))
        return message


def _address(receiver: str) -> Address:
    name, address = parseaddr(receiver)
    try:
        return Address(display_name=name, addr_spec=address)
    except (MessageError, ValueError, IndexError) as error:
        raise ChannelError("What `to` has answered is no mail address.") from error
