"""Web apps behind a port of this machine, served from a thread."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from threading import Thread

from flask import Flask
from werkzeug.serving import make_server

HOST = "127.0.0.1"


@contextmanager
def listening(port: int = 0) -> Iterator[socket.socket]:
    """Listen on the port meanwhile, on any free one when 0, so that an app can be told where before it is made."""
    with closing(socket.create_server((HOST, port))) as listener:
        yield listener


def address_of(listener: socket.socket) -> str:
    """The address of whoever listens there."""
    return f"http://{HOST}:{listener.getsockname()[1]}"


@contextmanager
def serving(app: Flask, listener: socket.socket) -> Iterator[None]:
    """Let the app answer meanwhile what comes to the listener."""
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    server = make_server(HOST, 0, app, threaded=True, fd=listener.fileno())
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
