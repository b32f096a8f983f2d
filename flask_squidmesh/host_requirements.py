"""What is asked of the app that Squid Mesh lives in.

Each requirement is looked at when the first public call is made, which raises what is not met all at once, and by
`flask squidmesh check`. None of them reads the database. A requirement is silent where another one, which comes before
it, says already that there is nothing to look at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from sqlalchemy.pool import AssertionPool, SingletonThreadPool, StaticPool

from .host import HostApp
from .storage.tables import Base

ONE_FOR_ALL: Final = (AssertionPool, SingletonThreadPool, StaticPool)
DATABASES: Final = (("postgresql", "psycopg"), ("sqlite", "pysqlite"))


@dataclass(frozen=True, slots=True, kw_only=True)
class UnmetRequirement:
    """A requirement that is not met. found: what there is. expected: what Squid Mesh needs. remedy: what to write.

    Each is one sentence or more; `expected` may be left out where the remedy says it.
    """

    found: str
    expected: str = ""
    remedy: str

    def __str__(self) -> str:
        return " ".join(filter(None, (self.found, self.expected, self.remedy)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """One thing that is asked of a host. name: what it is about. check: finds what is not as it has to be."""

    name: str
    check: Callable[[HostApp], Iterable[UnmetRequirement]]


def findings(host: HostApp) -> Iterator[UnmetRequirement]:
    """Everything that is asked of the host and is not met."""
    for requirement in REQUIREMENTS:
        yield from requirement.check(host)


def _an_executor_is_named(host: HostApp) -> Iterator[UnmetRequirement]:
    if host.settings.executor is None:
        yield UnmetRequirement(
            found="SQUIDMESH_EXECUTOR is not set.",
            remedy='Set it to "database" to have `flask squidmesh worker` perform the steps, or to your own executor, '
            'such as "shop.jobs:ShopExecutor".',
        )


def _flask_sqlalchemy_is_there(host: HostApp) -> Iterator[UnmetRequirement]:
    if host.extension is None:
        yield UnmetRequirement(
            found="Flask-SQLAlchemy is not set up on this app.",
            remedy="Call db.init_app(app) where the app is made; before or after mesh.init_app(app) is alike.",
        )
    elif host.db is None:
        owner = type(host.extension)
        yield UnmetRequirement(
            found=f'app.extensions["sqlalchemy"] is {owner.__module__}.{owner.__qualname__}.',
            expected="Squid Mesh needs the SQLAlchemy of Flask-SQLAlchemy (flask_sqlalchemy.SQLAlchemy, 3.1 or later): "
            "its binds, its metadata and its session, which ends with the app context.",
            remedy="Set up Flask-SQLAlchemy on this app in its place.",
        )


def _the_bind_is_there(host: HostApp) -> Iterator[UnmetRequirement]:
    if host.db is None or host.engine is not None:
        return
    bind = host.settings.bind
    if bind is None:
        yield UnmetRequirement(
            found="Flask-SQLAlchemy has binds only, and no default database.",
            remedy="Set SQLALCHEMY_DATABASE_URI, or set SQUIDMESH_BIND to the bind that is to hold the tables.",
        )
        return
    yield UnmetRequirement(
        found=f"SQUIDMESH_BIND names the bind {bind!r}, which SQLALCHEMY_BINDS does not have.", remedy="Add it there."
    )


def _the_database_is_one_of_ours(host: HostApp) -> Iterator[UnmetRequirement]:
    if host.engine is None:
        return
    name, driver = host.engine.dialect.name, host.engine.dialect.driver
    if (name, driver) not in DATABASES:
        yield UnmetRequirement(
            found=f"The database is reached through {name}+{driver}.",
            expected="Squid Mesh works with PostgreSQL through psycopg 3 and with SQLite.",
            remedy='Begin its URL with "postgresql+psycopg://" or "sqlite://".',
        )


def _the_pool_has_connections(host: HostApp) -> Iterator[UnmetRequirement]:
    engine = host.engine
    if engine is None or engine.dialect.name != "postgresql" or not isinstance(engine.pool, ONE_FOR_ALL):
        return
    yield UnmetRequirement(
        found=f"The engine's pool is a {type(engine.pool).__name__}, which gives out one connection for all.",
        expected="Squid Mesh commits while your session has a transaction open, so each needs a connection of its own.",
        remedy="Take poolclass out of SQLALCHEMY_ENGINE_OPTIONS, or set it to sqlalchemy.NullPool.",
    )


def _schemas_are_translated_on_postgresql_only(host: HostApp) -> Iterator[UnmetRequirement]:
    engine = host.engine
    if engine is None or engine.dialect.name != "sqlite":
        return
    if engine.get_execution_options().get("schema_translate_map"):
        yield UnmetRequirement(
            found="The engine has the execution option schema_translate_map on SQLite.",
            expected="Transactions of Squid Mesh go over connections of its own there, which know nothing attached.",
            remedy="Take the option out, or set SQUIDMESH_BIND to a bind without it.",
        )


def _the_metadata_has_no_schema(host: HostApp) -> Iterator[UnmetRequirement]:
    schema = host.metadata.schema if host.metadata is not None else None
    if schema is not None:
        yield UnmetRequirement(
            found=f"The metadata of Flask-SQLAlchemy puts every table into the schema {schema!r}.",
            expected="Squid Mesh can share none that does, for its tables have no schema of their own.",
            remedy="Name the schema on your own tables instead, or set SQUIDMESH_BIND to a bind without one.",
        )


def _transaction_steps_are_one_transaction(host: HostApp) -> Iterator[UnmetRequirement]:
    """Seen are the binds and whose tables are on ours; what a step writes is looked at when it does."""
    if host.settings.bind is None or host.engine is None or host.engine is host.engines.get(None):
        return
    there = host.metadata.tables if host.metadata is not None else {}
    if any(name not in Base.metadata.tables for name in there):
        return
    steps = [f"{spec.name}.{step.name}" for spec in host.workflows for step in spec.steps.values() if step.transaction]
    if steps:
        yield UnmetRequirement(
            found=f"{', '.join(steps)} has transaction=True, but SQUIDMESH_BIND puts the runs on the bind "
            f"{host.settings.bind!r}, which holds none of your own tables.",
            expected="The rows of such a step and its completion are one transaction, so one connection; another bind "
            "has connections of its own, also where its URL is the same.",
            remedy="Leave SQUIDMESH_BIND out, give the models that the step writes this __bind_key__, or remove "
            "transaction=True.",
        )


REQUIREMENTS: Final = (
    Requirement(name="executor", check=_an_executor_is_named),
    Requirement(name="Flask-SQLAlchemy", check=_flask_sqlalchemy_is_there),
    Requirement(name="bind", check=_the_bind_is_there),
    Requirement(name="database", check=_the_database_is_one_of_ours),
    Requirement(name="pool", check=_the_pool_has_connections),
    Requirement(name="schema translation", check=_schemas_are_translated_on_postgresql_only),
    Requirement(name="schema of the metadata", check=_the_metadata_has_no_schema),
    Requirement(name="transaction steps", check=_transaction_steps_are_one_transaction),
)
