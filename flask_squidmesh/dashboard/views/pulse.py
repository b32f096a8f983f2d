"""The poll of a page: nothing while nothing has changed, else only what has."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from flask import Response, abort, make_response, request

from ...runtime.runtime import current_runtime
from .. import layout
from ..endpoints import whole
from ..layout import render
from ..text import times
from . import bulk, failures, needs_you, run, runs, schedules, system, workflows

UNCHANGED, LAST_TIME = 204, 286
OF_LISTS: Mapping[str, Callable[[str], str | None]] = {
    "inbox": needs_you.refreshed,
    "runs": runs.refreshed,
    "failures": failures.refreshed,
    "workflows": workflows.refreshed,
    "schedules": schedules.refreshed,
    "system": system.refreshed,
}
OF_ONE: Mapping[str, tuple[str, Callable[[str, str], tuple[str, bool] | None]]] = {
    "run": ("run_id", run.refreshed),
    "bulk": ("job_id", bulk.refreshed),
    "workflow": ("name", workflows.refreshed_one),
}


def answer() -> Response:
    """The changed parts of the page that asks, at least what its frame tells; and what time it is here."""
    version, _, frame = request.args.get("v", "").rpartition("-")
    if _words_have_passed():
        version = ""
    markup, last = _refreshed(request.args.get("view", ""), version)
    if markup is None and frame != layout.frame_version():
        markup = render("_pulse_frame.html", swapped=True, pulse=_same_again(version))
    status = UNCHANGED if markup is None else LAST_TIME if last else 200
    response = make_response(markup or "", status)
    now = current_runtime().clock.now()
    response.headers["Squidmesh-Time"] = times.clock(now, layout.zone())
    response.headers["Squidmesh-Now"] = f"{now.timestamp():.3f}"
    return response


def _words_have_passed() -> bool:
    """Whether the time has come at which the words of the page, such as "due in 59 min", are not right any more."""
    until = whole(request.args.get("until"))
    return until is not None and current_runtime().clock.now().timestamp() >= until


def _refreshed(view: str, version: str) -> tuple[str | None, bool]:
    if view in OF_LISTS:
        return OF_LISTS[view](version), False
    if view not in OF_ONE:
        abort(404)
    key, refreshed = OF_ONE[view]
    return refreshed(request.args.get(key, ""), version) or (None, False)


def _same_again(version: str) -> layout.Pulse:
    asked = {name: value for name, value in request.args.items() if name not in ("view", "v")}
    return layout.pulse(request.args.get("view", ""), version, **asked)
