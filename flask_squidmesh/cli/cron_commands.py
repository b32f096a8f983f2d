"""Listing the cron triggers and starting one."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime

import click

from .command_group import CommandGroup, aligned, group, ready_runtime
from .json_output import as_json, tell


@group.group(cls=CommandGroup)
def cron() -> None:
    """List the cron triggers, or start one."""


@cron.command("list")
@as_json
def list_schedules(as_json: bool) -> None:
    """List the cron triggers, when each is due next and when it last fired."""
    from ..storage.scope import Scope

    found = ready_runtime().scheduler.schedules(Scope.all())
    if as_json:
        tell({"schedules": [asdict(each) for each in found]})
        return
    columns = ("workflow", "trigger", "expression", "timezone", "next_due", "last_due", "fired_at", "paused_at")
    for line in aligned(columns, found):
        click.echo(line)
    if not found:
        click.echo("No registered workflow has a cron trigger.")


@cron.command()
@click.argument("workflow")
@click.argument("trigger")
@click.option(
    "--window",
    type=datetime.fromisoformat,
    help="Which due time, as ISO 8601 (UTC without an offset); the last one if left out.",
)
@click.option("--signal-id", help="A name of your own for this activation.")
@as_json
def fire(workflow: str, trigger: str, window: datetime | None, signal_id: str | None, as_json: bool) -> None:
    """Start a run by TRIGGER of WORKFLOW, as the schedule would."""
    run_id = ready_runtime().scheduler.fire(workflow, trigger, intended_window=window, signal_id=signal_id)
    if as_json:
        tell({"run_id": run_id})
        return
    click.echo(f"Run {run_id}" if run_id else "Nothing started: this window has its run already.")
