"""Shops of one version after the other. A module shares one database of each kind, as its tests are many."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import sqlalchemy as sa

from flask_squidmesh.storage.tables import Base
from tests.databases import PostgresDatabases, SqliteDatabases, engines_disposed
from tests.shop import Script, Shop, check_health, check_rows


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def shared_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """URL of a database with our tables, on SQLite and on PostgreSQL, for all tests of the module."""
    databases: SqliteDatabases | PostgresDatabases = request.getfixturevalue(f"{request.param}_databases")
    url = databases.create_migrated()
    yield url
    databases.drop(url)


@pytest.fixture
def script() -> Script:
    """What the steps do, and what they were called with."""
    return Script()


@pytest.fixture
def open_shop(shared_url: str) -> Iterator[Callable[..., Shop]]:
    """A function that makes a shop of workflows and settings, in whose app context the test goes on.

    At the end of the test the rows of every run must agree with each other, the doctor must find nothing, and the runs
    go away.
    """
    with engines_disposed(), ExitStack() as stack:
        shops: list[Shop] = []

        def open_one(*workflows: Any, **settings: Any) -> Shop:
            shop = Shop(shared_url, *workflows, **settings)
            stack.callback(shop.runtime.database.dispose)
            stack.enter_context(shop.app.app_context())
            shops.append(shop)
            return shop

        yield open_one
        if shops:
            check_rows(shops[-1])
            check_health(shops[-1])
            _emptied(shops[-1])


def _emptied(shop: Shop) -> None:
    with shop.runtime.database.write() as connection:
        for table in reversed(Base.metadata.sorted_tables):
            connection.execute(sa.delete(table))
