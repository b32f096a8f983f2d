"""Bringing the host's migrations and database to our tables.

The migrations are the host's own: `install` writes revisions of plain Alembic operations that never import us, so
that an upgrade of the library changes none that was applied. A revision's id says which version of the schema it
leads to. The tables are shared with the host's metadata, so that `db.create_all()` makes them too.

They come and change by the revisions that `flask squidmesh install` writes, whatever the host's metadata, its
`env.py` and its `include_object` say, and in whatever order its extensions were set up.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import sqlalchemy as sa
from alembic import util
from alembic.autogenerate import comparators, render_python_code
from alembic.autogenerate.api import AutogenContext
from alembic.operations import ops
from alembic.runtime.migration import MigrationContext
from alembic.script import Script, ScriptDirectory
from sqlalchemy.dialects import postgresql

from ..errors import SchemaError
from .tables import ADVICE, PREFIX, Base, OwnJson, Timestamp

JSON: Final = (
    "sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), 'postgresql')"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationStep:
    """What leads from one version of the schema to the next. `message` names it in the host's migrations."""

    message: str
    upgrade: Sequence[ops.MigrateOperation]
    downgrade: Sequence[ops.MigrateOperation]


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """The tables, and the steps that led to them, by the version each leads to. Version 1 has none."""

    metadata: sa.MetaData
    steps: Mapping[int, MigrationStep] = field(default_factory=dict)

    @property
    def version(self) -> int:
        """The version that the tables have."""
        return max(self.steps, default=1)


SCHEMA: Final = Schema(metadata=Base.metadata)


def share(metadata: sa.MetaData) -> None:
    """Give the host's metadata a copy of each of our tables that it does not have yet.

    Metadata with a default schema gets none, because the copies would belong to that schema (`host_requirements`).
    """
    for table in Base.metadata.sorted_tables:
        if metadata.schema is None and table.name not in metadata.tables:
            table.to_metadata(metadata)


def install(
    script: ScriptDirectory, *, head: str | None = None, bind: str | None = None, schema: Schema = SCHEMA
) -> list[Path]:
    """Write the revisions that the host's migrations lack, and return their files; none when they are up to date.

    head: the revision to build on, where there are several heads. bind: the bind that holds the tables, in
    migrations made with --multidb.

    Raises SchemaError when there are several heads and none was chosen, when a revision of the host's creates our
    tables, or when the migrations are of a newer version than this library.
    """
    installed = installed_version(script)
    if installed > schema.version:
        raise SchemaError(
            f"The migrations lead to version {installed} of the Squid Mesh schema, but this version of the library "
            f"works with version {schema.version}. Install the newer library again, or downgrade the database first."
        )
    if installed == schema.version:
        return []
    _check_host(script, head)
    return list(_written(script, installed, head or "head", bind, schema))


def installed_version(script: ScriptDirectory) -> int:
    """The version of the schema that the host's migrations lead to; 0 before the first install."""
    found = (re.fullmatch(rf"{PREFIX}(\d{{4}})", revision.revision) for revision in script.walk_revisions())
    return max((int(match[1]) for match in found if match), default=0)


def verify(connection: sa.Connection) -> list[str]:
    """What the live database lacks of our tables, columns and indexes, one sentence each; one where it has none."""
    inspector = sa.inspect(connection)
    present = set(inspector.get_table_names())
    missing = [table.name for table in Base.metadata.sorted_tables if table.name not in present]
    whole = [table for table in Base.metadata.sorted_tables if table.name in present]
    if not whole:
        return [f"None of the {len(missing)} tables is there."]
    return [
        *(f"The table {name} is missing." for name in missing),
        *(sentence for table in whole for sentence in _table_problems(inspector, table)),
    ]


def require(connection: sa.Connection) -> None:
    """Raise SchemaError, which ends with the commands to run, when the live database lacks something of ours."""
    problems = verify(connection)
    if problems:
        raise SchemaError("\n".join(["The database is not ready for Squid Mesh:", *problems, ADVICE]))


def _table_problems(inspector: sa.Inspector, table: sa.Table) -> Iterator[str]:
    columns = {column["name"] for column in inspector.get_columns(table.name)}
    indexes = {index["name"] for index in inspector.get_indexes(table.name)}
    for column in table.columns:
        if column.name not in columns:
            yield f"The table {table.name} lacks the column {column.name}."
    for name in sorted(str(index.name) for index in table.indexes):
        if name not in indexes:
            yield f"The table {table.name} lacks the index {name}."


def _check_host(script: ScriptDirectory, head: str | None) -> None:
    heads = script.get_heads()
    if len(heads) > 1 and head is None:
        raise SchemaError(
            f"The migrations have several heads: {', '.join(sorted(heads))}. Merge them with `flask db merge heads`, "
            "or name the one to build on with --head."
        )
    creating = re.compile(rf"create_table\(\s*['\"]{PREFIX}")
    for revision in script.walk_revisions():
        ours = revision.revision.startswith(PREFIX)
        if not ours and creating.search(Path(revision.path).read_text(encoding="utf-8")):
            raise SchemaError(
                f"The revision {revision.path} already creates Squid Mesh tables: `flask db migrate` was run before "
                "`flask squidmesh install`. Take them out of it (where it was applied: downgrade first), then install."
            )


def _written(script: ScriptDirectory, installed: int, head: str, bind: str | None, schema: Schema) -> Iterator[Path]:
    if installed == 0:
        create = _create_all(schema.metadata)
        drop = ops.UpgradeOps(create).reverse().ops
        step = MigrationStep(message="create the squidmesh tables", upgrade=create, downgrade=drop)
        yield _write(script, schema.version, step, head, bind)
        return
    for version in range(installed + 1, schema.version + 1):
        yield _write(script, version, schema.steps[version], head, bind)
        head = _revision_id(version)


def _revision_id(version: int) -> str:
    return f"{PREFIX}{version:04d}"


def _create_all(metadata: sa.MetaData) -> list[ops.MigrateOperation]:
    tables = metadata.sorted_tables
    indexes = [index for table in tables for index in sorted(table.indexes, key=lambda each: str(each.name))]
    return [*map(ops.CreateTableOp.from_table, tables), *map(ops.CreateIndexOp.from_index, indexes)]


def _write(script: ScriptDirectory, version: int, step: MigrationStep, head: str, bind: str | None) -> Path:
    upgrades, downgrades = _render(ops.UpgradeOps(step.upgrade)), _render(ops.DowngradeOps(step.downgrade))
    # A template made with --multidb reads the names with the bind in front, which is empty for the default one.
    names: dict[str, Any] = {f"{bind or ''}_upgrades": upgrades, f"{bind or ''}_downgrades": downgrades}
    if bind is None:
        names |= {"upgrades": upgrades, "downgrades": downgrades}
    imports = "from sqlalchemy.dialects import postgresql"
    revision = script.generate_revision(_revision_id(version), step.message, head=head, imports=imports, **names)
    return _checked(revision, bind)


def _checked(revision: Script | None, bind: str | None) -> Path:
    """The file, after a look that the host's template took the operations in."""
    assert revision is not None
    path = Path(revision.path)
    if re.search(rf"['\"]{PREFIX}[a-z]", path.read_text(encoding="utf-8")):
        return path
    path.unlink()
    where = f"the bind {bind!r}" if bind else "the default database"
    raise SchemaError(
        f"The template script.py.mako beside the migrations has no place for operations on {where}. "
        "Make the migrations with `flask db init --multidb`, or restore the template's upgrades and downgrades."
    )


def _render(operations: ops.UpgradeOps | ops.DowngradeOps) -> str:
    dialect: sa.Dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    context = MigrationContext.configure(dialect=dialect)
    source = render_python_code(operations, render_as_batch=True, migration_context=context, render_item=_render_type)
    return "\n".join(line for line in source.splitlines() if "###" not in line).strip()


def _render_type(kind: str, item: Any, _context: AutogenContext) -> str | Literal[False]:
    """Our own types as those that they are in the database."""
    if kind == "type" and isinstance(item, Timestamp):
        return "sa.DateTime(timezone=True)"
    return JSON if kind == "type" and isinstance(item, OwnJson) else False


SPARED: Final = "squidmesh_spared"

# From Alembic 1.18 on comparators have a priority; before, what is registered later comes later.
_LAST: Final[dict[str, Any]] = {"priority": util.DispatchPriority.LAST} if hasattr(util, "DispatchPriority") else {}

logger = logging.getLogger("alembic.autogenerate.squidmesh")


def spare(metadata: sa.MetaData, prefix: str) -> None:
    """Have tables left alone too that another library made, whose names begin with the prefix."""
    metadata.info.setdefault(SPARED, set()).add(prefix)


@comparators.dispatch_for("schema", **_LAST)
def leave_alone(context: AutogenContext, found: ops.UpgradeOps, _schemas: object) -> None:
    """Take out of what was found whatever concerns our tables, or those that the host's metadata spares."""
    if any(isinstance(each, ops.CreateTableOp) and each.table_name in Base.metadata.tables for each in found.ops):
        logger.info("The tables of Squid Mesh are left to: flask squidmesh install")
    hosts = [context.metadata] if isinstance(context.metadata, sa.MetaData) else list(context.metadata or ())
    found.ops[:] = [each for each in found.ops if not _is_left_alone(getattr(each, "table_name", None), hosts)]


def _is_left_alone(table: str | None, hosts: Sequence[sa.MetaData]) -> bool:
    """Whether the table is ours, or is spared and none of the host's models has it."""
    if table is None or table in Base.metadata.tables:
        return table is not None
    spared = tuple(prefix for host in hosts for prefix in host.info.get(SPARED, ()))
    return table.startswith(spared) and not any(table in host.tables for host in hosts)
