"""Shops of one version after the other. A module shares one database of each kind, as its tests are many."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import sqlalchemy as sa

from flask_squidmesh.storage.tables import Base
from tests.databases import PostgresDatabases, SqliteDatabases, engines_disposed
from tests.shop import Shop, opening_shops


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def shared_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """URL of a database with our tables, on SQLite and on PostgreSQL, for all tests of the module."""
    databases: SqliteDatabases | PostgresDatabases = request.getfixturevalue(f"{request.param}_databases")
    url = databases.create_migrated()
    yield url
    databases.drop(url)


@pytest.fixture
def open_shop(shared_url: str) -> Iterator[Callable[..., Shop]]:
    """A function that makes a shop of workflows and settings, in whose app context the test goes on.

    At the end of the test all is checked, see `opening_shops`, and the runs go away.
    """
    with engines_disposed(), opening_shops(shared_url, _emptied) as open_one:
        yield open_one


def _emptied(shop: Shop) -> None:
    with shop.runtime.database.write() as connection:
        for table in reversed(Base.metadata.sorted_tables):
            connection.execute(sa.delete(table))
