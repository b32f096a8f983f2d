"""`flask squidmesh doctor` as a host calls it."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from flask_squidmesh import Manual, Step, Workflow
from flask_squidmesh.storage import tables
from tests.shop import Shop


class Greeting(Workflow):
    greet_now = Manual()
    greet = Step(lambda: None)


@pytest.fixture
def shop(migrated_url: str) -> Shop:
    """A shop with a run whose first step is due."""
    shop = Shop(migrated_url, Greeting)
    with shop.app.app_context():
        shop.start(Greeting)
    return shop


def doctor(shop: Shop, *words: str, answer: str = "") -> Any:
    result = shop.app.test_cli_runner().invoke(args=["squidmesh", "doctor", *words], input=answer)
    shop.runtime.database.dispose()
    return result


def harm(shop: Shop) -> None:
    with shop.runtime.database.write() as connection:
        connection.execute(sa.update(tables.runs).values(open_steps=3, position=2))


def test_a_healthy_database(shop: Shop) -> None:
    result = doctor(shop)
    assert (result.exit_code, result.output) == (0, "Nothing was found.\n")


@pytest.mark.rule("doctor-finds")
def test_it_says_what_was_found_what_was_expected_and_what_to_do(shop: Shop) -> None:
    harm(shop)
    result = doctor(shop)
    assert result.exit_code == 1
    counted = "the run counts 3 steps that can go on; expected 1. `flask squidmesh doctor --repair` sets open_steps"
    assert counted in result.output
    assert "outputs stand at [] and the run at 2; expected 1, 2, 3 ... up to it. Look at the run" in result.output
    assert result.output.endswith("Error: 2 findings.\n")


@pytest.mark.rule("doctor-mends")
def test_it_asks_before_it_mends_and_looks_again(shop: Shop) -> None:
    harm(shop)
    refused = doctor(shop, "--repair", answer="n\n")
    assert "Mend 1 of 2?" in refused.output
    assert "the run counts 3" in doctor(shop).output
    mended = doctor(shop, "--repair", "--yes")
    assert mended.exit_code == 1
    assert "Mended: 1. Looking again.\npositions" in mended.output
    assert mended.output.endswith("Error: 1 finding.\n")


def test_one_run(shop: Shop) -> None:
    with shop.runtime.database.read() as connection:
        run_id = connection.scalar(sa.select(tables.runs.c.id))
    assert doctor(shop, "--run", str(run_id)).output == "Nothing was found.\n"
    assert "There is no run 'nonsense'" in doctor(shop, "--run", "nonsense").output
