"""A shop on the test's database."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.shop import Shop, opening_shops


@pytest.fixture
def open_shop(migrated_url: str) -> Iterator[Callable[..., Shop]]:
    """A function that makes a shop; see `opening_shops`."""
    with opening_shops(migrated_url) as open_one:
        yield open_one
