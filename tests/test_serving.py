"""The server of our own tests leaves no request at work behind."""

from __future__ import annotations

import threading
from urllib.request import urlopen

from flask import Flask

from tests.serving import serving


def test_a_request_at_work_is_answered_before_the_server_is_gone() -> None:
    app, begun, going_on, ended = Flask(__name__), threading.Event(), threading.Event(), threading.Event()

    @app.get("/")
    def slow() -> str:
        begun.set()
        going_on.wait(0.2)
        ended.set()
        return "done"

    with serving(app) as address:
        asking = threading.Thread(target=lambda: urlopen(address, timeout=30).read())
        asking.start()
        assert begun.wait(120)
    assert ended.is_set()
    asking.join(120)
