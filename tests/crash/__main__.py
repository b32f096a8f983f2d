"""Every death of every shape: `python -m tests.crash`. Prints how many points there were and what went wrong."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Final

from tests import postgres
from tests.databases import PostgresDatabases, SqliteDatabases

from .deliveries import DELIVERIES
from .shapes.all_shapes import SHAPES
from .trying import POINTS, Life

DATABASES: Final = ("sqlite", "postgresql")
MOST_TOLD: Final = 5


@dataclass(frozen=True)
class Lives:
    """The lives of one shape by one delivery, on a database that this process has to itself. points: None for all."""

    shape: str
    delivery: str
    database: str
    kind: str
    server: str | None
    points: tuple[int, ...] | None


@dataclass(frozen=True)
class Tried:
    """What came of them."""

    lives: Lives
    tried: int
    wrong: tuple[str, ...]


def main(words: Sequence[str]) -> int:
    """Try what the words ask for, and answer the exit code."""
    asked = _asked(words)
    began = time.monotonic()
    with ExitStack() as stack:
        server = stack.enter_context(_server()) if "postgresql" in asked.database else None
        points = tuple(asked.point) if asked.point else None
        wanted = [
            Lives(shape, delivery, database, kind, server, points)
            for database, kind, shape, delivery in product(asked.database, asked.kind, asked.shape, asked.delivery)
            if database == "postgresql" or kind == "death"  # SQLite has no connection that could be cut
        ]
        pool = stack.enter_context(ProcessPoolExecutor(asked.processes))
        found = list(_told(pool.map(_try, wanted)))
    return _report(found, time.monotonic() - began)


def _asked(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.crash", description=__doc__)
    for name, known in (
        ("shape", tuple(SHAPES)),
        ("delivery", tuple(DELIVERIES)),
        ("database", DATABASES),
        ("kind", tuple(POINTS)),
    ):
        parser.add_argument(f"--{name}", action="append", choices=known, help=f"only this {name}; may be repeated")
    parser.add_argument("--point", action="append", type=int, help="only the death at this point, counted from 1")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="how many lives at once")
    asked = parser.parse_args(words)
    asked.shape, asked.delivery = asked.shape or list(SHAPES), asked.delivery or list(DELIVERIES)
    asked.database, asked.kind = asked.database or list(DATABASES), asked.kind or list(POINTS)
    return asked


@contextmanager
def _server() -> Iterator[str]:
    """The server in SQUIDMESH_TEST_POSTGRES, else one of our own."""
    given = os.environ.get("SQUIDMESH_TEST_POSTGRES")
    if given:
        yield given
        return
    binaries = postgres.find_binaries()
    if binaries is None:
        sys.exit(postgres.HOW_TO_GET)
    with postgres.running_postgres(binaries) as url:
        yield url


def _try(lives: Lives) -> Tried:
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    try:
        with _database(lives) as url, Life(lives.shape, lives.delivery, url, lives.kind) as life:
            points = lives.points or range(1, len(life.points) + 1)
            wrong = [what for at in points if (what := life.wrong_after_death_at(at))]
            return Tried(lives=lives, tried=len(points), wrong=tuple(wrong))
    except Exception as error:
        return Tried(lives=lives, tried=0, wrong=(f"undisturbed: {type(error).__name__}: {error}",))


@contextmanager
def _database(lives: Lives) -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="squidmesh-crash-") as folder:
        known = PostgresDatabases(lives.server) if lives.server and lives.database == "postgresql" else None
        databases = known or SqliteDatabases(Path(folder))
        url = databases.create_migrated()
        yield url
        databases.drop(url)
        if known is not None:
            known.close()


def _told(found: Iterable[Tried]) -> Iterator[Tried]:
    for each in found:
        lives = each.lives
        state = f"{len(each.wrong)} WRONG" if each.wrong else "right"
        print(
            f"{lives.database:10} {lives.shape:26} {lives.delivery:16} {lives.kind:5} {each.tried:4} points  {state}",
            flush=True,
        )
        for what in each.wrong[:MOST_TOLD]:
            print(f"    {what}", flush=True)
        yield each


def _report(found: Sequence[Tried], seconds: float) -> int:
    print()
    for database in DATABASES:
        mine = [each for each in found if each.lives.database == database]
        if mine:
            shapes = len({each.lives.shape for each in mine})
            tried, wrong = sum(each.tried for each in mine), sum(len(each.wrong) for each in mine)
            print(f"{database}: {shapes} shapes, {tried} crash points tried, {wrong} failed")
    wrong = sum(len(each.wrong) for each in found)
    print(f"together: {sum(each.tried for each in found)} crash points tried, {wrong} failed, in {seconds:.0f} s")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
