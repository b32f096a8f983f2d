"""Sending events: kept once for each id, and brought to those that wait for them after the commit."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

import sqlalchemy as sa

from ..clock import Clock
from ..definition.event_names import name_problem
from ..definition.payloads import validate_event
from ..definition.state_expressions import LONGEST_ID
from ..definition.values import fault, fingerprint
from ..definition.workflow import Registry
from ..errors import ConflictError, PayloadError, given
from ..storage import events, fact_rows
from ..storage.connections import AnySession
from ..storage.database import Database
from ..storage.events import EventRow
from ..storage.summaries import document_of, new_id
from .command_arguments import actor_of, tenant_of
from .event_matching import EventMatcher
from .outcomes import let_ctrl_c_through, log_error
from .run_starter import check_size

GRACE: Final = timedelta(seconds=2)
"""After which others bring an event that its sender was to bring."""

logger = logging.getLogger("flask_squidmesh")


@dataclass(frozen=True, slots=True, kw_only=True)
class EventReceipt:
    """What became of an event that was sent.

    id: our own of the event. event_id: the sender's, else the same. repeated: whether it had come before, and nothing
    was done. runs: those that have taken it or were started or cancelled by it, as far as they are known: a run that
    somebody else is just changing takes it a moment later, and within a session's transaction none has.
    """

    id: str
    name: str
    key: str
    event_id: str
    tenant: str
    sent_at: datetime
    repeated: bool = False
    runs: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON data."""
        return document_of(self)


class _Kept(NamedTuple):
    """An event as it is kept. dispatch_id: of the work that brings it, None where it had come before."""

    event: EventRow
    dispatch_id: str | None


class EventSender:
    """Takes events from outside. most: bytes of JSON that a payload may take."""

    def __init__(
        self, *, database: Database, clock: Clock, registry: Registry, matcher: EventMatcher, most: int
    ) -> None:
        self._database, self._clock, self._registry = database, clock, registry
        self._matcher, self._most = matcher, most

    def send(
        self,
        name: str,
        *,
        key: str | int,
        payload: object = None,
        event_id: str | None = None,
        tenant: str = "",
        actor: object = None,
        session: AnySession | None = None,
        noted: bool = False,
    ) -> EventReceipt:
        """Keep an event, and bring it to those that wait for it; see `SquidMesh.send_event`.

        noted: whether the audit says so, as it is a person who sends it.
        """
        event = self._read(name, key, payload, event_id, tenant, actor)
        runs = list[str]()
        kept = self._database.in_transaction(
            session,
            lambda connection: self._keep(connection, event, noted),
            lambda kept: runs.extend(self._bring(kept)),
        )
        found = kept.event
        if session is None and kept.dispatch_id is None:
            with self._database.read() as connection:
                runs = events.runs_of(connection, found.id)
        return EventReceipt(
            id=found.id,
            name=found.name,
            key=found.key,
            event_id=found.event_id,
            tenant=found.tenant,
            sent_at=found.sent_at,
            repeated=kept.dispatch_id is None,
            runs=tuple(runs),
        )

    def _read(
        self, name: object, key: object, payload: object, event_id: object, tenant: object, actor: object
    ) -> EventRow:
        if (why := name_problem(name)) is not None:
            raise _refused("name", f"{why}.")
        assert isinstance(name, str)
        known = tenant_of(tenant)
        if event_id is not None:
            _check_text("event_id", event_id)
        read, now, id = _key(key), self._clock.now(), new_id()
        brought = validate_event(name, self._registry.event_model(name), payload, now)
        check_size(brought.stored, self._most)
        return EventRow(
            id=id,
            tenant=known,
            name=name,
            key=read,
            event_id=id if event_id is None else str(event_id),
            payload=brought.stored,
            fingerprint=fingerprint([read, brought.said]),
            actor=actor_of(actor, self._most),
            sent_at=now,
            seen_at=None,
        )

    def _keep(self, connection: sa.Connection, event: EventRow, noted: bool) -> _Kept:
        if events.insert(connection, event):
            now = self._clock.now()
            if noted:
                said = {"name": event.name, "key": event.key, "event_id": event.event_id}
                fact_rows.note(connection, "event_sent", actor=event.actor, at=now, tenant=event.tenant, data=said)
            return _Kept(event, events.request_match(connection, event.id, now, now + GRACE))
        found = events.named(connection, event.tenant, event.name, event.event_id)
        if found is None:
            raise ConflictError("Another transaction is just sending an event with this event_id. Try again.")
        if found.fingerprint != event.fingerprint:
            raise ConflictError(
                f"An event {event.name} with the event_id {event.event_id!r} came before, with another key or payload. "
                "Send the same again, or use another event_id.",
                current=found.id,
            )
        return _Kept(found, None)

    def _bring(self, kept: _Kept) -> Sequence[str]:
        """After the commit, and answer which runs it has moved; what fails is done by others in a moment."""
        if kept.dispatch_id is None:
            return ()
        try:
            return self._matcher.bring(kept.event.id, kept.dispatch_id).runs
        except BaseException as error:  # the event is kept, and whoever sent it is to know
            let_ctrl_c_through(error)
            log_error(logger, error, "squidmesh: event %s was not brought to its runs; it is again", kept.event.id)
            return ()


def _key(key: object) -> str:
    """The key as text. Raises PayloadError."""
    if isinstance(key, int) and not isinstance(key, bool):
        return str(key)
    _check_text("key", key)
    return str(key)


def _check_text(name: str, text: object) -> None:
    if not isinstance(text, str) or not text.strip() or len(text) > LONGEST_ID:
        raise _refused(name, f"{name} is {given(text)}; pass text of 1 to {LONGEST_ID} characters.")
    if (why := fault(text)) is not None:
        raise _refused(name, f"{name} cannot be stored: {why}.")


def _refused(name: str, why: str) -> PayloadError:
    return PayloadError(f"The event was not sent: {why}", invalid_types={name: why})
