"""`flask squidmesh prune` as a host calls it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from flask_squidmesh import FailStep, Manual, Step, Workflow
from flask_squidmesh.cli import prune as pruning
from flask_squidmesh.storage import tables
from tests.shop import Script, Shop


class Greeting(Workflow):
    greet_now = Manual()
    greet = Step(lambda: None)


class Failing(Workflow):
    fail_now = Manual()
    fail = Step(Script().does("fail", FailStep("no")))


@pytest.fixture
def shop(migrated_url: str) -> Shop:
    """A shop with two completed runs and a failed one, 100 days old."""
    shop = Shop(migrated_url, Greeting, Failing)
    with shop.app.app_context():
        for workflow in (Greeting, Greeting, Failing):
            shop.run(workflow)
    shop.clock.advance(timedelta(days=100))
    return shop


def prune(shop: Shop, *words: str, answer: str = "") -> Any:
    result = shop.app.test_cli_runner().invoke(args=["squidmesh", "prune", *words], input=answer)
    shop.runtime.database.dispose()
    return result


def left(shop: Shop) -> int:
    with shop.runtime.database.read() as connection:
        return int(connection.scalar(sa.select(sa.func.count()).select_from(tables.runs)) or 0)


def test_a_dry_run_tells_what_would_go_and_what_stays_and_why(shop: Shop) -> None:
    result = prune(shop, "--older-than", "90d", "--status", "completed", "--status", "failed", "--dry-run")
    assert result.exit_code == 0, result.output
    assert [line.split()[:3] for line in result.output.splitlines()[:2]] == [
        ["workflow", "status", "runs"],
        ["greeting", "completed", "2"],
    ]
    assert "Kept: 1 run of failing, failed: it needs a person." in result.output
    assert result.output.endswith("Would delete 2 runs.\n")
    assert left(shop) == 3


def test_it_asks_before_it_deletes(shop: Shop) -> None:
    refused = prune(shop, "--older-than", "90d", answer="n\n")
    assert (refused.exit_code, left(shop)) == (1, 3)
    assert "Delete 2 runs for good?" in refused.output
    assert prune(shop, "--older-than", "90d", answer="y\n").output.endswith("Deleted 2 runs.\n")
    assert left(shop) == 1
    nothing = prune(shop, "--older-than", "90d")
    assert (nothing.exit_code, nothing.output) == (0, "Would delete 0 runs.\n")


def test_with_yes_it_does_not_ask_and_tells_how_far_it_is(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pruning, "PROGRESS_EVERY", 1)
    options = ["--status", "failed", "--status", "completed", "--including-unacknowledged", "--batch", "1", "--yes"]
    result = prune(shop, "--older-than", "14w", *options)
    assert result.output.splitlines()[:3] == ["1 pruned so far", "2 pruned so far", "3 pruned so far"]
    assert left(shop) == 0


def test_one_workflow_only(shop: Shop) -> None:
    assert "Deleted 0 runs." in prune(shop, "--older-than", "1h", "--workflow", "failing", "--yes").output
    assert "Deleted 2 runs." in prune(shop, "--older-than", "1h", "--workflow", "greeting", "--yes").output
    assert "greetings" in prune(shop, "--older-than", "1h", "--workflow", "greetings", "--yes").output


@pytest.mark.parametrize("age", ["90", "d90", "-3d", "3 months", ""])
def test_an_age_is_a_number_and_a_unit(shop: Shop, age: str) -> None:
    result = prune(shop, "--older-than", age, "--yes")
    assert result.exit_code == 2
    assert "such as 90d" in result.output


def test_nothing_goes_without_an_age(shop: Shop) -> None:
    assert "Missing option '--older-than'" in prune(shop, "--yes").output


@pytest.mark.parametrize(
    ("period", "said"),
    [
        (None, "ok     retention: ended runs are kept for ever"),
        (timedelta(days=9), "ok     retention: completed: 9 days, 0:00:00, failed: 9 days"),
        ({"greeting": None}, "ok     retention: greeting: for ever"),
        ({"greetings": 9.0}, "wrong  retention: SQUIDMESH_RETENTION names 'greetings'"),
        ({"running": 9.0}, "wrong  retention: SQUIDMESH_RETENTION names 'running'"),
    ],
)
def test_check_looks_at_how_long_runs_are_kept(migrated_sqlite_url: str, period: Any, said: str) -> None:
    shop = Shop(migrated_sqlite_url, Greeting, Failing, retention=period)
    result = shop.app.test_cli_runner().invoke(args=["squidmesh", "check"])
    shop.runtime.database.dispose()
    assert said in result.output
