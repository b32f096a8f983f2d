"""The registered workflows: how they fare, and what they are made of."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flask import abort, url_for
from markupsafe import Markup

from ...definition.spec import StepSpec, TriggerSpec, WorkflowSpec
from ...queries.figures import EndedRun, Version, percentile
from ...queries.results import Count, GraphNode
from ...queries.run_graph import outline
from ...runtime.runtime import current_runtime
from .. import layout, page_data
from ..authorization import may, require
from ..drawing import graph_layout
from ..host_hooks import redacted
from ..layout import Pulse, TemplateContext, render
from ..text.badges import Badge, badge_of, badge_of_outcome
from ..text.language import N_, _, percent, plural
from ..text.times import duration

TALLEST, SHORTEST, ROOM = 22, 4, 28
PITCH, LAST = 6, 30
Figures = Mapping[str, page_data.WorkflowFigures]
KINDS = {
    "function": N_("calls a function"),
    "wait": N_("waits"),
    "log": N_("writes to the log"),
    "pause": N_("pauses for a person"),
    "approval": N_("asks for a decision"),
    "decision": N_("asks for a decision"),
}


@dataclass(frozen=True, slots=True)
class OutcomeBar:
    """One run in the picture of the last ones. x: where it stands. y: its top. height: by how long it took."""

    shape: str
    x: int
    y: float
    height: float
    label: Markup


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowRow:
    """One workflow. counts: how many runs of it there are in each state. failed: of those that ended within 24 hours.
    waiting: for a person. spoken: what the picture of the last runs shows.
    """

    spec: WorkflowSpec
    counts: list[tuple[Badge, Count, str]]
    bars: list[OutcomeBar]
    spoken: Markup
    failed: int
    ended: Count
    median: str | None
    slowest: str | None
    waiting: int
    start: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowsPage(TemplateContext):
    """All of them, those that failed most within a day first. failing: how many have failed within a day."""

    part: str = "squidmesh/_workflows.html"
    rows: list[WorkflowRow]
    failing: int
    pulse: Pulse


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowPage(TemplateContext):
    """What changes on the page of one. failed_share: of the runs that ended within a day, in words."""

    part: str = "squidmesh/_workflow.html"
    spec: WorkflowSpec
    row: WorkflowRow
    failed_share: Markup | None
    versions: list[Version]
    pulse: Pulse


def show() -> str:
    """All of them."""
    require("list")
    return render("workflows.html", _content(_figures()))


def refreshed(version: str) -> str | None:
    """The parts of the page that have changed since this version, None where nothing has."""
    require("list")
    found = _figures()
    if layout.version(found) == version:
        return None
    return render("_pulse_fresh.html", _content(found), swapped=True)


def _figures() -> Figures:
    return page_data.figures_of([spec.name for spec in page_data.specs()])


def _content(found: Figures) -> WorkflowsPage:
    rows = [_row(spec, found[spec.name]) for spec in page_data.specs()]
    return WorkflowsPage(
        rows=sorted(rows, key=lambda row: (-row.failed, row.spec.title.lower())),
        failing=sum(row.failed > 0 for row in rows),
        pulse=layout.pulse("workflows", layout.version(found)),
    )


def show_one(name: str) -> str:
    """One of them."""
    require("list")
    spec = _spec(name)
    return render(
        "workflow.html",
        _content_of_one(spec, page_data.figures_of([spec.name])),
        drawing=graph_layout.draw(outline(spec), kind_of=_kind_of),
        kind_of=_kind_of,
        schemas=[(trigger, _schema(trigger)) for trigger in spec.triggers.values()],
    )


def refreshed_one(name: str, version: str) -> tuple[str, bool] | None:
    """The parts that have changed since this version, never for the last time; None where nothing has."""
    require("list")
    spec = _spec(name)
    found = page_data.figures_of([spec.name])
    if layout.version(found) == version:
        return None
    return render("_pulse_fresh.html", _content_of_one(spec, found), swapped=True), False


def _spec(name: str) -> WorkflowSpec:
    return page_data.spec_named(name) or abort(404)


def _content_of_one(spec: WorkflowSpec, found: Figures) -> WorkflowPage:
    """What changes on the page, read after what the version says, so that no change is lost between them."""
    figures = found[spec.name]
    return WorkflowPage(
        spec=spec,
        row=_row(spec, figures),
        failed_share=_failed_share(figures.day),
        versions=page_data.versions_of(spec),
        pulse=layout.pulse("workflow", layout.version(found), name=spec.name),
    )


def _row(spec: WorkflowSpec, figures: page_data.WorkflowFigures) -> WorkflowRow:
    middle, long = percentile(figures.last, 0.5), percentile(figures.last, 0.95)
    startable = any(each.kind == "manual" for each in spec.triggers.values()) and may("start", workflow=spec.name)
    ended = figures.day.values()
    return WorkflowRow(
        spec=spec,
        counts=[
            (badge_of(word), count, url_for(".runs", workflow=spec.name, word=word))
            for word, count in figures.counts.items()
        ],
        bars=_bars(figures.last),
        spoken=_spoken(figures.last),
        failed=figures.failed,
        ended=Count(value=sum(count.value for count in ended), capped=any(count.capped for count in ended)),
        median=None if middle is None else duration(middle),
        slowest=None if long is None else duration(long),
        waiting=figures.waiting,
        start=url_for(".start", name=spec.name) if startable else None,
    )


def _bars(last: Sequence[EndedRun]) -> list[OutcomeBar]:
    """The newest stands at the right edge, however many there are."""
    longest = max((run.seconds or 0 for run in last), default=0) or 1
    before = LAST - len(last)
    heights = [round(SHORTEST + (run.seconds or 0) / longest * (TALLEST - SHORTEST), 1) for run in last]
    return [
        OutcomeBar(
            shape=_end(run).shape,
            x=(before + place) * PITCH,
            y=round(ROOM - height, 1),
            height=height,
            label=_("{state} after {length}", state=_end(run).label, length=duration(run.seconds or 0)),
        )
        for place, (run, height) in enumerate(zip(last, heights, strict=True))
    ]


def _end(run: EndedRun) -> Badge:
    """How it ended: green only where that was meant so."""
    return badge_of_outcome(run.outcome) if run.outcome else badge_of(run.status)


def _spoken(last: Sequence[EndedRun]) -> Markup:
    if not last:
        return _("No run has ended yet")
    failed = sum(run.status == "failed" for run in last)
    return plural(
        len(last),
        "The last run that ended: {failed} failed",
        "The last {count} runs that ended: {failed} failed",
        failed=failed,
    )


def _failed_share(day: Mapping[str, Count]) -> Markup | None:
    ended = sum(count.value for count in day.values())
    if not ended:
        return None
    share = percent(day["failed"].value / ended)
    return plural(ended, "{share} of 1 run failed", "{share} of {count} runs failed", share=share)


def _kind_of(step: StepSpec | GraphNode) -> Markup:
    return _(KINDS.get(step.kind, step.kind))


def _seen(schema: object) -> object:
    return redacted(schema, hides=lambda path: current_runtime().hides(str(path[-1])))


def _schema(trigger: TriggerSpec) -> str | None:
    """The payload's JSON Schema as text."""
    return json.dumps(_seen(trigger.model.model_json_schema(by_alias=False)), indent=2) if trigger.model else None
