"""A connection to rows that are thrown away."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from tests.integration.reading.rows import Rows


@pytest.fixture
def rows(migrated_url: str) -> Iterator[Rows]:
    """A builder of rows on both databases; its connection reads what it wrote."""
    engine = sa.create_engine(migrated_url)
    with engine.connect() as connection:
        yield Rows(connection)
