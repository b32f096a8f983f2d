"""A shop on the test's database, and a script for its steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.shop import Script, Shop, check_health, check_rows


@pytest.fixture
def script() -> Script:
    """What the steps do, and what they were called with."""
    return Script()


@pytest.fixture
def open_shop(migrated_url: str) -> Iterator[Callable[..., Shop]]:
    """A function that makes a shop of workflows and settings, in whose app context the test goes on.

    At the end of the test the rows of every run must agree with each other, and the doctor must find nothing.
    """
    with ExitStack() as stack:
        shops: list[Shop] = []

        def open_one(*workflows: Any, url: str = migrated_url, **settings: Any) -> Shop:
            shop = Shop(url, *workflows, **settings)
            stack.callback(shop.runtime.database.dispose)
            stack.enter_context(shop.app.app_context())
            shops.append(shop)
            return shop

        yield open_one
        if shops:
            check_rows(shops[-1])
            check_health(shops[-1])
