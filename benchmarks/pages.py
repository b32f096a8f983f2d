"""How long the server takes for each page of the dashboard, and how many queries it asks.

    flask --app example_app seed-runs 1000000
    python -m benchmarks.pages --database URL --rounds 20

It writes nothing. The time is that of the whole request in this process: rendering and the database, no network.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import unescape
from statistics import median

import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient
from flask_login import FlaskLoginClient

from .addresses import POLLED, addresses

PREFIX, PERSON = "/squidmesh", "olivia@shop.test"
MOST_QUERIES, MOST_MS = 8, 100.0
UNCHANGED = 204


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One page. milliseconds: of each request. queries: on our tables, in one request. size: bytes of the answer."""

    name: str
    status: int
    milliseconds: Sequence[float]
    queries: int
    size: int

    @property
    def over(self) -> str:
        """What it is over; empty where nothing is."""
        slow = median(self.milliseconds) > MOST_MS
        return ", ".join(word for word, is_so in (("slow", slow), ("queries", self.queries > MOST_QUERIES)) if is_so)


def main() -> None:
    """Print a table of all pages."""
    options = _options()
    if options.database:
        os.environ["DATABASE_URL"] = options.database
    from example_app import create_app

    app = create_app()
    client = logged_in(app)
    print(_heading(app))
    for page in measured(app, client, options.rounds, _chosen(app, options.only)):
        print(_line(page), flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pages", description="Measure the dashboard's pages.")
    parser.add_argument("--database", help="URL of a seeded database of the example app; DATABASE_URL if left out")
    parser.add_argument("--rounds", type=int, default=20, help="requests of each page after one that warms up")
    parser.add_argument("--only", default="", help="only pages whose name contains this")
    return parser.parse_args()


def logged_in(app: Flask) -> FlaskClient:
    """A client of somebody who may see every page."""
    from example_app.models import User, db

    app.test_client_class = FlaskLoginClient
    with app.app_context():
        person = db.session.scalar(sa.select(User).where(User.email == PERSON))
    if person is None:
        sys.exit("The database has no people in it. Seed it first:\n  flask --app example_app seed-runs 1000000")
    return app.test_client(user=person)


def _heading(app: Flask) -> str:
    engine = app.extensions["squidmesh"].database.engine
    with engine.connect() as connection:
        runs = connection.scalar(sa.text("SELECT count(*) FROM squidmesh_runs"))
        steps = connection.scalar(sa.text("SELECT count(*) FROM squidmesh_step_runs"))
    version = ".".join(str(number) for number in connection.dialect.server_version_info or ())
    columns = "| Page | Best, ms | Median, ms | Worst, ms | Queries | Size, KB | Over |\n|---|--:|--:|--:|--:|--:|---|"
    return f"{engine.dialect.name} {version}, {runs:,} runs, {steps:,} step runs\n\n{columns}"


def measured(app: Flask, client: FlaskClient, rounds: int, names: Collection[str]) -> Iterator[Measured]:
    """Measure pages.

    :param rounds: Requests of each after one that warms up.
    :param names: Which pages, see `addresses`; with ", unchanged" behind it, what a page polls.
    """
    known = _known(app)
    for name, path in known.items():
        if name in names:
            yield _measure(app, client, name, PREFIX + path, rounds)
    for name in POLLED:
        if (unchanged := f"{name}, unchanged") in names:
            yield _measure(app, client, unchanged, _pulse(client, PREFIX + known[name]), rounds)


def _chosen(app: Flask, part: str) -> list[str]:
    """The names of all that has this in its name."""
    return [name for name in (*_known(app), *(f"{name}, unchanged" for name in POLLED)) if part in name]


def _known(app: Flask) -> Mapping[str, str]:
    with app.extensions["squidmesh"].database.engine.connect() as connection:
        return addresses(connection)


def _measure(app: Flask, client: FlaskClient, name: str, address: str, rounds: int) -> Measured:
    with _counting(app) as statements:
        answer = client.get(address)
    times = []
    for _ in range(rounds):
        begun = time.perf_counter()
        client.get(address)
        times.append((time.perf_counter() - begun) * 1000)
    return Measured(
        name=name, status=answer.status_code, milliseconds=times, queries=len(statements), size=len(answer.data)
    )


@contextmanager
def _counting(app: Flask) -> Iterator[list[str]]:
    """The statements on our tables while the block runs."""
    engine, statements = app.extensions["squidmesh"].database.engine, list[str]()

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        statements.extend([statement] if "squidmesh_" in statement else [])

    sa.event.listen(engine, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        sa.event.remove(engine, "before_cursor_execute", note)


def _pulse(client: FlaskClient, address: str) -> str:
    """What the page polls."""
    found = re.search(r'id="pulse"[^>]*hx-get="([^"]+)"', client.get(address).text)
    if found is None:
        return address
    return unescape(found[1])


def _line(measured: Measured) -> str:
    name = measured.name if measured.status in (200, UNCHANGED) else f"{measured.name} ({measured.status})"
    times = " | ".join(f"{summary(measured.milliseconds):.0f}" for summary in (min, median, max))
    return f"| {name} | {times} | {measured.queries} | {measured.size / 1024:.0f} | {measured.over} |"


if __name__ == "__main__":
    main()
