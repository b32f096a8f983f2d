"""The registered workflows."""

from __future__ import annotations

from dataclasses import dataclass

from flask import render_template, url_for

from ...reading.views import Count
from ...workflow.spec import WorkflowSpec
from .. import data
from ..access import require
from ..marks import Mark, mark_of


@dataclass(frozen=True, slots=True)
class Row:
    """One workflow, with how many runs of it there are in each state."""

    spec: WorkflowSpec
    counts: list[tuple[Mark, Count, str]]
    address: str


def show() -> str:
    """The page."""
    require("list")
    return render_template("squidmesh/workflows.html", rows=[_row(spec) for spec in data.specs()])


def _row(spec: WorkflowSpec) -> Row:
    counts = data.word_counts({"workflow": spec.name})
    shown = [
        (mark_of(word), count, url_for(".runs", workflow=spec.name, word=word))
        for word, count in counts.items()
        if count.value
    ]
    return Row(spec, shown, url_for(".runs", workflow=spec.name))
