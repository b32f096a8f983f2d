"""Writing the migrations."""

from __future__ import annotations

from pathlib import Path

import click
from alembic.script import ScriptDirectory
from flask import current_app

from ..config import read_config
from ..errors import ConfigurationError
from ..storage import migrations
from .command_group import group


@group.command()
@click.option("-d", "--directory", help="The migrations directory; Flask-Migrate's own if left out.")
@click.option("--head", help="The revision to build on, where the migrations have several heads.")
def install(directory: str | None, head: str | None) -> None:
    """Write the migrations that create or upgrade the tables."""
    bind = read_config(current_app.config).bind
    written = migrations.install(_scripts(directory), head=head, bind=bind)
    for path in written:
        click.echo(f"Wrote {path}")
    click.echo("Now run: flask db upgrade" if written else "The migrations are up to date; nothing to write.")


def _scripts(directory: str | None) -> ScriptDirectory:
    if "migrate" not in current_app.extensions:
        raise ConfigurationError("Flask-Migrate is not set up on this app. Call Migrate(app, db) where it is made.")
    migrate = current_app.extensions["migrate"]
    folder = directory or migrate.directory
    if not Path(folder, "env.py").exists():
        raise ConfigurationError(f"{folder} holds no migrations. Run: flask db init")
    return ScriptDirectory.from_config(migrate.migrate.get_config(folder))
