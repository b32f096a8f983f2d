"""Smoke, resilience and soak of the shop under each executor, as somebody follows its recipe: `make engines`."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests.databases import PostgresDatabases
from tests.redis_server import HOW_TO_GET, find_server, running_redis
from tests.requirements import missing

ROOT = Path(__file__).parent.parent.parent
LONGEST_SECONDS = 1_800
PREPARATIONS = {
    "procrastinate": ["procrastinate", "--app=example_app.workers.procrastinate.queue", "schema", "--apply"]
}

Run = Callable[..., str]


@pytest.fixture(scope="module")
def broker() -> Iterator[str]:
    """URL of a Redis."""
    with running_redis(find_server() or missing(HOW_TO_GET)) as url:
        yield url


@pytest.fixture(scope="module", params=["database", "procrastinate", "celery"])
def flask(
    request: pytest.FixtureRequest, postgres_databases: PostgresDatabases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Run]:
    """Runs `flask --app example_app` with these words, where all is set up for the executor, and returns its output."""
    executor: str = request.param
    url = postgres_databases.create()
    environment = {
        **os.environ,
        "SQUIDMESH_EXECUTOR": executor,
        "DATABASE_URL": url,
        "SHOP_INSTANCE": str(tmp_path_factory.mktemp(executor)),
        "CELERY_BROKER_URL": request.getfixturevalue("broker") if executor == "celery" else "",
    }
    python(environment, "flask", "--app", "example_app", "db", "upgrade")
    if executor in PREPARATIONS:
        python(environment, *PREPARATIONS[executor])
    yield lambda *words: python(environment, "flask", "--app", "example_app", *words)
    postgres_databases.drop(url)


@pytest.mark.parametrize("check", ["soak --process", "smoke --process", "resilience"])
def test_everything_goes_as_it_should(flask: Run, check: str) -> None:
    print(flask(*check.split()))


def python(environment: Mapping[str, str], *words: str) -> str:
    """Run a module as a command to its end, which must be a good one, and return its output."""
    command = [sys.executable, "-m", *words]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=LONGEST_SECONDS)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
