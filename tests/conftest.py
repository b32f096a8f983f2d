"""Fixtures for all tests: databases, an app behind a port, a browser, and checks that nothing is left behind."""

from __future__ import annotations

import gc
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from flask import Flask, has_app_context
from flask.globals import app_ctx
from hypothesis import settings

from tests import browser, postgres
from tests.databases import PostgresDatabases, SqliteDatabases, engines_disposed
from tests.requirements import missing
from tests.serving import serving
from tests.shop import Script
from tests.waiting import eventually as wait_until

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

POSTGRES_VARIABLE = "SQUIDMESH_TEST_POSTGRES"

settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes(config: pytest.Config) -> None:
    """Start one server for all workers, which read its URL from the environment they inherit."""
    binaries = postgres.find_binaries()
    if POSTGRES_VARIABLE not in os.environ and binaries:
        stack = ExitStack()
        config.add_cleanup(stack.close)
        os.environ[POSTGRES_VARIABLE] = stack.enter_context(postgres.running_postgres(binaries))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Browser tests come last: from the first one on, playwright's event loop runs in the main thread."""
    for item in items:
        if "chromium" in getattr(item, "fixturenames", ()):
            item.add_marker("browser")
    items.sort(key=lambda item: item.get_closest_marker("browser") is not None)


def pytest_collection_finish() -> None:
    """To look through all modules for garbage again and again would take a tenth of the time."""
    gc.set_threshold(50_000)


@pytest.fixture(autouse=True)
def no_context_left() -> Iterator[None]:
    """Fail a test that leaves an app context pushed, and pop it for the next."""
    yield
    leaked = has_app_context()
    while has_app_context():
        app_ctx.pop()
    assert not leaked, "the test left an app context pushed: use `with app.app_context():`"


@pytest.fixture(autouse=True)
def loggers_enabled() -> Iterator[None]:
    """Switch on again what a host's Alembic switched off in this process: its `env.py` disables other loggers."""
    yield
    for logger in logging.Logger.manager.loggerDict.values():
        if isinstance(logger, logging.Logger):
            logger.disabled = False


@pytest.fixture
def script() -> Script:
    """What steps do, and what they were called with."""
    return Script()


@pytest.fixture(scope="session")
def postgres_databases() -> Iterator[PostgresDatabases]:
    """Databases on the server given in SQUIDMESH_TEST_POSTGRES, else on one of our own."""
    with ExitStack() as stack:
        server = os.environ.get(POSTGRES_VARIABLE)
        if server is None:
            binaries = postgres.find_binaries() or missing(postgres.HOW_TO_GET)
            server = stack.enter_context(postgres.running_postgres(binaries))
        databases = PostgresDatabases(server)
        yield databases
        databases.close()


@pytest.fixture(scope="session")
def sqlite_databases(tmp_path_factory: pytest.TempPathFactory) -> SqliteDatabases:
    """SQLite files in a temporary folder."""
    return SqliteDatabases(tmp_path_factory.mktemp("sqlite"))


@pytest.fixture(params=["sqlite", "postgres"])
def databases(request: pytest.FixtureRequest) -> SqliteDatabases | PostgresDatabases:
    """One kind of database after the other."""
    chosen: SqliteDatabases | PostgresDatabases = request.getfixturevalue(f"{request.param}_databases")
    return chosen


@pytest.fixture
def database_url(databases: SqliteDatabases | PostgresDatabases) -> Iterator[str]:
    """URL of an empty database, on SQLite and on PostgreSQL."""
    yield from _used(databases, databases.create())


@pytest.fixture
def migrated_url(databases: SqliteDatabases | PostgresDatabases) -> Iterator[str]:
    """URL of a database with our tables, on SQLite and on PostgreSQL."""
    yield from _used(databases, databases.create_migrated())


@pytest.fixture
def sqlite_url(sqlite_databases: SqliteDatabases) -> Iterator[str]:
    """URL of an empty SQLite file."""
    yield from _used(sqlite_databases, sqlite_databases.create())


@pytest.fixture
def migrated_sqlite_url(sqlite_databases: SqliteDatabases) -> Iterator[str]:
    """URL of a SQLite file with our tables."""
    yield from _used(sqlite_databases, sqlite_databases.create_migrated())


@pytest.fixture
def postgres_url(postgres_databases: PostgresDatabases) -> Iterator[str]:
    """URL of an empty PostgreSQL database."""
    yield from _used(postgres_databases, postgres_databases.create())


@pytest.fixture
def migrated_postgres_url(postgres_databases: PostgresDatabases) -> Iterator[str]:
    """URL of a PostgreSQL database with our tables."""
    yield from _used(postgres_databases, postgres_databases.create_migrated())


@pytest.fixture
def live_server() -> Iterator[Callable[[Flask], str]]:
    """A function that serves an app on a free port until the test ends, and returns its address."""
    with ExitStack() as stack:
        yield lambda app: stack.enter_context(serving(app))


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """A running browser."""
    with browser.running_chromium(browser.find_chromium() or missing(browser.HOW_TO_GET)) as running:
        yield running


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    """A page of 1280 by 800 with cookies of its own."""
    with browser.fresh_page(chromium) as opened:
        yield opened


@pytest.fixture
def eventually() -> Callable[..., object]:
    """A function that polls a condition until it holds, or fails after `timeout` seconds."""
    return wait_until


def _used(databases: SqliteDatabases | PostgresDatabases, url: str) -> Iterator[str]:
    with engines_disposed():
        yield url
    databases.drop(url)
