"""Flask apps behind a real port."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from flask import Flask
from werkzeug.serving import WSGIRequestHandler, make_server


class Door:
    """Lets requests in until it is shut, and knows how many are inside."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside = 0
        self._shut = False

    def enter(self) -> bool:
        """Let one in, unless it is shut."""
        with self._changed:
            self._inside += not self._shut
            return not self._shut

    def leave(self) -> None:
        """One that was let in has been answered."""
        with self._changed:
            self._inside -= 1
            self._changed.notify_all()

    def shut(self, timeout: float = 20) -> None:
        """Let nobody in any more, and wait until those inside have been answered."""
        with self._changed:
            self._shut = True
            assert self._changed.wait_for(lambda: not self._inside, timeout), "a request was not answered"


@contextmanager
def serving(app: Flask) -> Iterator[str]:
    """Serve the app on a free port from a thread and yield its address, without a slash at the end.

    Afterwards no request is at work, so that a test can close the connections that they used.
    """
    door = Door()

    class Handler(WSGIRequestHandler):
        def run_wsgi(self) -> None:
            if not door.enter():
                self.close_connection = True
                return
            try:
                super().run_wsgi()
            finally:
                door.leave()

    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        door.shut()
