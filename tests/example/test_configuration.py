"""The shop as a host: settings, migrations, access."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest
from flask import Flask

from example_app.settings import database_url as as_sqlalchemy_wants_it
from example_app.settings import kept_secret


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("postgres://u:p@h/d", "postgresql+psycopg://u:p@h/d"),
        ("postgresql://u:p@h/d", "postgresql+psycopg://u:p@h/d"),
        ("postgresql+psycopg://u:p@h/d", "postgresql+psycopg://u:p@h/d"),
        ("sqlite:///shop.sqlite", "sqlite:///shop.sqlite"),
    ],
)
def test_database_urls_of_every_kind(given: str, expected: str) -> None:
    assert as_sqlalchemy_wants_it(given) == expected


def test_the_secret_key_is_made_once_and_kept_from_others(tmp_path: Path) -> None:
    first = kept_secret(tmp_path / "instance")
    assert kept_secret(tmp_path / "instance") == first
    assert (tmp_path / "instance" / "secret_key").stat().st_mode & 0o077 == 0


def test_processes_that_start_at_once_have_one_secret_key(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as starting:
        keys = set(starting.map(kept_secret, [tmp_path / "instance"] * 32))
    assert len(keys) == 1
    assert len(keys.pop()) == 64
    assert [each.name for each in (tmp_path / "instance").iterdir()] == ["secret_key"]


def test_the_committed_migrations_say_what_the_models_say(shop: Flask) -> None:
    runner = shop.test_cli_runner()
    checked = runner.invoke(args=["db", "check"])
    assert checked.exit_code == 0, checked.output
    installed = runner.invoke(args=["squidmesh", "install"])
    assert "nothing to write" in installed.output


def test_the_migrations_can_be_taken_back(shop: Flask) -> None:
    import sqlalchemy as sa

    from example_app.models import db

    runner = shop.test_cli_runner()
    back = runner.invoke(args=["db", "downgrade", "base"])
    assert back.exit_code == 0, back.output
    with shop.app_context():
        assert sa.inspect(db.engine).get_table_names() == ["alembic_version"]


def test_seeding_twice_seeds_once(shop: Flask) -> None:
    from example_app.extensions import mesh

    runner = shop.test_cli_runner()
    first = runner.invoke(args=["seed"])
    assert first.exit_code == 0, first.output
    with shop.app_context():
        seeded = {run.id: run.status for run in mesh.list_runs(limit=100).runs}
    assert set(seeded.values()) == {"completed", "failed", "cancelled", "paused", "retrying", "pending"}
    again = runner.invoke(args=["seed"])
    assert "Seeded" not in again.output
    with shop.app_context():
        assert {run.id: run.status for run in mesh.list_runs(limit=100).runs} == seeded


def test_seeding_leaves_every_kind_of_need_and_one_that_is_overdue(shop: Flask) -> None:
    from example_app.extensions import mesh

    seeded = shop.test_cli_runner().invoke(args=["seed"])
    assert seeded.exit_code == 0, seeded.output
    with shop.app_context():
        needs = [run.needs for run in mesh.list_runs(limit=100).runs if run.needs]
    assert {need.kind for need in needs} == {"decision", "resume", "interrupted", "failed", "compensation_failed"}
    assert [need.kind for need in needs if need.due_at and need.due_at < datetime.now(UTC)] == ["decision"]
