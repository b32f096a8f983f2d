"""Saying what is wrong, and looking for rows that cannot be and mending them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from .command_group import group, ready_runtime, runtime_here
from .json_output import as_json, tell

if TYPE_CHECKING:
    from ..runtime.app_check import CheckResult
    from ..runtime.doctor import Finding


@group.command()
@as_json
def check(as_json: bool) -> None:
    """Say what is wrong and how to mend it; fails with exit code 1 when something is."""
    wrong, told = 0, []
    for finding in runtime_here().app_check.results():
        wrong += finding.wrong
        told.append({"subject": finding.subject, "verdict": _verdict(finding), "text": finding.text})
        if as_json:
            continue
        lines = finding.text.replace("\n", "\n       ")
        click.echo(f"{_verdict(finding):<6} {finding.subject}: {lines}")
    if as_json:
        tell({"wrong": wrong, "results": told})
    if wrong:
        raise click.ClickException("1 thing is wrong." if wrong == 1 else f"{wrong} things are wrong.")


def _verdict(finding: CheckResult) -> str:
    return "wrong" if finding.wrong else "note" if finding.notice else "ok"


MOST_AT_ONCE = 1_000
PROGRESS_EVERY = 100_000


@group.command()
@click.option("--run", "run_id", help="Look at this run only.")
@click.option("--repair", is_flag=True, help="Mend what can be mended safely, after asking.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@as_json
def doctor(run_id: str | None, repair: bool, yes: bool, as_json: bool) -> None:
    """Look for rows that cannot be: orphans, counts that are wrong, work that nothing will deliver.

    Reads every run, a few at a time, and fails with exit code 1 where it finds something. Changes nothing without
    --repair. With --json it only looks.
    """
    doctor = ready_runtime().doctor
    if as_json:
        if repair:
            raise click.UsageError("--json only looks; leave --repair out.")
        found = [_document(finding) for finding in doctor.examine(run_id, _DoctorProgress())]
        tell({"findings": found})
        if found:
            raise click.ClickException("1 finding." if len(found) == 1 else f"{len(found):,} findings.")
        return
    total, mendable = _told(doctor.examine(run_id, _DoctorProgress()))
    if repair and mendable and (yes or click.confirm(f"Mend {len(mendable)} of {total:,}?", abort=True)):
        mended = sum(1 for _ in doctor.repair(mendable, actor="flask squidmesh doctor"))
        click.echo(f"Mended: {mended}. Looking again.")
        total, _ = _told(doctor.examine(run_id))
    if total:
        raise click.ClickException("1 finding." if total == 1 else f"{total:,} findings.")
    click.echo("Nothing was found.")


class _DoctorProgress:
    """Says from time to time how far it is."""

    def __init__(self) -> None:
        self._total = 0

    def __call__(self, more: int) -> None:
        before, self._total = self._total, self._total + more
        if self._total // PROGRESS_EVERY > before // PROGRESS_EVERY:
            click.echo(f"{self._total:,} runs looked at", err=True)


def _document(finding: Finding) -> dict[str, object]:
    names = ("rule", "run_id", "found", "expected", "advice")
    return {**{name: getattr(finding, name) for name in names}, "mendable": finding.mend is not None}


def _told(findings: Iterable[Finding]) -> tuple[int, list[Finding]]:
    """Tell each finding; answer how many there are, and the first of those that can be mended."""
    total = 0
    mendable: list[Finding] = []
    for finding in findings:
        total += 1
        click.echo(f"{finding.rule:<12} {f'run {finding.run_id}: ' if finding.run_id else ''}{finding}")
        if finding.mend and len(mendable) < MOST_AT_ONCE:
            mendable.append(finding)
    return total, mendable
