"""A fresh database for each test, empty or with our tables, and nothing left behind."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
from psycopg import sql
from sqlalchemy import create_engine, event, make_url
from sqlalchemy.pool import NullPool, Pool

FIRST_WITH_STRATEGY = 150000


def create_tables(url: str) -> None:
    """Create all tables of the library in the database."""
    from flask_squidmesh.storage.tables import Base

    engine = create_engine(url, poolclass=NullPool)
    Base.metadata.create_all(engine)
    engine.dispose()


@contextmanager
def engines_disposed() -> Iterator[None]:
    """Close every connection that was made meanwhile, so that a test leaves none to the garbage collector."""
    used: dict[int, Pool] = {}
    made: list[Any] = []

    def remember(_connection: Any, _record: object, proxy: Any) -> None:
        used[id(proxy._pool)] = proxy._pool

    def remember_driver(connection: Any, _record: object) -> None:
        made.append(connection)

    # Of the pool and not of the engine: statements go another way where somebody listens to engines.
    event.listen(Pool, "checkout", remember)
    event.listen(Pool, "connect", remember_driver)
    try:
        yield
    finally:
        event.remove(Pool, "checkout", remember)
        event.remove(Pool, "connect", remember_driver)
        for pool in used.values():
            pool.dispose()
        for driver in made:
            driver.close()


class PostgresDatabases:
    """Databases on one server, each by a name of its own.

    :param server: URL of a database whose user may create others.
    """

    def __init__(self, server: str) -> None:
        self._server = make_url(server).set(drivername="postgresql+psycopg")
        self._migrated: str | None = None

    def create(self, template: str | None = None) -> str:
        """Create a database and return its URL.

        :param template: Name of the database to copy; an empty one without.
        """
        name = f"squidmesh_test_{uuid4().hex[:12]}"
        with self._connected() as connection:
            copying = sql.SQL(" TEMPLATE {}").format(sql.Identifier(template)) if template else sql.SQL("")
            strategy = sql.SQL(" STRATEGY FILE_COPY" if connection.info.server_version >= FIRST_WITH_STRATEGY else "")
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)) + copying + strategy)
        return self._server.set(database=name).render_as_string(hide_password=False)

    def create_migrated(self) -> str:
        """Create a database with our tables, copied from one that is made once, and return its URL."""
        if self._migrated is None:
            self._migrated = self.create()
            create_tables(self._migrated)
        return self.create(template=make_url(self._migrated).database)

    def drop(self, url: str) -> None:
        """Drop the database, whoever is still connected to it."""
        with self._connected() as connection:
            name = sql.Identifier(make_url(url).database or "")
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(name))

    def close(self) -> None:
        """Drop what the databases were copied from."""
        if self._migrated is not None:
            self.drop(self._migrated)

    def _connected(self) -> psycopg.Connection:
        address = self._server.set(drivername="postgresql").render_as_string(hide_password=False)
        return psycopg.connect(address, autocommit=True)


class SqliteDatabases:
    """SQLite files in one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def create(self) -> str:
        """Return the URL of a file that does not exist yet."""
        return f"sqlite:///{self._folder / uuid4().hex[:12]}.sqlite"

    def create_migrated(self) -> str:
        """Return the URL of a file with our tables, copied from one that is made once."""
        made = self._folder / "migrated.sqlite"
        if not made.exists():
            create_tables(f"sqlite:///{made}")
        url = self.create()
        shutil.copy(made, make_url(url).database or "")
        return url

    def drop(self, url: str) -> None:
        """Delete the file and what SQLite keeps beside it."""
        for suffix in ("", "-wal", "-shm", "-journal"):
            Path(f"{make_url(url).database}{suffix}").unlink(missing_ok=True)
