"""Failures: what breaks most, grouped by equal errors."""

from __future__ import annotations

from dataclasses import dataclass

from flask import request, url_for
from markupsafe import Markup

from ...queries.figures import FailureGroup
from .. import layout, page_data
from ..authorization import may, require
from ..layout import Pulse, TemplateContext, render
from ..redacted_documents import visible
from ..text.explanation_text import error_text
from ..text.language import _, plural


@dataclass(frozen=True, slots=True)
class FailureRow:
    """One kind of failure. heights: its days as bars of a picture that is 18 high."""

    group: FailureGroup
    workflow: str
    error: Markup
    heights: list[float]
    spoken: Markup
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FailuresPage(TemplateContext):
    """workflow: the one whose failures are shown; None for those of all."""

    part: str = "squidmesh/_failures.html"
    rows: list[FailureRow]
    may_bulk: bool
    capped: bool
    workflow: str | None
    pulse: Pulse


def show() -> str:
    """The page."""
    require("list")
    return render("failures.html", _content(_version()), workflows=page_data.workflows())


def refreshed(version: str) -> str | None:
    """The parts of the page that have changed since this version, None where nothing has."""
    require("list")
    now = _version()
    return None if now == version else render("_pulse_fresh.html", _content(now), swapped=True)


def _workflow() -> str | None:
    return request.args.get("workflow") or None


def _version() -> str:
    return layout.version(page_data.failures_marks(_workflow()))


def _content(version: str) -> FailuresPage:
    """What the page shows, read after the version, so that no change is lost between them."""
    workflow = _workflow()
    found = page_data.failures_now(workflow)
    return FailuresPage(
        rows=[_row(group) for group in found.groups],
        may_bulk=may("bulk"),
        capped=found.capped,
        workflow=workflow,
        pulse=layout.pulse("failures", version, workflow=workflow),
    )


def _row(group: FailureGroup) -> FailureRow:
    most = max(*group.by_day, 1)
    return FailureRow(
        group=group,
        workflow=page_data.title_of_workflow(group.example.workflow),
        error=error_text(visible(group.example, group.error, ("last_error",))),
        heights=[round(count / most * 18, 1) for count in group.by_day],
        spoken=_spoken(group),
        address=url_for(".runs", error=group.fingerprint),
    )


def _spoken(group: FailureGroup) -> Markup:
    counts = ", ".join(str(count) for count in group.by_day)
    return _("{total} in seven days, by day: {counts}", total=_total(group), counts=counts)


def _total(group: FailureGroup) -> Markup:
    return plural(group.week, "{count} failure", "{count} failures")
