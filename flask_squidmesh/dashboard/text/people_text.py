"""Whose a wait for people is, and what happens at it by itself, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from markupsafe import Markup

from ...definition.spec import end_at
from .language import N_, _, any_of, code
from .times import stamp


def only_for(decision: Mapping[str, Any]) -> Markup:
    """Who alone can answer it, as a sentence."""
    assignee, groups = decision.get("assignee"), decision.get("groups") or ()
    if assignee and groups:
        return _("Only {person} or {groups} can do this.", person=code(assignee), groups=any_of(groups))
    if groups:
        return _("Only {groups} can do this.", groups=any_of(groups))
    return _("It is {person}'s.", person=code(assignee))


def whose(assignee: str | None, groups: Sequence[str], me: str | None) -> Markup | None:
    """Whose it is, as a sentence; None where it is nobody's in particular."""
    if assignee and assignee == me:
        return _("It is yours")
    if assignee and groups:
        return _("It is {person}'s; {groups} can do it too", person=code(assignee), groups=any_of(groups))
    if assignee:
        return _("It is {person}'s", person=code(assignee))
    return _("For {groups}", groups=any_of(groups)) if groups else None


def ahead(timers: Sequence[Mapping[str, Any]], timeout: str | None, zone: ZoneInfo, now: datetime) -> list[Markup]:
    """What happens at it by itself if nobody answers, in order."""
    return [_timer(each, timeout, _when(datetime.fromisoformat(str(each["at"])), zone, now)) for each in timers]


def _when(at: datetime, zone: ZoneInfo, now: datetime) -> Markup:
    return stamp(at, zone, now) if at > now else _("at any moment")


def _timer(timer: Mapping[str, Any], timeout: str | None, time: Markup) -> Markup:
    assignee, groups = timer.get("assignee"), timer.get("groups") or ()
    match timer["kind"]:
        case "remind":
            return _("reminds {time}", time=time)
        case "escalate" if assignee and groups:
            text = N_("becomes {person}'s {time}, and {groups} can do it then")
            return _(text, person=code(assignee), time=time, groups=any_of(groups))
        case "escalate" if assignee:
            return _("becomes {person}'s {time}", person=code(assignee), time=time)
        case "escalate":
            return _("{groups} can do it too {time}", groups=any_of(groups), time=time)
    end = end_at(timeout or "")
    if end is not None:
        word = code(end.outcome.replace("_", " "))
        return _("ends the run as {outcome} when the time is over, {time}", outcome=word, time=time)
    return _("goes on to {step} when the time is over, {time}", step=code(timeout or "?"), time=time)
