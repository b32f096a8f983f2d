"""Saying what is wrong."""

from __future__ import annotations

import click

from .commands import group
from .readiness import runtime_here


@group.command()
def check() -> None:
    """Say what is wrong and how to mend it; fails when something is."""
    from ..runtime.checking import check as look

    wrong = 0
    for finding in look(runtime_here()):
        wrong += finding.wrong
        lines = finding.text.replace("\n", "\n       ")
        verdict = "wrong" if finding.wrong else "note" if finding.notice else "ok"
        click.echo(f"{verdict:<6} {finding.subject}: {lines}")
    if wrong:
        raise click.ClickException("1 thing is wrong." if wrong == 1 else f"{wrong} things are wrong.")
