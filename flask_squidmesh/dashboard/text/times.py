"""Times and durations in words."""

from __future__ import annotations

from datetime import datetime, timedelta, tzinfo

from flask import has_request_context
from markupsafe import Markup

from ..endpoints import memory
from .language import N_, _, number

_UNITS = ((N_("{count} d"), 86400), (N_("{count} h"), 3600), (N_("{count} min"), 60), (N_("{count} s"), 1))
JUST_NOW = 3
_DAYS = {-1: N_("yesterday"), 1: N_("tomorrow")}
OFTENEST = timedelta(minutes=1)
MONTHS = (
    *(N_("Jan"), N_("Feb"), N_("Mar"), N_("Apr"), N_("May"), N_("Jun")),
    *(N_("Jul"), N_("Aug"), N_("Sep"), N_("Oct"), N_("Nov"), N_("Dec")),
)


def duration(seconds: float) -> str:
    """The two largest units of a length of time: "3 h 12 min", "12 s", "0.8 s", "35 ms"."""
    if seconds < 0.1:
        return _("{count} ms", count=number(max(seconds, 0) * 1000))
    if seconds < 10:
        return _("{count} s", count=number(seconds, 1 if round(seconds * 10) % 10 else 0))
    return _said(_parts(int(seconds))[:2])


def about(seconds: float) -> str:
    """The same in one unit, or in two below ten of the larger: "14 h", "3 h 12 min"."""
    parts = _parts(int(seconds))
    return _said(parts[: 1 if parts[0][0] > 9 else 2])


def longest_unit(seconds: float) -> str:
    """The same in its largest unit alone, rounded: "23 h"."""
    text, size = next(((text, size) for text, size in _UNITS if seconds >= 0.99 * size), _UNITS[-1])
    return _(text, count=number(round(seconds / size)))


def when(at: datetime, zone: tzinfo, *, seconds: bool = False) -> str:
    """Day and time of day, without zone and year: "26 Nov 09:12"."""
    local = at.astimezone(zone)
    day = _("{day} {month}", day=local.day, month=_(MONTHS[local.month - 1]))
    return f"{day} {local:%H:%M:%S}" if seconds else f"{day} {local:%H:%M}"


def relative(at: datetime, now: datetime) -> Markup:
    """How far a time is from now: "22 min ago", "in 41 s", "just now", "in a moment"."""
    _passes(at, now)
    seconds = (now - at).total_seconds()
    if abs(seconds) < JUST_NOW:
        return _("just now") if seconds >= 0 else _("in a moment")
    length = about(abs(seconds))
    return _("{length} ago", length=length) if seconds > 0 else _("in {length}", length=length)


def exact(at: datetime, zone: tzinfo, now: datetime) -> str:
    """Day, time to the second and zone; the year where it is not this one."""
    local = at.astimezone(zone)
    day = _("{day} {month}", day=local.day, month=_(MONTHS[local.month - 1]))
    year = "" if local.year == now.astimezone(zone).year else f" {local.year}"
    return f"{day}{year} {local:%H:%M:%S %Z}"


def moment(at: datetime, zone: tzinfo, now: datetime, *, today: str = N_("today")) -> Markup:
    """A `<time>` as people name one that is near: "today 20:50", "tomorrow 09:00", "2 Dec 12:00". today: the word."""
    local, here = at.astimezone(zone), now.astimezone(zone).date()
    near = {**_DAYS, 0: today}.get((local.date() - here).days)
    day = _(near) if near else "" if near == "" else _("{day} {month}", day=local.day, month=_(MONTHS[local.month - 1]))
    year = "" if local.year == here.year else str(local.year)
    said = " ".join(filter(None, (day, year, f"{local:%H:%M}")))
    return Markup('<time datetime="{}" title="{}">{}</time>').format(_iso(at), exact(at, zone, now), said)


def clock(at: datetime, zone: tzinfo) -> str:
    """The time of day with its zone."""
    return f"{at.astimezone(zone):%H:%M:%S %Z}"


def stamp(at: datetime | None, zone: tzinfo, now: datetime, *, show: str = "relative") -> Markup:
    """A `<time>` with the one form as text and the other as its title; a dash for no time."""
    if at is None:
        return Markup("–")
    forms: dict[str, str] = {"relative": relative(at, now), "exact": exact(at, zone, now)}
    other = forms["exact" if show == "relative" else "relative"]
    ticking = "text" if show == "relative" else "title"
    form = Markup('<time datetime="{}" title="{}" data-tick="{}">{}</time>')
    return form.format(_iso(at), other, ticking, forms[show])


def elapsed(since: datetime, now: datetime) -> Markup:
    """A `<time>` with how long ago it was, as "14 h"."""
    _passes(since, now)
    length = about(max((now - since).total_seconds(), 0))
    return Markup('<time datetime="{}" data-tick="length">{}</time>').format(_iso(since), length)


def took(start: datetime | None, end: datetime | None, now: datetime) -> str:
    """How long something lasted, or has lasted until now; a dash before it began."""
    if start is None:
        return "–"
    return duration((end - start).total_seconds()) if end else elapsed(start, now)


def words() -> dict[str, object]:
    """What the script makes lengths of time of as they pass."""
    return {
        "ago": _("{length} ago", length="{length}"),
        "in": _("in {length}", length="{length}"),
        "now": _("just now"),
        "soon": _("in a moment"),
        "units": [[_(text, count="{count}"), size] for text, size in _UNITS],
    }


def next_change() -> datetime | None:
    """When the first of the words said so far in this request would be others, at the earliest in a minute."""
    return memory().next_change


def _passes(at: datetime, now: datetime) -> None:
    """Note when words for this distance will not be right any more. What is due in less than a minute is then due."""
    if not has_request_context():
        return
    seconds = (at - now).total_seconds()
    unit = _unit(abs(seconds))
    left = seconds % unit or unit
    change = now + (timedelta(seconds=seconds) if 0 < seconds < 60 else max(timedelta(seconds=left), OFTENEST))
    memory().next_change = min(change, next_change() or change)


def _unit(seconds: float) -> int:
    """The smallest unit in which such a length is told."""
    sizes = [size for _text, size in _UNITS]
    largest = next((index for index, size in enumerate(sizes) if seconds >= size), len(sizes) - 1)
    return sizes[largest if seconds // sizes[largest] > 9 else min(largest + 1, len(sizes) - 1)]


def _iso(at: datetime) -> str:
    return at.isoformat(timespec="seconds")


def _parts(seconds: int) -> list[tuple[int, str]]:
    parts: list[tuple[int, str]] = []
    for unit, size in _UNITS:
        amount, seconds = divmod(seconds, size)
        if amount or parts:
            parts.append((amount, unit))
    return parts or [(0, _UNITS[-1][0])]


def _said(parts: list[tuple[int, str]]) -> str:
    told = [(amount, text) for amount, text in parts if amount] or parts[-1:]
    return " ".join(_(text, count=number(amount)) for amount, text in told)
