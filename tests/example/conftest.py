"""The example shop, migrated as a host migrates, with a payment company and a worker of its own."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from flask import Flask

os.environ.setdefault("SHOP_SETTLE_SECONDS", "0.2")
os.environ.setdefault("SHOP_PAYMENT_SECONDS", "600")

SECRET = "of the gateway"


@pytest.fixture
def gateway_url(tmp_path: Path) -> Iterator[str]:
    """A payment company that answers at once, or after a second while it is slow."""
    from example_app.gateway.server import running_gateway

    with running_gateway(tmp_path / "gateway.sqlite", SECRET, slow_seconds=1) as url:
        yield url


@pytest.fixture
def shop(database_url: str, gateway_url: str) -> Flask:
    """The shop on an empty database that was migrated, with people and products."""
    return filled_shop(database_url, gateway_url)


@pytest.fixture
def address(shop: Flask, live_server: Callable[[Flask], str]) -> str:
    """Where the shop is served, and where the payment company calls it back."""
    shop.config["SQUIDMESH_EXTERNAL_URL"] = live_server(shop)
    return str(shop.config["SQUIDMESH_EXTERNAL_URL"])


@pytest.fixture
def working_shop(shop: Flask) -> Iterator[Flask]:
    """The shop, with a worker that performs its steps."""
    from example_app.stage import working

    with ExitStack() as stack:
        with shop.app_context():
            stack.enter_context(working())
        yield shop


def filled_shop(database_url: str, gateway_url: str) -> Flask:
    """Make the shop and bring its database up to date, as `flask db upgrade` does, and fill the shelves."""
    from flask_migrate import upgrade

    from example_app import create_app
    from example_app.seed import seed_people, seed_products

    config = {"SQLALCHEMY_DATABASE_URI": database_url, "SECRET_KEY": "test", "TESTING": True}
    app = create_app({**config, "GATEWAY_URL": gateway_url, "GATEWAY_SECRET": SECRET})
    with app.app_context():
        upgrade()
        seed_people()
        seed_products()
    return app
