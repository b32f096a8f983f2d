"""Runs and what belongs to them as JSON, as far as whoever asks may see it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from flask import current_app, url_for
from werkzeug.wrappers import Response

from ..dashboard import page_data
from ..dashboard.authorization import may
from ..dashboard.redacted_documents import visible
from ..definition.spec import TriggerSpec, WorkflowSpec
from ..queries.kept_events import KeptEvent
from ..queries.results import InboxItem, Run
from ..queries.run_snapshot import RunSnapshot
from ..storage.summaries import RunSummary, document_of
from .request_parts import JSON, tag_of

HISTORY: Final = ("steps", "step_runs", "audit_events", "timeline")
OF_ERRORS: Final = ("type", "message", "code", "retryable")

Document = dict[str, Any]


def answer(document: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """The document as it is sent."""
    said = current_app.response_class(json.dumps(document), status, mimetype=JSON)
    said.headers.extend(headers or {})
    return said


def headers_of(run: Run) -> dict[str, str]:
    """Where the run is, and the token for what is decided about it."""
    return {"Location": url_for(".run", run_id=run.id), "ETag": tag_of(run.decision)}


def run_document(run: Run, *, history: bool = False) -> Document:
    """One run. history: whether with all that happened to it, for somebody who may see its data."""
    whole = run.to_dict()
    shown = visible(run, whole, ())
    document = dict(shown) if isinstance(shown, Mapping) else {}
    if not history:
        document = {name: value for name, value in document.items() if name not in HISTORY}
    if not may("payload", run):
        document |= {"payload": None, "context": None, "last_error": _without_data(document.get("last_error"))}
    return document


def summary_document(run: RunSummary) -> Document:
    """One run in a line."""
    return run.to_dict()


def worded(each: page_data.RunWithStatus) -> Document:
    """One run of a list, with the word that pages have for its state."""
    return {**each.run.to_dict(), "state": each.word}


def explanation_document(look: RunSnapshot) -> Document:
    """Why the run is where it is; the facts for those alone who may see its data."""
    run = look.run
    shown = visible(run, look.explanation.to_dict(), ("explanation",))
    document = dict(shown) if isinstance(shown, Mapping) else {}
    return document if may("payload", run) else document | {"details": {}, "evidence": {}}


def timeline_document(run: Run) -> Document:
    """Everything that happened to the run, by time."""
    events = visible(run, [event.to_dict() for event in run.timeline or ()], ("timeline",))
    kept = events if isinstance(events, Sequence) and not isinstance(events, str) else []
    may_see = may("payload", run)
    return {"events": [each if may_see or not isinstance(each, Mapping) else _told(each) for each in kept]}


def task_document(item: InboxItem) -> Document:
    """One open wait, with what can be done about it."""
    decision = item.decisions[0]
    document = decision.to_dict()
    if not may("payload", item.run):
        document["error"] = _without_data(document["error"])
    shown = visible(item.run, document, ("decisions", 0))
    return {
        "run": summary_document(item.run),
        "decision": shown,
        "since": item.since.isoformat(),
        "due_at": item.due_at.isoformat() if item.due_at else None,
        "overdue": item.overdue,
        "next_actions": [action.to_dict() for action in item.next_actions if action.step == decision.step],
    }


def event_document(event: KeptEvent) -> Document:
    """One event that is kept, with the runs that it has reached."""
    reached = [
        {"run_id": each.run.id, "how": each.how, "step": each.step, "at": each.at.isoformat()} for each in event.reached
    ]
    return {**document_of(replace(event, reached=())), "reached": reached}


def workflow_document(spec: WorkflowSpec) -> Document:
    """One workflow, with the schemas of what starts it."""
    return {
        "name": spec.name,
        "title": spec.title,
        "description": spec.description,
        "version": spec.version,
        "steps": list(spec.steps),
        "triggers": [_trigger(trigger) for trigger in spec.triggers.values()],
        "may_start": may("start", workflow=spec.name),
    }


def payload_schema(trigger: TriggerSpec) -> Document:
    """What the trigger takes, as JSON schema; any object where the model cannot say."""
    if trigger.model is None:
        return {"type": "object", "maxProperties": 0}
    try:
        return trigger.model.model_json_schema()
    except Exception:  # the model's own code makes it
        return {"type": "object"}


def _trigger(trigger: TriggerSpec) -> Document:
    return {
        "name": trigger.name,
        "kind": trigger.kind,
        "expression": trigger.expression,
        "timezone": trigger.timezone,
        "payload": payload_schema(trigger),
    }


def _told(event: Mapping[str, Any]) -> Document:
    """An event for somebody who may not see the run's data."""
    details = event.get("details")
    if not isinstance(details, Mapping) or "error" not in details:
        return dict(event)
    return {**event, "details": {**details, "error": _without_data(details["error"])}}


def _without_data(error: object) -> object:
    """An error with its message alone, without what the step knew when it failed."""
    if not isinstance(error, Mapping):
        return error
    return {**{name: error.get(name) for name in OF_ERRORS}, "details": None, "traceback": None}
