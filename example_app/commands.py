"""The shop's own commands."""

from __future__ import annotations

from pathlib import Path
from threading import Event

import click
from flask import current_app
from flask.cli import with_appcontext

from .gateway.server import running_gateway


@click.command("gateway")
@click.option("--port", default=5050, show_default=True, help="Port on 127.0.0.1.")
@with_appcontext
def gateway_command(port: int) -> None:
    """Run the payment company, for a shop that was not started by the demo."""
    with running_gateway(Path(current_app.instance_path) / "gateway.sqlite", port) as address:
        click.echo(f"The payment company listens at {address}; Ctrl-C stops it.")
        Event().wait()


@click.command("seed")
@with_appcontext
def seed_command() -> None:
    """Fill the shop with people, products and runs in every state an operator can meet; what is there stays."""
    from .seed import seed

    for line in seed():
        click.echo(line)


@click.command("smoke")
@with_appcontext
def smoke_command() -> None:
    """Walk every workflow to its end and say what happened; exit code 1 where it should have been something else."""
    from .smoke import smoke

    if not smoke(click.echo):
        raise SystemExit(1)
