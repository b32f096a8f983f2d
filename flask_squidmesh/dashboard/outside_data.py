"""What the pages read of what comes from outside and of what is told there, within what the person may know of."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import chain

from flask import abort

from ..queries import kept_events, messages
from ..queries.kept_events import EventPage, EventRecord, KeptEvent
from ..queries.messages import Messages, UndeliveredNotice
from ..storage.summaries import read_id
from .authorization import AccessQuestion, current_scope, may, refusal, refusal_here, require
from .host_hooks import Deny
from .page_data import connected, keep_spelling, specs

MOST_MESSAGES = 50


def messages_now() -> Messages:
    """What is told to whom, without what tells of runs that the person may not view."""
    with connected() as connection:
        found = messages.messages(connection, current_scope(), limit=MOST_MESSAGES)
    shown = tuple(notice for notice in found.undelivered if notice.run is None or may("view", notice.run))
    return replace(found, undelivered=shown)


def undelivered(entry_id: str) -> UndeliveredNotice:
    """A notice that could not be delivered. 404 where there is none of which the person may know."""
    id = read_id(entry_id)
    with connected() as connection:
        notice = messages.undelivered(connection, current_scope(), id) if id is not None else None
    if notice is None:
        abort(404)
    if notice.run is not None:
        require("view", notice.run)
    return notice


def heard_events() -> list[str]:
    """The names of the events that registered workflows hear of which the person may know."""
    return sorted({name for spec in specs() for name in spec.hears})


def events_page(*, after: str | None, size: int, name: str | None, key: str | None) -> EventPage:
    """One page of events, newest first, with the runs that they reached as far as the person may view those. Raises
    FilterError."""
    with connected() as connection:
        page = kept_events.kept_events(
            connection, current_scope(), _known_names(), name=name, key=key, limit=size, after=after
        )
    return replace(page, events=tuple(_as_viewed(event) for event in page.events))


@dataclass(frozen=True, slots=True)
class ViewedEvent:
    """One event, and what became of it as far as the person may view that. refusal: why they may not see what it
    brought; None where they may."""

    record: EventRecord
    refusal: Deny | None


def viewed_event(event_id: str) -> ViewedEvent:
    """One event. 404 where there is none of which the person may know; leads to the one spelling of its id."""
    id = read_id(event_id)
    with connected() as connection:
        found = kept_events.event_record(connection, current_scope(), _known_names(), id) if id is not None else None
    if found is None:
        abort(404)
    keep_spelling("event_id", found.event.id)
    waiting = tuple(each for each in found.waiting if may("view", each.run))
    viewed = replace(found, event=_as_viewed(found.event), waiting=waiting)
    return ViewedEvent(viewed, _payload_refusal(found.event))


def _payload_refusal(event: KeptEvent) -> Deny | None:
    """What an event has brought is seen by whoever may see payloads, and those of the runs that it has reached."""
    of_none = refusal_here(AccessQuestion(action="payload", tenant=event.tenant))
    of_runs = (refusal(right, reach.run) for reach in event.reached for right in ("view", "payload"))
    return next((denied for denied in chain((of_none,), of_runs) if denied is not None), None)


def _known_names() -> list[str] | None:
    """Of which events the person may know; None for all."""
    return None if current_scope().workflows is None else heard_events()


def _as_viewed(event: KeptEvent) -> KeptEvent:
    return replace(event, reached=tuple(each for each in event.reached if may("view", each.run)))
