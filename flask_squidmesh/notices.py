"""What people, other services and the host's own code can be told of, and how it is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Final, Literal, Protocol, get_args
from uuid import UUID, uuid5

NoticeKind = Literal[
    "decision.opened",
    "decision.reminded",
    "decision.escalated",
    "decision.timed_out",
    "decision.decided",
    "run.completed",
    "run.failed",
    "run.cancelled",
    "run.incident",
    "run.interrupted",
    "compensation.failed",
    "event.unmatched",
    "system.no_worker",
    "system.queue_late",
]
"""Everything that can be subscribed to."""

NOTICE_KINDS: Final[tuple[NoticeKind, ...]] = get_args(NoticeKind)
NAMESPACE: Final = UUID("9a1f6f0e-6a53-5c1b-8c55-6e3c0c1c7f10")
PASSING: Final[frozenset[NoticeKind]] = frozenset({"decision.opened", "decision.reminded", "decision.escalated"})
"""Kinds that are of no use to anybody once the wait has ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One thing that has happened, as it is told.

    id: the same every time that this is told to this receiver again. at: when it happened. run_id, workflow: None of
    what is of no run. subject: the run's, else the event's id or the name of the queue. step, visit: where it happened,
    None where it is of the run as a whole. prompt, options, assignee, groups, due_at: of a wait for people, as it
    stands when this is told. outcome: how a completed run says to have ended. error: type, message and code of what
    went wrong. details: what else the kind says: of `decision.decided` option, actor and comment, of
    `decision.escalated` from, to and groups, of `compensation.failed` the steps, of `event.unmatched` event, key,
    event_id and sent_at, of `system.no_worker` and `system.queue_late` queue and waiting_since. url: of the run's page,
    where SQUIDMESH_EXTERNAL_URL says how the app is reached.
    """

    id: str
    kind: NoticeKind
    at: datetime
    run_id: str | None
    workflow: str | None
    tenant: str
    subject: str
    step: str | None = None
    visit: int | None = None
    prompt: str | None = None
    options: tuple[str, ...] = ()
    assignee: str | None = None
    groups: tuple[str, ...] = ()
    due_at: datetime | None = None
    outcome: str | None = None
    error: Mapping[str, Any] | None = None
    details: Mapping[str, Any] | None = None
    url: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON data."""
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in found.items()}


def message_id(notices: Sequence[Notice]) -> str:
    """The id of a message with these notices: that of a single one, else the same for the same notices.

    A digest that failed may be sent again with more in it, and whoever knows messages by their ids is not to take that
    for the one that came.
    """
    if len(notices) == 1:
        return notices[0].id
    return str(uuid5(NAMESPACE, " ".join(sorted(notice.id for notice in notices))))


class Channel(Protocol):
    """A way to people or to another service."""

    def send(self, receiver: str, notices: Sequence[Notice]) -> object:
        """Send the notices, as one message, and return once they are surely on their way.

        receiver: what `to` has answered, '' where the channel was added without it. Whatever this raises has it called
        again later with the same notices; of a ChannelError operators read the text, of others the class alone.
        """
