"""What every page needs around its own content."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from math import ceil
from typing import Any
from zoneinfo import ZoneInfo

from flask import get_flashed_messages, request, url_for
from markupsafe import Markup
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.exceptions import HTTPException

from ..errors import SquidMeshError
from ..reading.views import Count
from ..runtime.runtime import current_runtime
from ..store.summaries import RunSummary
from ..workflow.tenants import NO_TENANT
from . import access, csrf, data, headers, parameters, static_files, times
from .actors import name_of
from .language import N_, _, current_language, in_english, number, plural
from .request_memory import memory

PAGES = (
    (".inbox", N_("Needs you"), "n", "list"),
    (".runs", N_("Runs"), "r", "list"),
    (".failures", N_("Failures"), "f", "list"),
    (".workflows", N_("Workflows"), "w", "list"),
    (".schedules", N_("Schedules"), "s", "list"),
    (".workers", N_("Workers"), "k", "list"),
    (".audit", N_("Audit"), "a", "audit"),
)
OF_ONE = ("run", "bulk")
SLOWER = {"workers": 10.0, "failures": 30.0, "workflows": 30.0, "workflow": 30.0, "schedules": 30.0}
THEMES = ("system", "light", "dark")
THEME_COOKIE, LIVE_COOKIE, ZONE_COOKIE = "squidmesh_theme", "squidmesh_live", "squidmesh_zone"
ZONES = ("own", "utc")
HTMX = {
    "includeIndicatorStyles": False,
    "allowEval": False,
    "allowScriptTags": False,
    "defaultSettleDelay": 0,
    "historyCacheSize": 0,
    "historyRestoreAsHxRequest": False,
    "refreshOnHistoryMiss": True,
    "timeout": 8000,
    "disableInheritance": True,
    "scrollBehavior": "auto",
    "responseHandling": [
        {"code": "204", "swap": False},
        {"code": "[23]..", "swap": True},
        {"code": "409|422", "swap": True},
        {"code": "[45]..", "swap": False, "error": True},
        {"code": "...", "swap": False},
    ],
}


@dataclass(frozen=True, slots=True)
class Item:
    """One link of the main navigation. key: what `g` and this letter lead to."""

    label: Markup
    address: str
    current: bool
    key: str
    counts: bool = False


@dataclass(frozen=True, slots=True)
class Pulse:
    """The poll of a page: what it asks for, how often, and the link that pauses it."""

    query: Mapping[str, Any]
    seconds: float
    toggle: str

    @property
    def address(self) -> str:
        """Where it asks. It says until when the words on the page are right, and so is taken once they are all said."""
        change = times.next_change()
        return parameters.address(".pulse", {}, {"until": change and ceil(change.timestamp()), **self.query})


def frame() -> dict[str, Any]:
    """The names that every template of ours may use."""
    runtime = current_runtime()
    settings, now = runtime.settings.dashboard, runtime.clock.now()
    return {
        "_": _,
        "plural": plural,
        "number": number,
        "in_english": in_english,
        "duration": times.duration,
        "settings": settings,
        "language": current_language(),
        "direction": "ltr",
        "asset": static_files.address,
        "nonce": headers.nonce(),
        "htmx_config": HTMX,
        "flashes": partial(get_flashed_messages, with_categories=True),
        "nav": _navigation(),
        "needs": needs(),
        "live": is_live(),
        "zone": zone().key,
        "other_zone": _other_zone(),
        "theme": _theme(),
        "themes": [("system", _("System")), ("light", _("Light")), ("dark", _("Dark"))],
        "token": csrf.token(),
        "no_forms": csrf.no_forms(),
        "actor": access.shown_actor() if not access.is_closed() else None,
        "name_of": name_of,
        "tenant_of": tenant_of,
        "here": request.script_root + request.full_path.rstrip("?"),
        "short": short,
        "clock": times.clock(now, zone()),
        "now": now.timestamp(),
        "time_words": times.words(),
        "ago": partial(times.stamp, zone=zone(), now=now),
        "exact": partial(times.stamp, zone=zone(), now=now, show="exact"),
        "took": partial(times.took, now=now),
    }


def tenant_of(run: RunSummary) -> str:
    """Whose the run is, for somebody who sees the runs of several; '' where that goes without saying."""
    tenants = access.current_scope().tenants
    return run.tenant if tenants is None or len(tenants) > 1 else NO_TENANT


def zone() -> ZoneInfo:
    """The zone in which times are shown: the host's, or UTC where the reader prefers it."""
    return ZoneInfo("UTC" if request.cookies.get(ZONE_COOKIE) == "utc" else _own_zone())


def _own_zone() -> str:
    return current_runtime().settings.dashboard.timezone


def _other_zone() -> tuple[str, str] | None:
    """What the reader may choose instead: the preference and the zone's name; None where there is only UTC."""
    if _own_zone() == "UTC":
        return None
    return ("utc", "UTC") if zone().key != "UTC" else ("own", _own_zone())


def due(due_at: datetime, now: datetime) -> Markup:
    """When a decision is due, or how long it has been."""
    if due_at <= now:
        return _("<b>overdue by {length}</b>", length=times.elapsed(due_at, now))
    return _("due {time}", time=times.stamp(due_at, zone(), now))


def version(*shown: object) -> str:
    """What a page shows, in short."""
    return hashlib.sha256(repr(shown).encode()).hexdigest()[:16]


def pulse(view: str, version: str, /, **values: Any) -> Pulse:
    """The poll of a page. version: what the page shows; the answer is empty as long as it and the title hold."""
    path, toggled = request.view_args or {}, {**request.args.to_dict(), "live": "0" if is_live() else "1"}
    return Pulse(
        query={**values, "view": view, "v": f"{version}-{needs()}"},
        seconds=_seconds(view),
        toggle=parameters.address(request.endpoint or ".inbox", path, toggled),
    )


def needs() -> int | None:
    """How many runs need a person, counted once a request; None where that can't be told, as on the page that says
    why."""
    known = memory()
    if "needs" not in known:
        try:
            known["needs"] = data.needs_count() if access.may("list") else None
        except (SQLAlchemyError, SquidMeshError, HTTPException):
            known["needs"] = None
    counted: int | None = known["needs"]
    return counted


def note_needs(counts: Mapping[str, Count]) -> None:
    """Keep for this request how many runs need a person, where a page has counted them anyway."""
    memory()["needs"] = sum(count.value for count in counts.values())


def _seconds(view: str) -> float:
    settings = current_runtime().config.dashboard
    return SLOWER.get(view, settings.poll_run if view in OF_ONE else settings.poll_list)


def is_live() -> bool:
    """Whether the reader wants pages to refresh by themselves: what the address says, else the cookie."""
    return request.args.get("live", request.cookies.get(LIVE_COOKIE, "1")) != "0"


def short(run_id: str) -> str:
    """Enough of a run's id to recognise it."""
    return f"{run_id[:13]}…{run_id[-4:]}"


def local_path(target: str | None) -> str | None:
    """The target if it is a path of this very site, else None."""
    if not target or not target.startswith("/") or target.startswith("//") or not target.isprintable():
        return None
    path = target.partition("?")[0].partition("#")[0]
    return None if "\\" in path else target  # browsers take it for a slash


def _navigation() -> list[Item]:
    return [
        Item(_(label), url_for(endpoint), _is_here(endpoint), key, counts=endpoint == ".inbox")
        for endpoint, label, key, right in PAGES
        if right == "list" or access.may(right)
    ]


def _is_here(endpoint: str) -> bool:
    return (request.endpoint or "").endswith(endpoint)


def _theme() -> str | None:
    chosen = request.cookies.get(THEME_COOKIE)
    return chosen if chosen in ("light", "dark") else None
