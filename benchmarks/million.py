"""A database of the example app with a million runs that ended, beside which work is measured."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import psycopg

from .running import PROJECT, MeasurementError
from .servers import Servers

RUNS: Final = 1_000_000
FLASK: Final = (sys.executable, "-m", "flask", "--app", "example_app")

# Copies of sound rows need no checking, and what is made for a measurement need not survive a crash.
HURRY: Final = "?options=-csession_replication_role%3Dreplica%20-csynchronous_commit%3Doff"


@contextmanager
def million_runs(servers: Servers, runs: int = RUNS) -> Iterator[str]:
    """Make the database, which takes some minutes, and drop it afterwards; its URL.

    :param runs: How many, besides the few that the shop is seeded with.
    :raises MeasurementError: The example app could not make it.
    """
    with servers.database("new") as url:
        _flask(url, "db", "upgrade")
        _flask(url + HURRY, "seed-runs", str(runs))
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("UPDATE squidmesh_dispatches SET queue = 'of the shop'")
            connection.execute("VACUUM ANALYZE")
            connection.execute("CHECKPOINT")
        yield url


def _flask(url: str, *words: str) -> None:
    environment = os.environ | {"DATABASE_URL": url}
    done = subprocess.run([*FLASK, *words], cwd=PROJECT, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise MeasurementError(f"`flask {words[0]}` failed: {done.stderr.strip().rpartition(chr(10))[2]}")
