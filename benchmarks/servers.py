"""The servers that contenders use: PostgreSQL as durable as it comes, Redis where there is one, and their databases."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import psycopg
from psycopg import sql

from tests import postgres, redis_server

from .contenders.counting import libpq_url
from .works import Place

ON_DISK = Path("/var/tmp")


@dataclass(frozen=True, slots=True, kw_only=True)
class Servers:
    """What is running. postgres, redis: URLs; redis is None where the machine has none."""

    postgres: str
    redis: str | None

    @contextmanager
    def database(self, place: Place) -> Iterator[str]:
        """A new database of that kind, which is dropped afterwards; its URL."""
        if place == "sqlite":
            with tempfile.TemporaryDirectory(prefix="squidmesh-bench-") as folder:
                yield f"sqlite:///{folder}/bench.sqlite"
            return
        name = f"bench_{uuid4().hex[:12]}"
        self.execute(f"CREATE DATABASE {name}", "CHECKPOINT")
        try:
            yield f"{self.postgres.rpartition('/')[0]}/{name}"
        finally:
            with suppress(psycopg.OperationalError):  # Ctrl-C reaches the server too
                self.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def execute(self, *statements: str) -> None:
        """Execute statements on the server's own database."""
        with psycopg.connect(self.postgres, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def says(self, name: str) -> str:
        """A setting of PostgreSQL."""
        with psycopg.connect(self.postgres, autocommit=True) as connection:
            [value] = connection.execute(sql.SQL("SHOW {}").format(sql.Identifier(name))).fetchone() or ("",)
        return str(value)


@contextmanager
def running_servers() -> Iterator[Servers]:
    """PostgreSQL and, where it is installed, Redis, for as long as the block lasts. Call it from the main thread."""
    binaries = postgres.find_binaries()
    if binaries is None:
        sys.exit(postgres.HOW_TO_GET)
    settings = {"shared_preload_libraries": "pg_stat_statements"} if _counts_statements(binaries) else {}
    redis = redis_server.find_server()
    _stay_on_disk()
    with ExitStack() as stack:
        server = stack.enter_context(postgres.running_server(binaries, settings))
        url = stack.enter_context(redis_server.running_redis(redis)) if redis else None
        servers = Servers(postgres=libpq_url(server.url), redis=url)
        if settings:
            servers.execute("CREATE EXTENSION pg_stat_statements")
        yield servers


def _counts_statements(binaries: Path) -> bool:
    return any(binaries.parent.rglob("pg_stat_statements.so"))


def _stay_on_disk() -> None:
    """The folder for temporary files may be kept in memory."""
    if "TMPDIR" not in os.environ and os.access(ON_DISK, os.W_OK):
        tempfile.tempdir = os.environ["TMPDIR"] = str(ON_DISK)
