"""Runs: the list, narrowed by what the address says, and the same as a file.

They are read a page at a time, each in a transaction of its own: a slow reader holds none open. Each page begins
where the one before ended, newest first: a run is told once, as it is then, and what begins meanwhile is left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from flask import Response, request, stream_with_context, url_for
from htmx_flask.requests import HtmxHeaders
from htmx_flask.response import make_response
from markupsafe import Markup

from ...errors import FilterError
from ...queries.inbox import overdue_since
from ...queries.results import Count
from ...queries.run_list import ListTotals
from ...runtime.runtime import current_runtime
from ...storage.summaries import RunSummary
from .. import layout, list_address, page_data, spreadsheet
from ..authorization import may, require
from ..endpoints import url_of
from ..layout import Pulse, TemplateContext, render
from ..list_address import FilterBar, periods
from ..text import times
from ..text.badges import DIVERTED, MARKS, Badge, badge_in_row, badge_of_outcome
from ..text.explanation_text import attempt_of, name_of
from ..text.language import N_, _, plural

NONE = Count(value=0)
ENDED = ("completed", "failed", "cancelled")
_UNDOING: Mapping[str, str] = {
    "running": N_("being undone"),
    "completed": N_("all undone"),
    "failed": N_("undo failed"),
}


@dataclass(frozen=True, slots=True)
class RunRow:
    """One run in the table. outcome: the word of the end that it came to. undone: what became of undoing it. note: what
    more there is to say of where it is. late: whether that is overdue."""

    run: RunSummary
    mark: Badge
    title: str
    workflow: str
    address: str
    outcome: Markup | None
    undone: Markup | None
    note: Markup | None
    late: bool
    started: Markup
    took: Markup


@dataclass(frozen=True, slots=True, kw_only=True)
class RunsPage(TemplateContext):
    """problem: what is wrong with the filters, where there are no rows. lead: how many runs there are, in a sentence.
    words: the states that there are, with their counts. outcomes: how runs can have ended. exports: the list as files.
    newest, older: addresses. new_runs: how many have come on top since the page was made.
    """

    filters: FilterBar
    workflows: list[tuple[str, str]]
    periods: list[tuple[str, Markup]]
    outcomes: list[tuple[str, Markup]]
    may_bulk: bool
    problem: str | None = None
    rows: list[RunRow] = field(default_factory=list)
    lead: Markup | None = None
    words: list[tuple[str, Markup, Count]] = field(default_factory=list)
    exports: list[tuple[str, str]] = field(default_factory=list)
    newest: str | None = None
    first_page: bool = False
    older: str | None = None
    pulse: Pulse | None = None
    new_runs: Markup | None = None


def show() -> Response:
    """The page; htmx takes the part that it asked for out of it and learns the address to show."""
    require("list")
    filters = _filters()
    response: Response = make_response(render("runs.html", _content(filters)))
    if HtmxHeaders(request.headers):
        response.headers["HX-Push-Url"] = filters.address()
    return response


def refreshed(version: str) -> str | None:
    """The parts of the page that have changed since this version, None where nothing has."""
    require("list")
    filters = _filters()
    if _version(filters) == version:
        return None
    return render("_pulse_runs.html", _content(filters))


def _content(filters: FilterBar) -> RunsPage:
    try:
        standing, page = _read(filters)
    except FilterError as error:
        return replace(_surroundings(filters), problem=str(error))
    top = page.runs[0].run.id if page.runs else ""
    return replace(
        _surroundings(filters),
        rows=[_row(worded) for worded in page.runs],
        lead=_lead(standing.counts),
        words=_words(filters, standing.counts),
        exports=_exports(filters) if page.runs and may("export") else [],
        newest=filters.address(),
        first_page=not request.args.get("after"),
        older=filters.address(after=page.next) if page.next else None,
        pulse=layout.pulse("runs", layout.version(standing.marks), top=_top(top), **_asked(filters)),
        new_runs=_new_runs(page),
    )


def _read(filters: FilterBar) -> tuple[ListTotals, page_data.RunPageWithStatus]:
    """How the runs stand, and then the page, so that no change is lost between them. Raises FilterError."""
    with page_data.at_once():
        standing = _standing(filters)
        page = page_data.runs_page(
            list_address.selection(filters), size=_size(filters), after=request.args.get("after"), sort=filters.order
        )
        layout.needs()  # the frame asks later, and would have to connect again
    return standing, page


def _standing(filters: FilterBar) -> ListTotals:
    return page_data.runs_standing(
        list_address.selection(filters), size=_size(filters), after=request.args.get("after"), sort=filters.order
    )


def _version(filters: FilterBar) -> str:
    """What the reader sees, in short."""
    try:
        return layout.version(_standing(filters).marks)
    except FilterError as error:
        return layout.version(str(error))


def _surroundings(filters: FilterBar) -> RunsPage:
    return RunsPage(
        filters=filters,
        workflows=page_data.workflows(),
        periods=periods(),
        outcomes=_outcomes(filters),
        may_bulk=may("bulk"),
    )


def _outcomes(filters: FilterBar) -> list[tuple[str, Markup]]:
    """Those that there can be, and the one that was asked for, which an earlier version may have had."""
    known = page_data.outcomes()
    asked = [filters.outcome] if filters.outcome and filters.outcome not in known else []
    return [(word, badge_of_outcome(word).label) for word in (*known, *asked)]


def _filters() -> FilterBar:
    return FilterBar.of(request.args, _sizes())


def _sizes() -> tuple[int, ...]:
    return current_runtime().config.dashboard.page_sizes


def _size(filters: FilterBar) -> int:
    return filters.size or _sizes()[0]


def _exports(filters: FilterBar) -> list[tuple[str, str]]:
    """The list as files, each with the name of its kind."""
    return [("CSV", url_of(".runs_csv", filters.query)), ("JSON", url_of(".runs_json", filters.query))]


def _lead(counts: Mapping[str, Count]) -> Markup:
    under_way = sum(count.value for word, count in counts.items() if word not in ENDED)
    total = Count(value=sum(count.value for count in counts.values()), capped=any(c.capped for c in counts.values()))
    return _("{runs}, {open} under way", runs=plural(total.value, "1 run", "{count} runs", count=total), open=under_way)


def _words(filters: FilterBar, counts: Mapping[str, Count]) -> list[tuple[str, Markup, Count]]:
    found = ((word, mark.label, counts.get(word, NONE)) for word, mark in MARKS.items())
    return [(word, label, count) for word, label, count in found if count.value or word == filters.word]


def _row(worded: page_data.RunWithStatus) -> RunRow:
    run, zone = worded.run, layout.zone()
    now = current_runtime().clock.now()
    took = times.took(run.created_at, run.finished_at, now)
    note, late = _note(run, worded.word, now)
    return RunRow(
        run=run,
        mark=badge_in_row(run, worded.word),
        title=run.title,
        workflow=page_data.title_of_workflow(run.workflow),
        address=url_for(".run", run_id=run.id),
        outcome=badge_of_outcome(run.outcome).label if run.outcome and run.outcome not in DIVERTED else None,
        undone=_(_UNDOING[run.compensation]) if run.compensation else None,
        note=note,
        late=late,
        started=times.moment(run.created_at, zone, now, today=""),
        took=Markup.escape(took) if run.finished_at else _("{length} so far", length=took),
    )


def _note(run: RunSummary, word: str, now: datetime) -> tuple[Markup | None, bool]:
    """What more there is to say of where the run is, and whether that is overdue."""
    zone = layout.zone()
    late_since = overdue_since(run, now)
    if late_since is not None:
        return _("overdue by {length}", length=times.elapsed(late_since, now)), True
    if run.needs and run.needs.due_at:
        return _("due {time}", time=times.stamp(run.needs.due_at, zone, now)), False
    attempt = attempt_of(run.attempt, run.max_attempts) if run.attempt and run.max_attempts > 1 else None
    if word == "scheduled" and run.due_at:
        return _("begins {time}", time=times.stamp(run.due_at, zone, now)), False
    if word in ("waiting", "retrying") and run.due_at and run.due_at > now:
        following = times.stamp(run.due_at, zone, now)
        if attempt and word == "retrying":
            return _("attempt {attempt}, next {time}", attempt=attempt, time=following), False
        return _("next {time}", time=following), False
    return (_("attempt {attempt}", attempt=attempt) if attempt and run.current_step else None), False


def _top(newest: str) -> str:
    """The first run that the reader's page shows; a refresh does not add rows above it."""
    return request.args.get("top", newest)


def _new_runs(page: page_data.RunPageWithStatus) -> Markup | None:
    """How many runs have come on top since the page was made; None where none has, or on an older page."""
    top = request.args.get("top")
    ids = [worded.run.id for worded in page.runs]
    if not top or request.args.get("after") or request.args.get("sort") or top == next(iter(ids), top):
        return None
    if top not in ids:
        return _("Many new runs. Show them")
    return plural(ids.index(top), "1 new run. Show it", "{count} new runs. Show them")


def _asked(filters: FilterBar) -> dict[str, object]:
    after = request.args.get("after")
    return {**filters.query, **({"after": after} if after else {})}


COLUMNS = (
    *("id", "workflow", "trigger", "subject", "state", "outcome", "step", "attempt", "started_by"),
    *("created_at", "started_at", "finished_at", "error_fingerprint", "tenant"),
)
PAGE = 500


def runs_csv() -> Response:
    """A table for a spreadsheet."""
    return spreadsheet.as_csv("runs.csv", COLUMNS, ([_cells(each) for each in page.runs] for page in _pages()))


def runs_json() -> Response:
    """The summaries as JSON, each with the word for its state. What breaks off is no JSON."""
    pages = _pages()
    return Response(stream_with_context(_as_json(next(pages), pages)), mimetype="application/json")


def _pages() -> Iterator[page_data.RunPageWithStatus]:
    """The runs that match, newest first. Raises FilterError before the first."""
    require("list")
    require("export")
    selection = list_address.selection(FilterBar.of(request.args, ()))
    page = page_data.exported_page(selection, size=PAGE, after=None)
    yield page
    while page.next is not None:
        page = page_data.exported_page(selection, size=PAGE, after=page.next)
        yield page


def _as_json(first: page_data.RunPageWithStatus, others: Iterator[page_data.RunPageWithStatus]) -> Iterator[str]:
    yield '{"runs": [' + _objects(first)
    for page in others:
        yield ",\n" + _objects(page)
    yield "]}\n"


def _objects(page: page_data.RunPageWithStatus) -> str:
    return ",\n".join(json.dumps({**each.run.to_dict(), "state": each.word}) for each in page.runs)


def _cells(worded: page_data.RunWithStatus) -> list[str]:
    run = worded.run
    times = (run.created_at, run.started_at, run.finished_at)
    return [
        *(run.id, run.workflow, run.trigger, run.subject, worded.word, run.outcome or "", run.current_step or ""),
        *(str(run.attempt or ""), name_of(run.actor) if run.actor else ""),
        *(time.isoformat() if time else "" for time in times),
        run.error_fingerprint or "",
        run.tenant,
    ]
