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
from ..text.badges import Badge, badge_of
from ..text.language import N_, _, percent, plural
from ..text.times import duration

TALLEST = 24
Runs = Mapping[str, tuple[Mapping[str, Count], Sequence[EndedRun]]]
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
    """One run in the picture of the last ones. height: by how long it took."""

    shape: str
    height: float
    label: Markup


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowRow:
    """One workflow. counts: how many runs of it there are in each state."""

    spec: WorkflowSpec
    counts: list[tuple[Badge, Count, str]]
    bars: list[OutcomeBar]
    median: str | None
    slowest: str | None
    start: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowsPage(TemplateContext):
    """All of them."""

    part: str = "squidmesh/_workflows.html"
    rows: list[WorkflowRow]
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
    return render("workflows.html", _content(_runs()))


def refreshed(version: str) -> str | None:
    """The parts of the page that have changed since this version, None where nothing has."""
    require("list")
    found = _runs()
    if layout.version(found) == version:
        return None
    return render("_pulse_fresh.html", _content(found), swapped=True)


def _runs() -> Runs:
    return page_data.runs_of([spec.name for spec in page_data.specs()])


def _content(found: Runs) -> WorkflowsPage:
    return WorkflowsPage(
        rows=[_row(spec, *found[spec.name]) for spec in page_data.specs()],
        pulse=layout.pulse("workflows", layout.version(found)),
    )


def show_one(name: str) -> str:
    """One of them."""
    require("list")
    spec = _spec(name)
    return render(
        "workflow.html",
        _content_of_one(spec, page_data.runs_of([spec.name])),
        drawing=graph_layout.draw(outline(spec), kind_of=_kind_of),
        kind_of=_kind_of,
        schemas=[(trigger, _schema(trigger)) for trigger in spec.triggers.values()],
    )


def refreshed_one(name: str, version: str) -> tuple[str, bool] | None:
    """The parts that have changed since this version, never for the last time; None where nothing has."""
    require("list")
    spec = _spec(name)
    found = page_data.runs_of([spec.name])
    if layout.version(found) == version:
        return None
    return render("_pulse_fresh.html", _content_of_one(spec, found), swapped=True), False


def _spec(name: str) -> WorkflowSpec:
    return page_data.spec_named(name) or abort(404)


def _content_of_one(spec: WorkflowSpec, found: Runs) -> WorkflowPage:
    """What changes on the page, read after what the version says, so that no change is lost between them."""
    fare = page_data.fare_of(spec)
    return WorkflowPage(
        spec=spec,
        row=_row(spec, *found[spec.name]),
        failed_share=_failed_share(fare.day),
        versions=fare.versions,
        pulse=layout.pulse("workflow", layout.version(found), name=spec.name),
    )


def _row(spec: WorkflowSpec, counts: Mapping[str, Count], last: Sequence[EndedRun]) -> WorkflowRow:
    middle, long = percentile(last, 0.5), percentile(last, 0.95)
    startable = any(each.kind == "manual" for each in spec.triggers.values()) and may("start", workflow=spec.name)
    return WorkflowRow(
        spec=spec,
        counts=[
            (badge_of(word), count, url_for(".runs", workflow=spec.name, word=word)) for word, count in counts.items()
        ],
        bars=_bars(last),
        median=None if middle is None else duration(middle),
        slowest=None if long is None else duration(long),
        start=url_for(".start", name=spec.name) if startable else None,
    )


def _bars(last: Sequence[EndedRun]) -> list[OutcomeBar]:
    longest = max((run.seconds or 0 for run in last), default=0) or 1
    return [
        OutcomeBar(
            shape=run.status,
            height=round(4 + (run.seconds or 0) / longest * (TALLEST - 4), 1),
            label=_("{state} after {length}", state=badge_of(run.status).label, length=duration(run.seconds or 0)),
        )
        for run in last
    ]


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
