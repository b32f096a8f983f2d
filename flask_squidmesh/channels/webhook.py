"""Notices to another service, as a signed POST."""

from __future__ import annotations

import hashlib
import hmac
import json
import socket
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from email.message import Message
from email.utils import parsedate_to_datetime
from http.client import HTTPConnection, HTTPException, HTTPMessage, HTTPSConnection
from types import TracebackType
from typing import IO, Any, Final
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPHandler, HTTPRedirectHandler, HTTPSHandler, OpenerDirector, Request, build_opener

from ..app_settings import Text, text_of
from ..errors import ChannelError, ConfigurationError
from ..notices import Notice, message_id

BUSY: Final = (429, 503)
TIMEOUT: Final = timedelta(seconds=10)


class Webhook:
    """Posts notices to an address as JSON, `{"notices": [...]}`; any answer from 200 to 299 counts as delivered.

    The headers are `Squidmesh-Id`, the same whenever it is sent again, `Squidmesh-Timestamp`, in seconds since 1970,
    and `Squidmesh-Signature`, the hex HMAC-SHA256 of `<timestamp>.<body>` by the secret. Redirects are not followed,
    and `Retry-After` is honoured on 429 and 503.

    url, secret: text, a Setting, or a function that answers it. timeout: for all of one call. Raises
    ConfigurationError.
    """

    def __init__(self, url: Text, secret: Text, *, timeout: timedelta = TIMEOUT) -> None:
        if isinstance(url, str) and not _is_address(url):
            raise ConfigurationError("Webhook: url is no address that begins with https:// or http://.")
        if isinstance(secret, str) and not secret:
            raise ConfigurationError("Webhook: secret is empty.")
        if not isinstance(timeout, timedelta) or not timedelta(0) < timeout <= timedelta(minutes=1):
            raise ConfigurationError("Webhook: timeout is a timedelta of more than nothing and at most a minute.")
        self._url, self._secret, self._seconds = url, secret, timeout.total_seconds()

    def send(self, receiver: str, notices: Sequence[Notice]) -> None:
        """Post the notices. receiver: is told to the service, where `to` has answered one."""
        url = text_of(self._url, "The address of the webhook")
        if not _is_address(url):
            raise ChannelError("The address of the webhook does not begin with https:// or http://.")
        to = {"receiver": receiver} if receiver else {}
        body = json.dumps({**to, "notices": [notice.to_dict() for notice in notices]}).encode()
        at = str(int(time.time()))
        key = text_of(self._secret, "The secret of the webhook").encode()
        signature = hmac.new(key, f"{at}.".encode() + body, hashlib.sha256).hexdigest()
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "flask-squidmesh",
            "Squidmesh-Id": message_id(notices),
            "Squidmesh-Timestamp": at,
            "Squidmesh-Signature": signature,
        }
        self._post(Request(url, data=body, headers=headers, method="POST"))

    def _post(self, request: Request) -> None:
        late = f"The service did not answer within {self._seconds:g} s."
        with _CallTime(self._seconds) as time_left:
            try:
                with _opener(time_left).open(request, timeout=self._seconds):
                    if time_left.is_over:  # an answer that was cut off is none
                        raise ChannelError(late)
            except HTTPError as answer:
                with answer:
                    wait = _retry_after(answer.headers) if answer.code in BUSY else None
                    raise ChannelError(f"The service answered {answer.code}.", retry_after=wait) from None
            except (OSError, HTTPException, ValueError) as error:
                if time_left.is_over or isinstance(error, TimeoutError):
                    raise ChannelError(late) from None
                reason = error.reason if isinstance(error, URLError) else error
                if isinstance(reason, TimeoutError):
                    raise ChannelError(late) from None
                raise ChannelError(f"The service could not be reached ({type(reason).__name__}).") from None


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname) and url.isprintable() and " " not in url


def _retry_after(headers: Message) -> timedelta | None:
    """What the header asks for, in seconds or as a date; None where it says neither, or what is over."""
    said = (headers.get("Retry-After") or "").strip()
    if said.isascii() and said.isdigit() and len(said) < 10:
        return timedelta(seconds=int(said))
    try:
        until = parsedate_to_datetime(said)
    except (TypeError, ValueError):
        return None
    wait = until.replace(tzinfo=until.tzinfo or UTC) - datetime.now(UTC)
    return wait if timedelta(0) < wait < timedelta(days=365) else None


class _CallTime:
    """Ends a call when its time is over, however slowly the other side goes on: each wait alone has a time-out."""

    def __init__(self, seconds: float) -> None:
        self._connections: list[socket.socket] = []
        self.is_over = False
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True

    def watch(self, connection: socket.socket) -> None:
        """End the connection then."""
        self._connections.append(connection)
        if self.is_over:
            self._end()

    def __enter__(self) -> _CallTime:
        self._timer.start()
        return self

    def __exit__(self, _type: type[BaseException] | None, _error: object, _trace: TracebackType | None) -> None:
        self._timer.cancel()

    def _end(self) -> None:
        self.is_over = True
        for connection in [*self._connections]:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:  # it has ended by itself
                continue


class _NoRedirects(HTTPRedirectHandler):
    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> None:
        """Follow none: what is signed for one place is not for another."""


def _opener(time_left: _CallTime) -> OpenerDirector:
    class Plain(HTTPConnection):
        def connect(self) -> None:
            super().connect()
            time_left.watch(self.sock)

    class Secure(HTTPSConnection):
        def connect(self) -> None:
            super().connect()
            time_left.watch(self.sock)

    class PlainHandler(HTTPHandler):
        def http_open(self, req: Request) -> Any:
            return self.do_open(Plain, req)

    class SecureHandler(HTTPSHandler):
        def https_open(self, req: Request) -> Any:
            return self.do_open(Secure, req)

    return build_opener(_NoRedirects, PlainHandler, SecureHandler)
