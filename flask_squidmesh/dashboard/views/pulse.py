"""The poll of a page: nothing while nothing has changed, else only what has."""

from __future__ import annotations

from flask import Response, abort, make_response, request

from . import bulk, inbox, run, runs

UNCHANGED, LAST_TIME = 204, 286


def answer() -> Response:
    """The changed parts of the page that asks."""
    version = request.args.get("v", "")
    match request.args.get("view"):
        case "inbox":
            return _parts(inbox.refreshed(version))
        case "runs":
            return _parts(runs.refreshed(version))
        case "run":
            parts = run.refreshed(request.args.get("run_id", ""), version)
            return _parts(parts[0], last=parts[1]) if parts else _parts(None)
        case "bulk":
            parts = bulk.refreshed(request.args.get("job_id", ""), version)
            return _parts(parts[0], last=parts[1]) if parts else _parts(None)
        case _:
            abort(404)


def _parts(markup: str | None, *, last: bool = False) -> Response:
    if markup is None:
        return make_response("", UNCHANGED)
    return make_response(markup, LAST_TIME if last else 200)
