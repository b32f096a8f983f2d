"""Runs: the list, narrowed by what the address says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flask import Response, request, url_for
from htmx_flask.requests import HtmxHeaders
from htmx_flask.response import make_response
from markupsafe import Markup

from ...errors import FilterError
from ...reading.listing import Standing
from ...reading.views import Count
from ...runtime.runtime import current_runtime
from ...store.summaries import RunSummary
from .. import data, frame, search, times
from ..access import may, require
from ..chips import Chip
from ..filters import Filters, periods
from ..language import _, plural
from ..marks import MARKS, Mark, mark_of
from ..rendering import render
from ..sentences import attempt_of

NONE = Count(value=0)


@dataclass(frozen=True, slots=True)
class Row:
    """One run in the table."""

    run: RunSummary
    mark: Mark
    title: str
    address: str
    attempt: str
    took: str
    when: Markup


def show() -> Response:
    """The page; htmx takes the part that it asked for out of it and learns the address to show."""
    require("list")
    filters = _filters()
    response: Response = make_response(render("runs.html", **_content(filters)))
    if HtmxHeaders(request.headers):
        response.headers["HX-Push-Url"] = filters.address()
    return response


def refreshed(version: str) -> str | None:
    """The parts of the page that have changed since this version, None where nothing has."""
    require("list")
    filters = _filters()
    if _version(filters) == version:
        return None
    return render("_pulse_runs.html", **_content(filters))


def _content(filters: Filters) -> dict[str, Any]:
    try:
        standing, page = _read(filters)
    except FilterError as error:
        return {**_surroundings(filters), "problem": str(error), "rows": [], "chips": []}
    top = page.runs[0].run.id if page.runs else ""
    return {
        **_surroundings(filters),
        "rows": [_row(worded) for worded in page.runs],
        "chips": _chips(filters, standing.counts),
        "exports": _exports(filters) if page.runs and may("export") else [],
        "newest": filters.address(),
        "first_page": not request.args.get("after"),
        "older": filters.address(after=page.next) if page.next else None,
        "pulse": frame.pulse("runs", frame.version(standing.marks), top=_top(top), **_asked(filters)),
        "new_runs": _new_runs(page),
    }


def _read(filters: Filters) -> tuple[Standing, data.WordedPage]:
    """How the runs stand, and then the page, so that no change is lost between them. Raises FilterError."""
    with data.at_once():
        standing = _standing(filters)
        page = data.runs_page(search.selection(filters), size=_size(filters), after=request.args.get("after"))
        frame.needs()  # the frame asks later, and would have to connect again
    return standing, page


def _standing(filters: Filters) -> Standing:
    return data.runs_standing(search.selection(filters), size=_size(filters), after=request.args.get("after"))


def _version(filters: Filters) -> str:
    """What the reader sees, in short."""
    try:
        return frame.version(_standing(filters).marks)
    except FilterError as error:
        return frame.version(str(error))


def _surroundings(filters: Filters) -> dict[str, Any]:
    return {"filters": filters, "workflows": data.workflows(), "periods": periods(), "may_bulk": may("bulk")}


def _filters() -> Filters:
    return Filters.of(request.args, _sizes())


def _sizes() -> tuple[int, ...]:
    return current_runtime().config.dashboard.page_sizes


def _size(filters: Filters) -> int:
    return filters.size or _sizes()[0]


def _exports(filters: Filters) -> list[tuple[str, str]]:
    """The list as files, each with the name of its kind."""
    return [("CSV", url_for(".runs_csv", **filters.query)), ("JSON", url_for(".runs_json", **filters.query))]


def _chips(filters: Filters, counts: Mapping[str, Count]) -> list[Chip]:
    chips = [Chip(None, None, filters.with_word("").address(), not filters.word)]
    for word, mark in MARKS.items():
        count, current = counts.get(word, NONE), word == filters.word
        if current or count.value:
            chips.append(Chip(mark, count, filters.with_word(word).address(), current))
    return chips


def _row(worded: data.WordedRun) -> Row:
    run = worded.run
    now = current_runtime().clock.now()
    return Row(
        run=run,
        mark=mark_of(worded.word),
        title=run.subject or run.workflow,
        address=url_for(".run", run_id=run.id),
        attempt=attempt_of(run.attempt, run.max_attempts) if run.attempt else "",
        took=times.took(run.created_at, run.finished_at, now),
        when=_when(run, worded.word, now),
    )


def _when(run: RunSummary, word: str, now: datetime) -> Markup:
    zone = frame.zone()
    if run.needs and run.needs.due_at:
        return _due(run.needs.due_at, now)
    if word in ("waiting", "retrying") and run.due_at and run.due_at > now:
        return _("next {time}", time=times.stamp(run.due_at, zone, now))
    return times.stamp(run.finished_at or run.created_at, zone, now)


def _due(due_at: datetime, now: datetime) -> Markup:
    if due_at < now:
        return _("overdue by {length}", length=times.elapsed(due_at, now))
    return _("due {time}", time=times.stamp(due_at, frame.zone(), now))


def _top(newest: str) -> str:
    """The first run that the reader's page shows; a refresh does not add rows above it."""
    return request.args.get("top", newest)


def _new_runs(page: data.WordedPage) -> Markup | None:
    """How many runs have come on top since the page was made; None where none has, or on an older page."""
    top = request.args.get("top")
    ids = [worded.run.id for worded in page.runs]
    if not top or request.args.get("after") or top == next(iter(ids), top):
        return None
    if top not in ids:
        return _("Many new runs. Show them")
    return plural(ids.index(top), "1 new run. Show it", "{count} new runs. Show them")


def _asked(filters: Filters) -> dict[str, Any]:
    after = request.args.get("after")
    return {**filters.query, **({"after": after} if after else {})}
