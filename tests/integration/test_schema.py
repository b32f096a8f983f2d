"""Our tables in the host's migrations, metadata and database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import flask_migrate
import pytest
import sqlalchemy as sa
from alembic.operations import ops
from alembic.script import ScriptDirectory
from flask import Flask
from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from flask_squidmesh import SquidMesh
from flask_squidmesh.errors import SchemaError
from flask_squidmesh.storage import migrations
from flask_squidmesh.storage.migrations import SCHEMA, MigrationStep, Schema
from flask_squidmesh.storage.tables import Base

pytestmark = [
    pytest.mark.filterwarnings("ignore:'get_engine' is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:unclosed database:ResourceWarning"),
]
OUR_TABLES = {table.name for table in Base.metadata.sorted_tables}
NAMING = {
    "ix": "host_ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "host_uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "host_ck_%(table_name)s_%(constraint_name)s",
    "fk": "host_fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "host_pk_%(table_name)s",
}


@dataclass(frozen=True)
class Host:
    """An app with its own table and migrations."""

    app: Flask
    db: SQLAlchemy
    migrate: Migrate
    directory: Path

    @property
    def scripts(self) -> ScriptDirectory:
        return ScriptDirectory.from_config(self.migrate.get_config(str(self.directory)))

    def sources(self) -> str:
        return "\n".join(path.read_text() for path in sorted((self.directory / "versions").glob("*.py")))

    def tables(self, bind: str | None = None) -> set[str]:
        return set(sa.inspect(self.db.engines[bind]).get_table_names()) - {"alembic_version"}

    def dump(self) -> dict[str, object]:
        """All that the database tells of our tables, in an order of its own."""
        inspector = sa.inspect(self.db.engine)
        return {
            name: (
                {column["name"]: (str(column["type"]), column["nullable"]) for column in inspector.get_columns(name)},
                sorted((str(index["name"]), index["column_names"]) for index in inspector.get_indexes(name)),
                sorted(str(check["name"]) for check in inspector.get_check_constraints(name)),
            )
            for name in sorted(OUR_TABLES & self.tables())
        }


@contextmanager
def hosting(
    folder: Path, url: str, *, multidb: bool = False, bind: str | None = None, naming: dict[str, str] | None = None
) -> Iterator[Host]:
    """An app context of a new host, whose migrations are still empty."""
    app = Flask("shop", root_path=str(folder), instance_path=str(folder))
    app.config["SQLALCHEMY_DATABASE_URI"] = url
    if multidb:
        app.config["SQLALCHEMY_BINDS"] = {"flows": f"sqlite:///{folder / 'flows.sqlite'}"}

    class HostBase(DeclarativeBase):
        metadata = sa.MetaData(naming_convention=naming)

    db = SQLAlchemy(app, model_class=HostBase)

    class Customer(db.Model):  # type: ignore[name-defined,misc]
        id: Mapped[int] = mapped_column(primary_key=True)
        email: Mapped[str] = mapped_column(sa.String(100), unique=True, index=True)

    directory = folder / "migrations"
    migrate = Migrate(app, db, directory=str(directory), compare_server_default=True)
    app.config["SQUIDMESH_BIND"] = bind
    SquidMesh(app)
    with app.app_context():
        flask_migrate.init(multidb=multidb)
        yield Host(app, db, migrate, directory)
        for engine in db.engines.values():
            engine.dispose()


@pytest.fixture
def host(tmp_path: Path, database_url: str) -> Iterator[Host]:
    with hosting(tmp_path, database_url) as made:
        yield made


@pytest.fixture
def sqlite_host(tmp_path: Path, sqlite_url: str) -> Iterator[Host]:
    with hosting(tmp_path, sqlite_url) as made:
        yield made


@pytest.mark.rule("migrations-no-difference")
def test_an_upgrade_brings_the_tables_and_leaves_nothing_to_autogenerate(host: Host) -> None:
    flask_migrate.revision(message="before", rev_id="aaa")
    migrations.install(host.scripts)
    flask_migrate.upgrade()
    assert host.tables() == OUR_TABLES
    with host.db.engine.connect() as connection:
        assert migrations.verify(connection) == []
    flask_migrate.migrate(message="customers")
    assert "squidmesh_runs" not in next(host.directory.glob("versions/*customers.py")).read_text()
    flask_migrate.upgrade()
    flask_migrate.check()


def test_a_downgrade_takes_the_tables_away(host: Host) -> None:
    migrations.install(host.scripts)
    flask_migrate.upgrade()
    flask_migrate.downgrade(revision="base")
    assert host.tables() == set()


@pytest.mark.rule("migrations-no-difference")
def test_a_host_with_names_of_its_own_sees_no_difference(tmp_path: Path, database_url: str) -> None:
    with hosting(tmp_path, database_url, naming=NAMING) as host:
        migrations.install(host.scripts)
        flask_migrate.upgrade()
        flask_migrate.migrate(message="customers")
        flask_migrate.upgrade()
        flask_migrate.check()


@pytest.mark.rule("schema-as-models")
def test_the_migration_makes_what_create_all_makes(host: Host) -> None:
    migrations.install(host.scripts)
    flask_migrate.upgrade()
    migrated = host.dump()
    flask_migrate.downgrade(revision="base")
    host.db.create_all()
    assert host.dump() == migrated


def test_the_revision_never_imports_the_library(sqlite_host: Host) -> None:
    migrations.install(sqlite_host.scripts)
    assert "flask_squidmesh" not in sqlite_host.sources()


def test_the_revision_follows_the_hosts_head(sqlite_host: Host) -> None:
    flask_migrate.revision(message="before", rev_id="aaa")
    migrations.install(sqlite_host.scripts)
    assert sqlite_host.scripts.get_revision("squidmesh_0001").down_revision == "aaa"


@pytest.mark.rule("install-once")
def test_a_second_install_writes_nothing(sqlite_host: Host) -> None:
    assert [path.name[:14] for path in migrations.install(sqlite_host.scripts)] == ["squidmesh_0001"]
    assert migrations.install(sqlite_host.scripts) == []


def test_several_heads_are_refused_unless_one_is_chosen(sqlite_host: Host) -> None:
    flask_migrate.revision(message="one", rev_id="aaa")
    flask_migrate.revision(message="two", rev_id="bbb", head="base", splice=True)
    with pytest.raises(SchemaError, match=r"several heads: aaa, bbb.*flask db merge heads.*--head"):
        migrations.install(sqlite_host.scripts)
    migrations.install(sqlite_host.scripts, head="aaa")
    assert sqlite_host.scripts.get_revision("squidmesh_0001").down_revision == "aaa"


def test_tables_that_a_revision_of_the_hosts_makes_are_refused_by_file(sqlite_host: Host) -> None:
    flask_migrate.revision(message="everything", rev_id="aaa")
    [path] = sqlite_host.directory.glob("versions/aaa*.py")
    path.write_text(path.read_text() + '\n# op.create_table("squidmesh_runs")\n')
    with pytest.raises(SchemaError, match=r"aaa_everything\.py already creates Squid Mesh tables"):
        migrations.install(sqlite_host.scripts)


def test_migrations_of_a_newer_library_are_refused(sqlite_host: Host) -> None:
    flask_migrate.revision(message="later", rev_id="squidmesh_0007")
    with pytest.raises(SchemaError, match=r"version 7 .* version 1"):
        migrations.install(sqlite_host.scripts)


def test_a_revision_of_the_hosts_with_a_similar_id_is_no_version(sqlite_host: Host) -> None:
    flask_migrate.revision(message="mine", rev_id="squidmesh_mine")
    assert migrations.installed_version(sqlite_host.scripts) == 0


def test_a_multidb_template_takes_the_default_bind(tmp_path: Path, database_url: str) -> None:
    with hosting(tmp_path, database_url, multidb=True) as host:
        migrations.install(host.scripts)
        flask_migrate.upgrade()
        assert host.tables() == OUR_TABLES
        assert host.tables("flows") == set()


def test_the_tables_go_to_the_bind(tmp_path: Path, database_url: str) -> None:
    with hosting(tmp_path, database_url, multidb=True, bind="flows") as host:
        migrations.install(host.scripts, bind="flows")
        flask_migrate.upgrade()
        assert host.tables() == set()
        assert host.tables("flows") == OUR_TABLES


def test_a_bind_without_a_place_in_the_template_is_refused_and_leaves_no_file(sqlite_host: Host) -> None:
    with pytest.raises(SchemaError, match=r"no place for operations on the bind 'flows'.*--multidb"):
        migrations.install(sqlite_host.scripts, bind="flows")
    assert sqlite_host.sources() == ""


def with_a_note() -> Schema:
    """The schema as it would be had version 2 added a column."""
    metadata = sa.MetaData()
    migrations.share(metadata)
    metadata.tables["squidmesh_bulk_jobs"].append_column(sa.Column("note", sa.Text()))
    adding = ops.AddColumnOp("squidmesh_bulk_jobs", sa.Column("note", sa.Text()))
    dropping = ops.DropColumnOp("squidmesh_bulk_jobs", "note")
    step = MigrationStep(
        message="give bulk jobs a note",
        upgrade=[ops.ModifyTableOps("squidmesh_bulk_jobs", [adding])],
        downgrade=[ops.ModifyTableOps("squidmesh_bulk_jobs", [dropping])],
    )
    return Schema(metadata=metadata, steps={2: step})


@pytest.mark.rule("install-upgrade")
def test_an_older_host_gets_the_steps_it_lacks_on_its_present_head(host: Host) -> None:
    migrations.install(host.scripts)
    flask_migrate.revision(message="between", rev_id="aaa")
    flask_migrate.upgrade()
    written = migrations.install(host.scripts, schema=with_a_note())
    assert [path.name[:14] for path in written] == ["squidmesh_0002"]
    assert host.scripts.get_revision("squidmesh_0002").down_revision == "aaa"
    flask_migrate.upgrade()
    assert "note" in str(host.dump()["squidmesh_bulk_jobs"])
    flask_migrate.downgrade(revision="aaa")
    assert "note" not in str(host.dump()["squidmesh_bulk_jobs"])


def test_stepping_up_and_starting_fresh_lead_to_the_same_tables(host: Host) -> None:
    migrations.install(host.scripts)
    migrations.install(host.scripts, schema=with_a_note())
    flask_migrate.upgrade()
    stepped = host.dump()
    flask_migrate.downgrade(revision="base")
    for path in (host.directory / "versions").glob("*.py"):
        path.unlink()
    written = migrations.install(host.scripts, schema=with_a_note())
    assert [path.name[:14] for path in written] == ["squidmesh_0002"]
    flask_migrate.upgrade()
    assert host.dump() == stepped


@pytest.mark.rule("schema-error")
def test_verifying_names_what_is_missing(database_url: str) -> None:
    engine = sa.create_engine(database_url)
    SCHEMA.metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(sa.text("DROP TABLE squidmesh_bulk_jobs"))
        connection.execute(sa.text("DROP INDEX ix_squidmesh_runs_needs"))
        connection.execute(sa.text("ALTER TABLE squidmesh_schedules DROP COLUMN paused_at"))
        assert migrations.verify(connection) == [
            "The table squidmesh_bulk_jobs is missing.",
            "The table squidmesh_runs lacks the index ix_squidmesh_runs_needs.",
            "The table squidmesh_schedules lacks the column paused_at.",
        ]


@pytest.mark.rule("schema-error")
def test_a_database_without_the_tables_is_refused_with_the_commands_to_run(database_url: str) -> None:
    with sa.create_engine(database_url).connect() as connection, pytest.raises(SchemaError) as refusal:
        migrations.require(connection)
    assert str(refusal.value).endswith("flask squidmesh install\n  flask db upgrade")


def test_sharing_twice_and_with_two_apps_changes_nothing() -> None:
    metadata = sa.MetaData()
    migrations.share(metadata)
    runs = metadata.tables["squidmesh_runs"]
    migrations.share(metadata)
    assert metadata.tables["squidmesh_runs"] is runs
    assert set(metadata.tables) == OUR_TABLES


def test_metadata_with_a_default_schema_is_left_alone() -> None:
    metadata = sa.MetaData(schema="app")
    migrations.share(metadata)
    assert not metadata.tables
