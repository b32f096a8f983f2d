"""The dashboard as a blueprint: its addresses, and what happens around each request."""

from __future__ import annotations

from collections.abc import Callable

from flask import abort

from . import error_pages, redirects, security_headers, static_files
from .authorization import Dashboard
from .endpoints import Address, Form, Page, check_address, limit_body, refuse_large
from .host_hooks import Hooks
from .views import (
    assignment,
    audit,
    bulk,
    command,
    event_pages,
    kept_event,
    needs_you,
    note,
    payload,
    preferences,
    pulse,
    run,
    runs,
    schedules,
    start,
    system,
    undelivered,
    workflows,
)
from .views import failures as failing

ADDRESSES: tuple[Address, ...] = (
    Page("/", "inbox", needs_you.show),
    Page("/next", "next", needs_you.lead_on),
    Page("/runs", "runs", runs.show),
    Page("/runs.csv", "runs_csv", runs.runs_csv),
    Page("/runs.json", "runs_json", runs.runs_json),
    Page("/runs/<run_id>", "run", run.show),
    Page("/runs/<run_id>.json", "run_json", run.as_json),
    Page("/runs/<run_id>/payload/<path:part>", "payload", payload.show),
    Form("/runs/<run_id>/reveal/<path:part>", "reveal", payload.enter, payload.reveal, payload.ask),
    Form("/runs/<run_id>/assignment/<verb>", "assign", assignment.enter, assignment.act, assignment.show),
    Form("/runs/<run_id>/note", "note", note.enter, note.write, note.show),
    Form("/runs/<run_id>/<verb>", "act", command.enter, command.act, command.show),
    Page("/workflows", "workflows", workflows.show),
    Page("/workflows/<name>", "workflow", workflows.show_one),
    Form("/workflows/<name>/start", "start", start.enter, start.start, start.show),
    Form("/bulk", "bulk", bulk.enter, bulk.begin, bulk.ask),
    Page("/bulk/<job_id>", "bulk_job", bulk.show),
    Form("/bulk/<job_id>/<verb>", "bulk_go_on", bulk.enter_job, bulk.go_on),
    Page("/jobs", "bulk_jobs", bulk.show_all),
    Page("/failures", "failures", failing.show),
    Page("/schedules", "schedules", schedules.show),
    Form("/schedules/<workflow>/<trigger>/<verb>", "schedule", schedules.enter, schedules.act, schedules.ask),
    Page("/system", "system", system.show),
    Form("/messages/<entry_id>/<verb>", "message", undelivered.enter, undelivered.act, undelivered.ask),
    Page("/workers", "workers", system.moved),
    Page("/events", "events", event_pages.show),
    Form("/events/send", "send_event", event_pages.enter, event_pages.send, event_pages.ask),
    Page("/events/<event_id>", "event", kept_event.show),
    Page("/events/<event_id>/payload", "event_payload", kept_event.payload),
    Page("/audit", "audit", audit.show),
    Page("/audit.csv", "audit_csv", audit.as_csv),
    Page("/help", "help", preferences.show),
    Page("/pulse", "pulse", pulse.answer),
    Form("/prefs", "preferences", preferences.enter, preferences.change),
    Page("/assets/<name>", "asset", static_files.serve),
    Page("/<path:unknown>", "unknown", lambda unknown: abort(404)),
)


def create_blueprint(
    hooks: Hooks, *, name: str = "squidmesh", url_prefix: str, authorize: Callable[..., object] | None = None
) -> Dashboard:
    """A dashboard, a new one each time, to be registered on one app.

    hooks: who may do what, and what else the host has to say. name: of the blueprint, and so of its endpoints.
    url_prefix: where it is mounted, such as "/squidmesh". authorize: instead of that of the hooks. Raises
    ConfigurationError for one that cannot be called.
    """
    dashboard = Dashboard(name, __name__, url_prefix=url_prefix)
    dashboard.hooks, dashboard.own_authorize = hooks, Hooks(authorize=authorize).authorize
    for address in ADDRESSES:
        dashboard.add_url_rule(address.rule, address.endpoint, address.answer, methods=address.methods)
    dashboard.url_value_preprocessor(limit_body)
    dashboard.before_request(refuse_large)
    dashboard.before_request(check_address)
    dashboard.after_request(security_headers.apply)
    dashboard.after_request(redirects.lead)
    dashboard.after_request(preferences.keep_live)
    error_pages.register(dashboard)
    return dashboard
