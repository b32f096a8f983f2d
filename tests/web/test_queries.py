"""No page and no poll asks more than eight queries, however much it shows."""

from __future__ import annotations

import re

import pytest

from tests.web import tour
from tests.web.shop import fill, make_app
from tests.web.visiting import Visitor, pulse_of, queries

MOST = 8


def test_every_page_asks_few_queries(visitor: Visitor) -> None:
    ids = tour.furnish(visitor.app)
    addresses = [*tour.pages(ids), f"/runs/{ids['decision']}.json", "/runs.json", "/runs.csv", "/audit.csv"]
    asked = {address: len(queries(visitor, address)) for address in addresses}
    assert {address: number for address, number in asked.items() if number > MOST} == {}


def test_a_poll_that_brings_the_whole_page_asks_few_queries(visitor: Visitor) -> None:
    ids = tour.furnish(visitor.app)
    for path in ("/", "/runs", "/failures", "/workflows", "/workflows/checkout", "/schedules", "/system"):
        older = re.sub(r"\bv=[^&]*", "v=older-0", pulse_of(visitor.get(path).text))
        assert len(queries(visitor, older)) <= MOST, path
    older = re.sub(r"\bv=[^&]*", "v=older-0", pulse_of(visitor.get(f"/runs/{ids['decision']}").text))
    assert len(queries(visitor, older)) <= MOST


def test_longer_lists_ask_no_more_queries(visitor: Visitor) -> None:
    fill(visitor.app)
    once = {path: len(queries(visitor, path)) for path in tour.LISTS}
    fill(visitor.app)
    assert {path: len(queries(visitor, path)) for path in tour.LISTS} == once


@pytest.mark.parametrize(("path", "most"), [("/", 4), ("/runs", 4), ("/runs?word=failed", 4)])
def test_a_page_is_read_over_one_connection_and_nothing_twice(migrated_postgres_url: str, path: str, most: int) -> None:
    visitor = Visitor(make_app(migrated_postgres_url))
    fill(visitor.app)
    asked = queries(visitor, path)
    ours = [query for query in asked if "squidmesh_" in query]
    assert len([query for query in asked if "set_config" in query]) == 1
    assert len(set(ours)) == len(ours) <= most
