"""Deleting runs that ended long ago."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING

import click

from ..engine.transitions import TERMINAL
from ..storage.retained_rows import REASONS
from .command_group import aligned, group, ready_runtime
from .json_output import as_json, tell

if TYPE_CHECKING:
    from ..runtime.maintenance.pruning import PruneReport

UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
PROGRESS_EVERY = 5_000


def _age(_context: click.Context, _option: click.Parameter, text: str) -> timedelta:
    found = re.fullmatch(r"(\d{1,6})([smhdw])", text.strip())
    if found is None:
        raise click.BadParameter(f"{text!r} is no age. Write a number and a unit (s, m, h, d or w), such as 90d.")
    return timedelta(**{UNITS[found[2]]: int(found[1])})


@group.command()
@click.option("--older-than", required=True, callback=_age, metavar="AGE", help="Since they ended, such as 90d or 12h.")
@click.option(
    "--status",
    "statuses",
    multiple=True,
    default=("completed",),
    show_default=True,
    type=click.Choice(sorted(TERMINAL)),
    help="How they ended; may be given several times.",
)
@click.option("--workflow", help="Only the runs of this workflow.")
@click.option("--including-unacknowledged", is_flag=True, help="Failures too that nobody has taken note of.")
@click.option("--dry-run", is_flag=True, help="Say what would go, and delete nothing.")
@click.option("--batch", type=click.IntRange(1, 10_000), default=500, show_default=True, help="Runs a transaction.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@as_json
def prune(
    older_than: timedelta,
    statuses: tuple[str, ...],
    workflow: str | None,
    including_unacknowledged: bool,
    dry_run: bool,
    batch: int,
    yes: bool,
    as_json: bool,
) -> None:
    """Delete runs that ended long ago, with all that belongs to them.

    What is linked to a run that goes on stays, and so does what needs a person. --json takes --dry-run or --yes.
    """

    def pruned(dry_run: bool, progress: Callable[[int], object] = lambda _: None) -> PruneReport:
        return ready_runtime().pruner.prune(
            older_than=older_than,
            status=statuses,
            workflow=workflow,
            including_unacknowledged=including_unacknowledged,
            dry_run=dry_run,
            batch=batch,
            actor="flask squidmesh prune",
            progress=progress,
        )

    if as_json:
        if not (dry_run or yes):
            raise click.UsageError("--json asks nothing; say --dry-run or --yes.")
        tell(pruned(dry_run).to_dict())
        return
    if dry_run or not yes:
        plan = pruned(dry_run=True)
        _tell(plan)
        if dry_run or not plan.pruned:
            return
        click.confirm(f"Delete {_counted(plan.pruned)} for good?", abort=True)
    _tell(pruned(dry_run=False, progress=_PruneProgress()))


class _PruneProgress:
    """Says from time to time how far it is."""

    def __init__(self) -> None:
        self._total = 0

    def __call__(self, more: int) -> None:
        before, self._total = self._total, self._total + more
        if self._total // PROGRESS_EVERY > before // PROGRESS_EVERY:
            click.echo(f"{self._total:,} pruned so far")


def _tell(report: PruneReport) -> None:
    went = [group for group in report.groups if group.kept is None]
    for line in aligned(("workflow", "status", "runs", "oldest", "newest"), went):
        click.echo(line)
    for each in report.groups:
        if each.kept is not None:
            click.echo(f"Kept: {_counted(each.runs)} of {each.workflow}, {each.status}: {REASONS[each.kept]}.")
    click.echo(f"{'Would delete' if report.dry_run else 'Deleted'} {_counted(report.pruned)}.")


def _counted(runs: int) -> str:
    return "1 run" if runs == 1 else f"{runs:,} runs"
