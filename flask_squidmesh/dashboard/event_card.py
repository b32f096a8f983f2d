"""A wait for an event on its run's page: which event, since when, until when, and what came that did not fit."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from markupsafe import Markup

from ..queries.awaited_events import EventWait
from ..queries.results import Run
from . import layout, outside_data
from .authorization import Refused, may, tenant_to_send
from .endpoints import url_of
from .redacted_documents import visible
from .text.language import _, code, in_english
from .text.people_text import ahead
from .text.times import elapsed, stamp


@dataclass(frozen=True, slots=True, kw_only=True)
class EventCard:
    """One event that a run waits for. late: for how long it has been due. then: what happens by itself until it is due;
    where it leads when nothing comes is said above the card. misfit: what came last that did not fit, and why. send:
    where it can be sent by hand; None where the person may not. others: where all that came with its name and key is
    listed; None where they may not see that.
    """

    number: int
    awaited: EventWait
    late: Markup | None
    then: list[Markup]
    misfit: Markup | None
    send: str | None
    others: str | None


def cards_of(run: Run, awaited: tuple[EventWait, ...], now: datetime) -> list[EventCard]:
    """A card for each event that the run waits for."""
    return [_card(run, number, each, now) for number, each in enumerate(awaited, 1)]


def _card(run: Run, number: int, awaited: EventWait, now: datetime) -> EventCard:
    due = awaited.decide_by
    is_late = due is not None and awaited.deadline == "overdue"
    which = {"name": awaited.name, "key": awaited.key}
    return EventCard(
        number=number,
        awaited=awaited,
        late=_("{length} overdue", length=elapsed(due, now)) if due is not None and is_late else None,
        then=_then(awaited, now),
        misfit=_misfit(run, awaited, now),
        send=url_of(".send_event", which) if _can_send(run, awaited.name) else None,
        others=url_of(".events", which) if may("list") else None,
    )


def _then(awaited: EventWait, now: datetime) -> list[Markup]:
    reminding = [timer for timer in awaited.timers if timer["kind"] != "time_out"]
    found = ahead(reminding, None, layout.zone(), now)
    if awaited.decide_by is not None and awaited.timeout is None and awaited.deadline != "overdue":
        found.append(_("when the time is over it is shown as late, and goes on waiting"))
    return found


def _misfit(run: Run, awaited: EventWait, now: datetime) -> Markup | None:
    misfit = awaited.misfit
    if misfit is None:
        return None
    why = visible(run, misfit["why"], ("explanation", "details", "misfit", "why"))
    return _(
        "The event {id} came {time} and was not taken, because its payload does not fit: {why}",
        id=code(misfit["event_id"]),
        time=stamp(datetime.fromisoformat(misfit["at"]), layout.zone(), now),
        why=in_english(str(why)),
    )


def _can_send(run: Run, name: str) -> bool:
    """Whether the person may send an event of this name that the run would take: one of its tenant."""
    if not may("send_event") or name not in outside_data.heard_events():
        return False
    try:
        return tenant_to_send() == run.tenant
    except Refused:
        return False
