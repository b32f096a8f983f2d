"""The dashboard as a blueprint: its addresses, and what happens around each request."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import abort, request

from . import csrf, failures, headers, redirects, static_files
from .access import Dashboard
from .hooks import Hooks
from .views import (
    acting,
    audit,
    bulk,
    exporting,
    help,
    inbox,
    one_by_one,
    payload,
    preferences,
    pulse,
    run,
    runs,
    schedules,
    starting,
    workers,
    workflows,
)
from .views import failures as failing

GET, GET_POST, POST = ["GET"], ["GET", "POST"], ["POST"]
ROUTES: list[tuple[str, str, Callable[..., Any], list[str]]] = [
    ("/", "inbox", inbox.show, GET),
    ("/next", "next", one_by_one.lead_on, GET),
    ("/runs", "runs", runs.show, GET),
    ("/runs.csv", "runs_csv", exporting.runs_csv, GET),
    ("/runs.json", "runs_json", exporting.runs_json, GET),
    ("/runs/<run_id>", "run", run.show, GET),
    ("/runs/<run_id>.json", "run_json", run.as_json, GET),
    ("/runs/<run_id>/payload/<path:part>", "payload", payload.show, GET),
    ("/runs/<run_id>/reveal/<path:part>", "reveal", payload.reveal, GET_POST),
    ("/runs/<run_id>/<verb>", "act", acting.act, GET_POST),
    ("/workflows", "workflows", workflows.show, GET),
    ("/workflows/<name>", "workflow", workflows.show_one, GET),
    ("/workflows/<name>/start", "start", starting.start, GET_POST),
    ("/bulk", "bulk", bulk.ask, GET_POST),
    ("/bulk/<job_id>", "bulk_job", bulk.show, GET),
    ("/bulk/<job_id>/<verb>", "bulk_go_on", bulk.go_on, POST),
    ("/failures", "failures", failing.show, GET),
    ("/schedules", "schedules", schedules.show, GET),
    ("/schedules/<workflow>/<trigger>/<verb>", "schedule", schedules.act, GET_POST),
    ("/workers", "workers", workers.show, GET),
    ("/audit", "audit", audit.show, GET),
    ("/audit.csv", "audit_csv", audit.as_csv, GET),
    ("/help", "help", help.show, GET),
    ("/pulse", "pulse", pulse.answer, GET),
    ("/prefs", "preferences", preferences.change, POST),
    ("/assets/<name>", "asset", static_files.serve, GET),
    ("/<path:unknown>", "unknown", lambda unknown: abort(404), GET),
]


def create_blueprint(
    hooks: Hooks, *, name: str = "squidmesh", url_prefix: str, authorize: Callable[..., Any] | None = None
) -> Dashboard:
    """A dashboard, a new one each time, to be registered on one app.

    hooks: who may do what, and what else the host has to say. name: of the blueprint, and so of its endpoints.
    url_prefix: where it is mounted, such as "/squidmesh". authorize: instead of that of the hooks. Raises
    ConfigurationError for one that cannot be called.
    """
    dashboard = Dashboard(name, __name__, url_prefix=url_prefix)
    dashboard.hooks, dashboard.own_authorize = hooks, Hooks(authorize=authorize).authorize
    for rule, endpoint, view, methods in ROUTES:
        dashboard.add_url_rule(rule, endpoint, view, methods=methods)
    dashboard.before_request(_before)
    dashboard.after_request(headers.apply)
    dashboard.after_request(redirects.lead)
    dashboard.after_request(preferences.keep_live)
    failures.register(dashboard)
    return dashboard


def _before() -> None:
    """A form counts only where it came from a page of ours."""
    if request.method == "POST":
        csrf.check()
