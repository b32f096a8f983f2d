"""`flask resilience` with the database executor, and `flask soak`. `engines.py` tries them with every executor."""

from __future__ import annotations

from pathlib import Path

import pytest
from flask import Flask

from tests.example.conftest import filled_shop


@pytest.fixture
def shop_with_file(sqlite_url: str, gateway_url: str) -> Flask:
    """The shop on a file, which its worker's process opens too."""
    return filled_shop(sqlite_url, gateway_url)


def test_nothing_is_lost_when_the_worker_is_killed(shop_with_file: Flask) -> None:
    result = shop_with_file.test_cli_runner().invoke(args=["resilience", "--signal", "SIGKILL"])
    assert result.exit_code == 0, result.output
    assert "WRONG" not in result.output
    assert "6 of 6 walks went as they should" in result.output


def test_many_runs_at_once_come_to_their_end(shop: Flask) -> None:
    result = shop.test_cli_runner().invoke(args=["soak"])
    assert result.exit_code == 0, result.output
    assert [line for line in result.output.splitlines() if line[0].isdigit()] == [
        "12 payment recoveries completed.",
        "3 retries completed, at the second attempt each.",
        "3 waits cancelled.",
        "3 replays completed, each linked to its run.",
    ]


def test_a_soak_that_saw_something_else_says_what_and_fails(
    shop_with_file: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    from example_app.checks import soak
    from example_app.checks.looking import expect

    monkeypatch.setattr(soak, "_retried", lambda _run_id: expect("the sum", 4, 5))
    result = shop_with_file.test_cli_runner().invoke(args=["soak"])
    assert "WRONG the sum: found 4, expected 5" in result.output
    assert result.exit_code == 1


def test_a_worker_that_does_not_come_up_is_told_with_what_it_said(
    shop_with_file: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    from example_app import engines
    from example_app.checks import smoke
    from example_app.stage import wait_until

    def waiting_in_vain() -> str:
        wait_until(lambda: False, "anything")
        return "never"

    monkeypatch.setitem(engines.WORKERS, "database", ("sh", "-c", "echo no such worker; sleep 9"))
    monkeypatch.setattr(smoke, "WALKS", (waiting_in_vain,))
    monkeypatch.setattr("example_app.stage.PATIENCE_WITH_PROCESSES", 0.5)
    result = shop_with_file.test_cli_runner().invoke(args=["smoke", "--process"])
    assert "WRONG waiting in vain: anything: not so within" in result.output
    assert "The worker's last lines:\nno such worker" in result.output
    assert result.exit_code == 1


def test_an_executor_that_has_no_recipe_is_told(shop_with_file: Flask, tmp_path: Path) -> None:
    from example_app import engines

    with pytest.raises(LookupError, match="This shop has recipes for database, procrastinate, celery"):
        engines.worker("shop.jobs:ShopExecutor", {}, tmp_path / "log")
