"""Listing the schedules and starting one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Final

import click

from .command_group import CommandGroup, aligned, group, ready_runtime
from .json_output import as_json, tell

if TYPE_CHECKING:
    from ..runtime.scheduler import ScheduleView

REASONS: Final = {
    "overlap": "a run had not ended",
    "queue_full": "the queue was full",
    "replaced": "a later window took its place",
    "catch_up": "no worker looked in time",
    "paused": "the schedule was paused",
}


@group.group(cls=CommandGroup)
def cron() -> None:
    """List the cron triggers, or start one."""


@cron.command("list")
@as_json
def list_schedules(as_json: bool) -> None:
    """List the schedules: when each is due next, when it last fired, and what is queued or was not started."""
    from ..storage.scope import Scope

    found = ready_runtime().scheduler.schedules(Scope.all())
    if as_json:
        tell({"schedules": [asdict(each) for each in found]})
        return
    columns = ("workflow", "trigger", "expression", "timezone", "next_due", "last_due", "fired_at", "paused_at")
    for line in aligned(columns, found):
        click.echo(line)
    for each in found:
        for line in _windows_told(each):
            click.echo(f"{each.workflow} {each.trigger}: {line}")
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
@click.option("--unattended", is_flag=True, help="As the schedule would: not while paused, and as its overlap says.")
@as_json
def fire(
    workflow: str, trigger: str, window: datetime | None, signal_id: str | None, unattended: bool, as_json: bool
) -> None:
    """Start a run by TRIGGER of WORKFLOW, also while it is paused or a run of it has not ended."""
    run_id, _ = ready_runtime().scheduler.activate(
        workflow, trigger, intended_window=window, signal_id=signal_id, by_hand=not unattended
    )
    if as_json:
        tell({"run_id": run_id})
        return
    nothing = "see flask squidmesh cron list" if unattended else "this window has its run already"
    click.echo(f"Run {run_id}" if run_id else f"Nothing started: {nothing}.")


def _windows_told(schedule: ScheduleView) -> Iterator[str]:
    """What is queued and what was left out, a line each."""
    if schedule.queued:
        times = ", ".join(f"{each:%Y-%m-%d %H:%M}" for each in schedule.queued)
        yield f"queued until a run has ended: {times}"
    for each in schedule.left_out:
        run = f" (run {each.run_id})" if each.run_id else ""
        until = f" to {each.last:%Y-%m-%d %H:%M}, {each.count} windows" if each.count > 1 else ""
        yield f"not started: {each.first:%Y-%m-%d %H:%M}{until}: {REASONS[each.reason]}{run}"
