"""Audit: who did what, when and why, over all runs."""

from __future__ import annotations

from collections.abc import Iterator

from flask import Response, request

from ...errors import FilterError, RunNotFoundError
from ...people import identity
from ...queries.results import AuditEventView, AuditPage
from .. import page_data
from ..authorization import require
from ..endpoints import url_of
from ..layout import render
from ..spreadsheet import as_csv as as_csv_file
from ..text.audit_text import filterable, title_of
from ..text.explanation_text import name_of

SIZE, PAGE = 50, 500
KEYS = {"run_id": "run", "type": "type", "actor": "actor"}
COLUMNS = ("at", "actor", "type", "what", "step", "run_id", "comment", "times", "last_at")


def show() -> str:
    """The page."""
    require("audit")
    filters = _filters()
    try:
        page = page_data.audit_page(after=request.args.get("after"), size=SIZE, **filters)
        problem = None
    except (FilterError, RunNotFoundError) as error:
        page, problem = AuditPage(events=(), next=None), str(error)
    return render(
        "audit.html",
        events=page.events,
        problem=problem,
        filters=filters,
        narrowed=any(filters.values()),
        types=filterable,
        title_of=title_of,
        identity=identity,
        older=_address(".audit", filters, after=page.next) if page.next else None,
        newest=_address(".audit", filters),
        first_page=not request.args.get("after"),
        exports=[("CSV", _address(".audit_csv", filters))] if page.events else [],
    )


def as_csv() -> Response:
    """All events that match, as a table for a spreadsheet."""
    require("audit")
    require("export")
    return as_csv_file("audit.csv", COLUMNS, ([_cells(event) for event in page.events] for page in _pages()))


def _filters() -> page_data.AuditFilters:
    asked = {name: request.args.get(key, "").strip() or None for name, key in KEYS.items()}
    return page_data.AuditFilters(run_id=asked["run_id"], type=asked["type"], actor=asked["actor"])


def _address(endpoint: str, filters: page_data.AuditFilters, **more: str) -> str:
    query = {KEYS[name]: value for name, value in filters.items() if value}
    return url_of(endpoint, {**query, **more})


def _pages() -> Iterator[AuditPage]:
    page = page_data.audit_page(after=None, size=PAGE, **_filters())
    yield page
    while page.next is not None:
        page = page_data.audit_page(after=page.next, size=PAGE, **_filters())
        yield page


def _cells(event: AuditEventView) -> list[str]:
    who = name_of(event.actor) if event.actor else ""
    what = title_of(event).striptags()
    last = event.last_at.isoformat() if event.last_at else ""
    about = [event.step or "", event.run_id or "", event.comment or ""]
    return [event.at.isoformat(), who, event.type, what, *about, str(event.times), last]
