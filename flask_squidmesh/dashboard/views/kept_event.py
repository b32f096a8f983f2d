"""One event: what it brought, when and from whom, what became of it, and who waits for its like."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from flask import url_for
from werkzeug.wrappers import Response

from ...queries.kept_events import EventRecord, KeptEvent
from ...runtime.runtime import current_runtime
from ...storage.summaries import RunSummary
from .. import outside_data, redacted_documents
from ..authorization import Refused, require
from ..layout import TemplateContext, render
from ..redacted_documents import Document
from .event_pages import HOW


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptEventPage(TemplateContext):
    """record: the event, and what became of it. payload: None where it brought nothing, or nothing that the person may
    see; refused: why not. kept_until: when it is forgotten. is_heard: whether a workflow hears of events of its name.
    """

    record: EventRecord
    event: KeptEvent
    payload: Document | None
    refused: str | None
    kept_until: datetime
    is_heard: bool
    how: Mapping[str, str]


def show(event_id: str) -> str:
    """The page."""
    require("list")
    found = outside_data.viewed_event(event_id)
    record, event, denied = found.record, found.record.event, found.refusal
    address = url_for(".event_payload", event_id=event.id)
    shown = KeptEventPage(
        record=record,
        event=event,
        payload=redacted_documents.document_of_event(record.payload, _run_of(event), address)
        if denied is None
        else None,
        refused=denied.reason if denied is not None else None,
        kept_until=event.sent_at + timedelta(seconds=current_runtime().settings.event_retention),
        is_heard=event.name in outside_data.heard_events(),
        how=HOW,
    )
    return render("event.html", shown)


def payload(event_id: str) -> Response:
    """What it brought as JSON, without what is redacted."""
    require("list")
    found = outside_data.viewed_event(event_id)
    if found.refusal is not None:
        raise Refused("payload", found.refusal.reason)
    return redacted_documents.response(
        redacted_documents.visible_event(found.record.payload, _run_of(found.record.event))
    )


def _run_of(event: KeptEvent) -> RunSummary | None:
    return event.reached[0].run if event.reached else None
