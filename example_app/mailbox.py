"""Mails that the shop has sent, each in a file, and the mail server that takes them."""

from __future__ import annotations

import time
from asyncio import Server
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller

MOST = 100


@dataclass(frozen=True, slots=True)
class Letter:
    """One mail. number: names it within the mailbox."""

    number: str
    to: str
    subject: str
    sent_at: datetime
    text: str


class Mailbox:
    """The mails of everybody who is not really there.

    :param folder: Where they are kept; made when it is not there.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def put(self, mail: bytes) -> None:
        """Keep a mail."""
        number = time.time_ns()
        half_written = self._folder / f"{number}.part"
        half_written.write_bytes(mail)
        half_written.rename(self._folder / f"{number}.eml")

    def letters(self) -> list[Letter]:
        """The newest mails, the newest first."""
        files = sorted(self._folder.glob("*.eml"), reverse=True)
        return [_read(file) for file in files[:MOST]]

    def letter(self, number: int) -> Letter:
        """One mail.

        :raises LookupError: There is none with this number.
        """
        file = self._folder / f"{number}.eml"
        if not file.exists():
            raise LookupError(f"There is no mail {number}.")
        return _read(file)


def _read(file: Path) -> Letter:
    mail = message_from_bytes(file.read_bytes(), policy=policy.default)
    return Letter(file.stem, mail["To"], mail["Subject"], mail["Date"].datetime, mail.get_content())


class _Handler:
    """Takes every mail that the server is given."""

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:
        self._mailbox.put(envelope.content)
        return "250 OK"


class _Server(Controller):
    def _trigger_server(self) -> None:
        """Go by the port that was free where any would do."""
        assert isinstance(self.server, Server)
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()  # type: ignore[no-untyped-call]


@contextmanager
def running_mail_server(folder: Path, port: int = 0) -> Iterator[int]:
    """Run a mail server in a thread and yield its port.

    :param folder: The mailbox that gets all mails, whoever they are for.
    :param port: Port on 127.0.0.1; any free one when 0.
    """
    server = _Server(_Handler(Mailbox(folder)), hostname="127.0.0.1", port=port, ready_timeout=60)
    server.start()
    try:
        yield server.port
    finally:
        server.stop()
