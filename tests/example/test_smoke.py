"""`flask smoke` on both databases."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from flask import Flask


def test_every_walk_goes_as_it_should(shop: Flask) -> None:
    from example_app.checks.smoke import WALKS

    result = shop.test_cli_runner().invoke(args=["smoke"])
    assert "WRONG" not in result.output, result.output
    assert result.exit_code == 0, result.output
    assert result.output.count("\nok ") + result.output.startswith("ok ") == len(WALKS)


def test_a_walk_that_saw_something_else_is_told_and_fails(shop: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    from example_app.checks import smoke
    from example_app.checks.looking import expect

    def odd() -> str:
        expect("the sum", 4, 5)
        return "never"

    monkeypatch.setattr(smoke, "WALKS", (odd,))
    result = shop.test_cli_runner().invoke(args=["smoke"])
    assert "WRONG odd: the sum: found 4, expected 5" in result.output
    assert result.exit_code == 1


def test_a_worker_beside_a_walk_that_turns_the_clock_keeps_to_the_machines_time() -> None:
    from example_app.clock import clock, hours_later

    with ThreadPoolExecutor(1) as worker, hours_later(25):
        here, there = clock.now(), worker.submit(clock.now).result()
    assert here - there > timedelta(hours=24)
    assert clock.now() - datetime.now(UTC) < timedelta(hours=1)
