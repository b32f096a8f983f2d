"""Going through the pages as a person does: open a form, fill it in, send it."""

from __future__ import annotations

import re
from html import unescape
from html.parser import HTMLParser
from typing import Any

import sqlalchemy as sa
from flask import Flask
from werkzeug.test import TestResponse

PREFIX = "/squidmesh"


class _Forms(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.forms: dict[str, dict[str, str]] = {}
        self._fields: dict[str, str] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self._fields = self.forms[given.get("action", "")] = {}
        elif tag == "input" and given.get("name") and given.get("type") != "checkbox":
            self._fields[given["name"]] = given.get("value", "")


def forms_of(page: str) -> dict[str, dict[str, str]]:
    """The fields of each form on the page, by the form's address."""
    parser = _Forms()
    parser.feed(page)
    return parser.forms


def text_of(page: str) -> str:
    """What can be read on the page."""
    bare = re.sub(r"<(script|style|template)\b.*?</\1>", " ", page, flags=re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", bare)).split())


def pulse_of(page: str, prefix: str = PREFIX) -> str:
    """The address that the page polls, below the dashboard's own."""
    found = re.search(rf'id="pulse"[^>]*hx-get="{prefix}([^"]+)"', page)
    assert found, "the page has no poll"
    return unescape(found[1])


class Visitor:
    """One browser."""

    def __init__(self, app: Flask) -> None:
        self.app, self.client = app, app.test_client()

    def get(self, path: str, **how: Any) -> TestResponse:
        """Open a page below the dashboard's address."""
        return self.client.get(PREFIX + path, **how)

    def read(self, path: str) -> str:
        """Open a page, which must be there, and return its text."""
        response = self.get(path)
        assert response.status_code == 200, f"{response.status}: {text_of(response.text)}"
        return text_of(response.text)

    def form(self, path: str) -> dict[str, str]:
        """The fields of the action's form on its own page."""
        forms = forms_of(self.get(path).text)
        return dict(forms[PREFIX + path.partition("?")[0]])

    def send(self, path: str, fields: dict[str, str] | None = None, **more: Any) -> TestResponse:
        """Send the form of a page: the one it has now, or the given fields."""
        given = self.form(path) if fields is None else fields
        return self.client.post(PREFIX + path.partition("?")[0], data={**given, **more})

    def status(self, run_id: str) -> str:
        """The run's status now."""
        with self.app.app_context():
            status: str = self.app.extensions["mesh"].inspect_run(run_id).status
            return status

    def events(self, run_id: str) -> list[Any]:
        """The run's audit events."""
        with self.app.app_context():
            return list(self.app.extensions["mesh"].inspect_run(run_id, include_history=True).audit_events)


def queries(visitor: Visitor, path: str) -> list[str]:
    """The statements that a page needs."""
    statements: list[str] = []
    engine = visitor.app.extensions["squidmesh"].database.engine

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        statements.extend([] if statement.startswith("BEGIN") else [statement])

    sa.event.listen(engine, "before_cursor_execute", note)
    visitor.get(path)
    sa.event.remove(engine, "before_cursor_execute", note)
    return statements
