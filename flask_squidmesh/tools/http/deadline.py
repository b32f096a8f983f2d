"""One time limit over a whole exchange, however slowly the other side goes about it."""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from threading import Timer
from types import TracebackType
from typing import Any, Final

_CONNECTED: Final = (".connect_tcp.complete", ".connect_unix_socket.complete")


class Deadline:
    """Ends an exchange when its time is over.

    httpx limits each wait by itself, so that a server which sends one byte now and then could hold a call for ever. So
    the connection is shut down from a thread of its own, which ends whatever waits for it.
    """

    def __init__(self, seconds: float) -> None:
        self._until = time.monotonic() + seconds
        self._connections: list[socket.socket] = []
        self._timer = Timer(seconds, self._shut)
        self._timer.daemon = True

    @property
    def passed(self) -> bool:
        """Whether the time is over."""
        return time.monotonic() >= self._until

    def watch(self, event: str, info: Mapping[str, Any]) -> None:
        """What httpx calls as `trace` of a request: learn of the connection that was made for it."""
        if event.endswith(_CONNECTED):
            found = info["return_value"].get_extra_info("socket")
            # A duplicate stays valid when TLS takes the socket over.
            self._connections.append(socket.socket(fileno=socket.dup(found.fileno())))
            if self.passed:
                self._shut()

    def __enter__(self) -> Deadline:
        self._timer.start()
        return self

    def __exit__(self, _type: type[BaseException] | None, _error: object, _traceback: TracebackType | None) -> None:
        self._timer.cancel()
        for connection in self._connections:
            connection.close()

    def _shut(self) -> None:
        for connection in tuple(self._connections):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:  # it has ended by itself
                continue
