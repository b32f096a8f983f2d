"""The runs of a list as a file, without any payload, whole however many they are.

They are read a page at a time, each in a transaction of its own: a slow reader holds none open. Each page begins
where the one before ended, newest first: a run is told once, as it is then, and what begins meanwhile is left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from flask import Response, request, stream_with_context

from .. import data, search, spreadsheet
from ..access import require
from ..actors import name_of
from ..filters import Filters

COLUMNS = (
    *("id", "workflow", "trigger", "subject", "state", "step", "attempt", "started_by"),
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


def _pages() -> Iterator[data.WordedPage]:
    """The runs that match, newest first. Raises FilterError before the first."""
    require("list")
    require("export")
    selection = search.selection(Filters.of(request.args, ()))
    page = data.exported_page(selection, size=PAGE, after=None)
    yield page
    while page.next is not None:
        page = data.exported_page(selection, size=PAGE, after=page.next)
        yield page


def _as_json(first: data.WordedPage, others: Iterator[data.WordedPage]) -> Iterator[str]:
    yield '{"runs": [' + _objects(first)
    for page in others:
        yield ",\n" + _objects(page)
    yield "]}\n"


def _objects(page: data.WordedPage) -> str:
    return ",\n".join(json.dumps({**each.run.to_dict(), "state": each.word}) for each in page.runs)


def _cells(worded: data.WordedRun) -> list[str]:
    run = worded.run
    times = (run.created_at, run.started_at, run.finished_at)
    return [
        *(run.id, run.workflow, run.trigger, run.subject, worded.word, run.current_step or ""),
        *(str(run.attempt or ""), name_of(run.actor) if run.actor else ""),
        *(time.isoformat() if time else "" for time in times),
        run.error_fingerprint or "",
        run.tenant,
    ]
