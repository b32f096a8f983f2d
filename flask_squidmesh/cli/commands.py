"""The group that all commands are in, and how they answer a mistake."""

from __future__ import annotations

from typing import Any

import click
import sqlalchemy as sa
from alembic.util import CommandError
from flask.cli import AppGroup

from ..errors import SquidMeshError
from ..store.outages import reason_of


class Commands(AppGroup):
    """A group whose commands answer a user's mistake with a sentence instead of a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except (SquidMeshError, CommandError) as error:
            raise click.ClickException(str(error)) from error
        except sa.exc.DBAPIError as error:
            raise click.ClickException(
                f"The database refused: {reason_of(error)}. Run `flask squidmesh check` to see what is wrong."
            ) from error


group = Commands("squidmesh", help="Set up Squid Mesh, perform its steps and see whether all is well.")
