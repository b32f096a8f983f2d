"""Notices in words: what they are about, and whom they told."""

from __future__ import annotations

from collections.abc import Mapping

from markupsafe import Markup

from ...queries.messages import UndeliveredNotice
from ...queries.results import TimelineEvent
from .language import N_, _, code, plural

_ABOUT: Mapping[str, str] = {
    "event.unmatched": N_("Nobody took the event {event} with key {key}"),
    "system.no_worker": N_("No worker takes work from the queue {queue}"),
    "system.queue_late": N_("Work in the queue {queue} is late"),
}


def about(notice: UndeliveredNotice) -> Markup:
    """What it is about: the title of its run, or of what is of none a sentence."""
    if notice.run is not None:
        return Markup.escape(notice.run.title)
    told = notice.data or {}
    names = {name: code(told.get(name) or notice.subject) for name in ("event", "key", "queue")}
    return _(_ABOUT[notice.kind], **names) if notice.kind in _ABOUT else code(notice.subject)


_TO_ONE: Mapping[str, str] = {
    "notice_delivered": N_("{subscription} told {receiver} of {kind}"),
    "notice_failed": N_("{subscription} could not tell {receiver} of {kind}"),
    "notice_waiting": N_("{subscription} has still to tell {receiver} of {kind}"),
    "notice_dropped": N_("{subscription} did not tell {receiver} of {kind}, as that was of no use any more"),
}
_TO_NOBODY: Mapping[str, str] = {
    "notice_delivered": N_("{subscription} was told of {kind}"),
    "notice_failed": N_("{subscription} could not be told of {kind}"),
    "notice_waiting": N_("{subscription} has still to be told of {kind}"),
    "notice_dropped": N_("{subscription} was not told of {kind}, as that was of no use any more"),
}
NOTICES = frozenset(_TO_ONE)


def told_to(event: TimelineEvent) -> Markup:
    """Who was told of what, or could not be. event: one of NOTICES."""
    said = event.details or {}
    names = {name: code(said[name]) for name in ("kind", "subscription", "receiver") if name in said}
    if "receiver" not in said:
        return _(_TO_NOBODY[event.type], **names)
    others = int(said["receivers"]) - 1
    if others:
        several = plural(others, "{receiver} and 1 other", "{receiver} and {count} others", receiver=names["receiver"])
        names["receiver"] = several
    return _(_TO_ONE[event.type], **names)
