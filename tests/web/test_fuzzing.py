"""Whatever a visitor puts into an address or a form, no page breaks: every parameter of every route, on both databases.

Which parameters a route reads is found out by watching it read them, so that a new one cannot be left out.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from flask import Flask, Request
from werkzeug.datastructures import ImmutableMultiDict

from tests.web.shop import make_app
from tests.web.test_every_route import _examples, furnished, token
from tests.web.visiting import Visitor

SEED = int(os.environ.get("SQUIDMESH_TEST_SEED", "1"))
VALUES_FOR_EACH, KEYWORDS_FOR_EACH = 2, 3
VALUES = (
    *("", " ", "0", "-1", "1", "1e9", "NaN", "Infinity", "9" * 5_000, "²", "٣", "0x10", "1_0", "true", "null"),
    *("\0", "a\0b", "\x7f\x1b[31m", "\u202e", "\U0001f600" * 300, "x" * 20_000, "%", "_", "\\", "'\";--", "<script>"),
    *("0001-01-01", "9999-12-31T23:59:59+14:00", "2026-02-30", "2026-01-01T00:00:00-99:99", "-9999-01-01", "24:00"),
    *("[" * 50_000, '{"a":' * 2_000, "{}", "[1,2]", '"\\ud800"', '{"\\u0000": 1}', "1e400", "{" + '"a":1,' * 9 + "}"),
    *("run", "completed", "approve", "failed", "../../etc/passwd", "//evil.example", "/\\evil.example", "javascript:x"),
    *(
        "00000000-0000-0000-0000-000000000000",
        "{00000000-0000-0000-0000-000000000000}",
        "not-a-run",
        "a~b",
        "a~b " * 999,
    ),
    *("payload", "payload/a/b/c", "steps/reserve/output", "events", "graph", "__class__", "self", "None"),
)
BEYOND_UNICODE = ("%ff", "%ed%a0%80", "%00", "%C0%AF", "%E0%80", "%F5%80%80%80")
"""Bytes that are no text, as they stand in an address."""

NAMES = ("q", "v", "view", "run", "after", "step", "next")
ANSWERED_BY_ADDRESSES = ("endpoint", "_method", "_external", "_scheme", "_anchor", "version", "values", "self", "name")
"""Keywords of `url_for` and the like, which must not be taken from an address as if they were ours."""


class Watched(ImmutableMultiDict[Any, Any]):
    """Notes what is asked of it."""

    asked: set[str] = set()

    def __getitem__(self, key: Any) -> Any:
        Watched.asked.add(key)
        return super().__getitem__(key)

    def __contains__(self, key: object) -> bool:
        Watched.asked.add(str(key))
        return super().__contains__(key)

    def get(self, key: Any, *more: Any, **how: Any) -> Any:
        Watched.asked.add(key)
        return super().get(key, *more, **how)

    def getlist(self, key: Any, *more: Any, **how: Any) -> Any:
        Watched.asked.add(key)
        return super().getlist(key, *more, **how)


class WatchedRequest(Request):
    parameter_storage_class = Watched


@pytest.fixture
def visitor(migrated_url: str) -> Visitor:
    app: Flask = make_app(migrated_url, SQUIDMESH_DASHBOARD_QUERY_TIMEOUT_MS=60_000)
    app.config["PROPAGATE_EXCEPTIONS"] = False
    app.request_class = WatchedRequest
    return furnished(Visitor(app))


def routes(visitor: Visitor) -> Iterator[tuple[str, list[str]]]:
    """Every method of every route, with addresses of it."""
    for rule in visitor.app.url_map.iter_rules():
        if rule.endpoint.startswith("squidmesh."):
            with visitor.app.test_request_context():
                found = list(_examples(rule, visitor.app.extensions["examples"]))
            for method in {"GET", "POST"} & set(rule.methods or ()):
                yield method, found


def ask(visitor: Visitor, method: str, address: str, given: dict[str, Any], fields: dict[str, str]) -> int:
    """The status of the answer, once with the values in the address and, for a form, once in its fields."""
    if method == "GET":
        return visitor.client.get(address, query_string=given, buffered=True).status_code
    in_address = visitor.client.post(address, query_string=given, data=fields).status_code
    return max(in_address, visitor.client.post(address, data={**fields, **given}).status_code)


def read_by(visitor: Visitor, method: str, found: list[str], fields: dict[str, str]) -> list[str]:
    """What the route reads; some of it only where another parameter has a value."""
    Watched.asked = set()
    for address in found[:: len(found) // 2 + 1]:
        for given in ({}, {"action": "resume", "view": "runs", "run": "x"}, {"action": "cancel", "view": "run"}):
            ask(visitor, method, address, given, fields)
    return sorted(Watched.asked - set(fields))


def test_no_value_of_any_parameter_breaks_a_page(visitor: Visitor) -> None:
    chance, fields, tried = random.Random(SEED), token(visitor), 0
    for method, found in routes(visitor):
        read = read_by(visitor, method, found, fields)
        for name in (*read, *chance.sample(ANSWERED_BY_ADDRESSES, KEYWORDS_FOR_EACH)):
            for value in chance.sample(VALUES, VALUES_FOR_EACH if name in read else 1):
                address = chance.choice(found)
                status = ask(visitor, method, address, {name: value}, fields)
                assert status < 500, f"{method} {address} with {name}={value[:80]!r}: {status} (seed {SEED})"
                tried += 1
    assert tried > 200


def test_no_value_in_the_path_breaks_a_page(visitor: Visitor) -> None:
    chance, fields = random.Random(SEED), token(visitor)
    for method, found in routes(visitor):
        for _ in range(2):
            parts = chance.choice(found).split("/")
            for place in range(2, len(parts)):
                value = chance.choice([*BEYOND_UNICODE, *(quote(each[:3_000], safe="") for each in VALUES if each)])
                address = "/".join([*parts[:place], value, *parts[place + 1 :]])
                status = ask(visitor, method, address, {}, fields)
                assert status < 500, f"{method} {address[:200]}: {status} (seed {SEED})"


def test_bytes_that_are_no_text_break_no_page(visitor: Visitor) -> None:
    chance, fields = random.Random(SEED), token(visitor)
    for method, found in routes(visitor):
        address = chance.choice(found)
        for raw in chance.sample(BEYOND_UNICODE, 3):
            asked = f"{address}?{chance.choice(NAMES)}={raw}&{raw}=x"
            status = visitor.client.open(asked, method=method, data=fields, buffered=True).status_code
            assert status < 500, f"{method} {asked}: {status} (seed {SEED})"
