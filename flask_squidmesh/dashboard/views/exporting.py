"""The runs of a list as a file, without any payload."""

from __future__ import annotations

from collections.abc import Iterator

from flask import Response, jsonify, request

from .. import data, search, spreadsheet
from ..access import require
from ..actors import name_of
from ..filters import Filters
from ..headers import keep_nowhere

COLUMNS = (
    *("id", "workflow", "trigger", "subject", "state", "step", "attempt", "started_by"),
    *("created_at", "started_at", "finished_at", "error_fingerprint"),
)
PAGE = 500


def runs_csv() -> Response:
    """A table for a spreadsheet."""
    return spreadsheet.as_csv("runs.csv", COLUMNS, map(_cells, _all()))


def runs_json() -> Response:
    """The summaries as JSON, each with the word for its state."""
    answer = jsonify(runs=[{**worded.run.to_dict(), "state": worded.word} for worded in _all()])
    keep_nowhere(answer)
    return answer


def _all() -> Iterator[data.WordedRun]:
    """The newest runs that match. Raises FilterError before the first."""
    require("list")
    require("export")
    selection, after, left = search.selection(Filters.of(request.args, ())), None, spreadsheet.MOST_ROWS
    while left > 0:
        page = data.runs_page(selection, size=min(PAGE, left), after=after)
        yield from page.runs
        after, left = page.next, left - len(page.runs)
        if after is None:
            return


def _cells(worded: data.WordedRun) -> list[str]:
    run = worded.run
    times = (run.created_at, run.started_at, run.finished_at)
    return [
        *(run.id, run.workflow, run.trigger, run.subject, worded.word, run.current_step or ""),
        *(str(run.attempt or ""), name_of(run.actor) if run.actor else ""),
        *(time.isoformat() if time else "" for time in times),
        run.error_fingerprint or "",
    ]
