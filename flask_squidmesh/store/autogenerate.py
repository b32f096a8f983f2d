"""Having Alembic leave our tables alone when it compares a host's models with the database.

They come and change by the revisions that `flask squidmesh install` writes, whatever the host's metadata, its
`env.py` and its `include_object` say, and in whatever order its extensions were set up.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Final

import sqlalchemy as sa
from alembic import util
from alembic.autogenerate import comparators
from alembic.autogenerate.api import AutogenContext
from alembic.operations import ops

from .tables import Base

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
