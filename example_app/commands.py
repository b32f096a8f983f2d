"""The shop's own commands."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from threading import Event

import click
from flask import current_app
from flask.cli import with_appcontext

from flask_squidmesh import SquidMeshError

from .gateway.server import running_gateway
from .mailbox import running_mail_server


@click.command("gateway")
@click.option("--port", default=5050, show_default=True, help="Port on 127.0.0.1.")
@with_appcontext
def gateway_command(port: int) -> None:
    """Run the payment company, for a shop that was not started by the demo."""
    file, secret = Path(current_app.instance_path) / "gateway.sqlite", current_app.config["GATEWAY_SECRET"]
    with running_gateway(file, secret, port) as address:
        click.echo(f"The payment company listens at {address}; Ctrl-C stops it.")
        Event().wait()


@click.command("mailbox")
@click.option("--port", default=1025, show_default=True, help="Port on 127.0.0.1.")
@with_appcontext
def mailbox_command(port: int) -> None:
    """Run the mail server, for a shop that was not started by the demo; SHOP_SMTP_PORT tells the shop of it."""
    with running_mail_server(current_app.config["SHOP_MAILBOX"], port) as taken:
        click.echo(f"The mail server listens on port {taken}; Ctrl-C stops it.")
        Event().wait()


@click.command("seed")
@with_appcontext
def seed_command() -> None:
    """Fill the shop with people, products and runs in every state an operator can meet; what is there stays."""
    from .seed import seed

    for line in seed():
        click.echo(line)


process_option = click.option(
    "--process",
    is_flag=True,
    help="Have a worker process of SQUIDMESH_EXECUTOR perform the steps, instead of a thread. Other executors than "
    "`database` always have one.",
)


@click.command("smoke")
@process_option
@with_appcontext
def smoke_command(process: bool) -> None:
    """Walk through all that an operator can see and say what happened; exit code 1 where it should have been else."""
    from .checks.smoke import smoke

    _finish(lambda: smoke(click.echo, process=process))


@click.command("resilience")
@click.option(
    "--signal",
    "endings",
    multiple=True,
    type=click.Choice(["SIGTERM", "SIGKILL"]),
    default=["SIGTERM", "SIGKILL"],
    show_default=True,
    help="How the worker is ended; may be given twice.",
)
@with_appcontext
def resilience_command(endings: tuple[str, ...]) -> None:
    """End the worker of SQUIDMESH_EXECUTOR in the middle of runs, start it again, and see that nothing is lost."""
    from .checks.resilience import resilience

    _finish(lambda: resilience(click.echo, endings))


@click.command("soak")
@click.option("--runs", default=12, show_default=True, type=click.IntRange(min=3), help="How many payment recoveries.")
@process_option
@with_appcontext
def soak_command(runs: int, process: bool) -> None:
    """Start many runs at once and see all of them through, with some replayed, retried and cancelled."""
    from .checks.soak import soak

    _finish(lambda: soak(click.echo, runs, process=process))


@click.command("seed-runs")
@click.argument("count", type=click.IntRange(min=1))
@with_appcontext
def seed_runs_command(count: int) -> None:
    """Add COUNT runs of the past half year, copies of the seeded ones, for trying things at size."""
    from .many_runs import seed_many
    from .seed import seed

    for line in seed():
        click.echo(line)
    for done in seed_many(count):
        click.echo(f"{done:,} of {count:,} runs")


def _finish(check: Callable[[], bool]) -> None:
    try:
        passed = check()
    except SquidMeshError as error:
        raise click.ClickException(str(error)) from error
    if not passed:
        raise SystemExit(1)


COMMANDS = (
    gateway_command,
    mailbox_command,
    seed_command,
    smoke_command,
    resilience_command,
    soak_command,
    seed_runs_command,
)
