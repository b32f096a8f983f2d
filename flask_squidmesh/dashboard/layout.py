"""What every page has around its own content, and how its template is rendered."""

from __future__ import annotations

import hashlib
from collections import ChainMap
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass, fields
from datetime import datetime
from functools import cache, partial
from math import ceil
from types import CodeType
from typing import Any, cast
from zoneinfo import ZoneInfo

from flask import (
    Flask,
    before_render_template,
    current_app,
    g,
    get_flashed_messages,
    request,
    session,
    template_rendered,
    url_for,
)
from jinja2 import BaseLoader, Environment, FileSystemLoader, Template, TemplateNotFound, nodes
from jinja2.runtime import Context
from jinja2.utils import missing
from markupsafe import Markup
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.exceptions import HTTPException
from werkzeug.local import LocalProxy

from ..definition.tenants import NO_TENANT
from ..errors import SquidMeshError
from ..queries.frame_counts import FrameCounts
from ..queries.inbox import is_overdue
from ..queries.results import Count
from ..runtime.runtime import current_runtime
from ..storage.summaries import RunSummary
from . import authorization, endpoints, page_data, security_headers, static_files
from .authorization import Dashboard
from .endpoints import memory
from .static_files import TEMPLATES
from .text import times
from .text.command_text import option_label
from .text.explanation_text import name_of
from .text.language import N_, _, current_language, in_english, number, plural


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the dashboard: its first page, the others in it, the letter behind `g` that leads there, and the right
    to see it.
    """

    endpoint: str
    label: str
    key: str
    others: tuple[str, ...] = ()
    right: str = "list"


ACTING, BULK = ("act", "assign", "note"), ("bulk", "bulk_job", "bulk_jobs")
SECTIONS = (
    Section("inbox", N_("Needs you"), "n"),
    Section("runs", N_("Runs"), "r", ("failures", "run", *ACTING, "payload", "reveal", *BULK)),
    Section("workflows", N_("Workflows"), "w", ("workflow", "start", "schedules", "schedule")),
    Section("system", N_("System"), "s", ("events", "event", "send_event")),
    Section("audit", N_("Audit"), "a", right="audit"),
)
OF_ONE = ("run", "bulk")
SLOWER = {"system": 10.0, "failures": 30.0, "workflows": 30.0, "workflow": 30.0, "schedules": 30.0}
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
    "ignoreTitle": True,
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
class NavigationItem:
    """One link of the main navigation. current: "page" where it is the page that is shown, "true" where that is of the
    same section. key: what `g` and this letter lead to.
    """

    label: Markup
    address: str
    endpoint: str
    current: str | None
    key: str


@dataclass(frozen=True, slots=True)
class Tab:
    """One of the pages of a section, or one part of a page. count: how much there is, None where that is not told."""

    label: Markup
    address: str
    current: bool
    count: Count | None = None


@dataclass(frozen=True, slots=True)
class Pulse:
    """The poll of a page: what it asks for, how often, and the link that pauses it."""

    query: Mapping[str, object]
    seconds: float
    toggle: str

    @property
    def address(self) -> str:
        """Where it asks. It says until when the words on the page are right, and so is taken once they are all said."""
        change = times.next_change()
        return endpoints.address(".pulse", {}, {"until": change and ceil(change.timestamp()), **self.query})


def frame() -> dict[str, object]:
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
        "nonce": security_headers.nonce(),
        "htmx_config": HTMX,
        "flashes": partial(get_flashed_messages, with_categories=True),
        "nav": _navigation(),
        "only_tasks": _sees_only_tasks(),
        "run_tabs": run_tabs,
        "workflow_tabs": workflow_tabs,
        "system_tabs": system_tabs,
        "needs": needs(),
        "idle": nobody_works(),
        "live": is_live(),
        "zone": zone().key,
        "other_zone": _other_zone(),
        "theme": _theme(),
        "themes": [("system", _("System")), ("light", _("Light")), ("dark", _("Dark"))],
        "token": endpoints.token(),
        "no_forms": endpoints.no_forms(),
        "actor": authorization.shown_actor() if not authorization.is_closed() else None,
        "name_of": name_of,
        "option_label": option_label,
        "tenant_of": tenant_of,
        "here": request.script_root + request.full_path.rstrip("?"),
        "short": short,
        "clock": times.clock(now, zone()),
        "now": now.timestamp(),
        "time_words": times.words(),
        "ago": partial(times.stamp, zone=zone(), now=now),
        "moment": partial(times.moment, zone=zone(), now=now),
        "exact": partial(times.stamp, zone=zone(), now=now, show="exact"),
        "took": partial(times.took, now=now),
    }


def tenant_of(run: RunSummary) -> str:
    """Whose the run is, for somebody who sees the runs of several; '' where that goes without saying."""
    tenants = authorization.current_scope().tenants
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
    if is_overdue(due_at, now):
        return _("<b>overdue by {length}</b>", length=times.elapsed(due_at, now))
    return _("due {time}", time=times.stamp(due_at, zone(), now))


def version(*shown: object) -> str:
    """What a page shows, in short."""
    return hashlib.sha256(repr(shown).encode()).hexdigest()[:16]


def pulse(view: str, version: str, /, **values: object) -> Pulse:
    """The poll of a page. version: what the page shows; the answer is empty as long as it and the title hold."""
    path, toggled = request.view_args or {}, {**request.args.to_dict(), "live": "0" if is_live() else "1"}
    return Pulse(
        query={**values, "view": view, "v": f"{version}-{frame_version()}"},
        seconds=_seconds(view),
        toggle=endpoints.address(request.endpoint or ".inbox", path, toggled),
    )


def needs() -> int | None:
    """How many runs need a person; None where that can't be told, as on the page that says why."""
    counts = _counts()
    return counts.needing if counts else None


@dataclass(frozen=True, slots=True)
class NobodyWorks:
    """That no worker lives. due: how much work is due. command: what starts a worker."""

    due: Count
    command: str


def nobody_works() -> NobodyWorks | None:
    """What is told where no worker lives; None where one does, or where a queue of the host's own delivers the work,
    whose workers do not tell of themselves.
    """
    counts = _counts()
    if counts is None or counts.workers:
        return None
    command = configured_command()
    return NobodyWorks(counts.due, command) if command else None


def configured_command() -> str | None:
    """What starts a worker; None where that is the host's to know, or where the configuration lacks an executor."""
    try:
        return current_runtime().executor.worker_command
    except SquidMeshError:
        return None


def frame_version() -> str:
    """What the frame shows, in short: pages refresh once it changes."""
    idle = nobody_works()
    return f"{needs()}.{idle.due.value}" if idle else f"{needs()}"


def _counts() -> FrameCounts | None:
    """What every page tells; None where it can't be told, which is found out once."""
    known = memory()
    if known.is_uncounted:
        return None
    try:
        if authorization.may("list") or authorization.may("tasks"):
            return page_data.counts_for_frame()
    except (SQLAlchemyError, SquidMeshError, HTTPException):
        pass
    known.is_uncounted = True
    return None


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


def _navigation() -> list[NavigationItem]:
    here = (request.endpoint or "").rpartition(".")[2]
    return [
        NavigationItem(
            label=_(each.label),
            address=url_for(f".{each.endpoint}"),
            endpoint=each.endpoint,
            current="page" if here == each.endpoint else "true" if here in each.others else None,
            key=each.key,
        )
        for each in SECTIONS
        if _is_open(each)
    ]


def _is_open(section: Section) -> bool:
    """Whether the person may see it; who may only see their tasks sees those alone."""
    if section.right == "list":
        return section.endpoint == "inbox" or not _sees_only_tasks()
    return authorization.may(section.right)


def _sees_only_tasks() -> bool:
    """Whether the person may see their tasks and list no runs."""
    return not authorization.may("list") and authorization.may("tasks")


def run_tabs() -> list[Tab]:
    """The pages about many runs."""
    pages = [("runs", _("All")), ("failures", _("Failures"))]
    if authorization.may("bulk"):
        pages.append(("bulk_jobs", _("Actions on many")))
    return _tabs(pages)


def workflow_tabs() -> list[Tab]:
    """The pages about all workflows."""
    return _tabs([("workflows", _("List")), ("schedules", _("Schedules"))])


def system_tabs() -> list[Tab]:
    """The pages about what the app runs on, and what it hears."""
    return _tabs([("system", _("Workers and queues")), ("events", _("Events"))])


def _tabs(pages: Iterable[tuple[str, Markup]]) -> list[Tab]:
    here = (request.endpoint or "").rpartition(".")[2]
    return [Tab(label, url_for(f".{endpoint}"), endpoint == here) for endpoint, label in pages]


def _theme() -> str | None:
    chosen = request.cookies.get(THEME_COOKIE)
    return chosen if chosen in ("light", "dark") else None


OURS = "squidmesh/"
_FLASK: Mapping[str, object] = {
    "url_for": url_for,
    "get_flashed_messages": get_flashed_messages,
    "request": request,
    "session": session,
    "g": g,
    "config": LocalProxy(lambda: current_app.config),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateContext:
    """Base of what a template is told: its fields are names there."""

    def names(self) -> dict[str, object]:
        """The fields by their names, as they stand."""
        return {each.name: getattr(self, each.name) for each in fields(self)}


def render(name: str, page: TemplateContext | None = None, /, **values: object) -> str:
    """The page or part of that name, in the frame of every page. page, values: what else the template is told."""
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
    template = _environment().get_template(OURS + name)
    context = {**frame(), **(page.names() if page else {}), **values}
    told: dict[str, Any] = {"template": template, "context": dict(context)}
    before_render_template.send(app, _async_wrapper=app.ensure_sync, **told)
    text = template.render(context)
    template_rendered.send(app, _async_wrapper=app.ensure_sync, **told)
    return text


class _Hosts(Mapping[str, object]):
    """What the host's context processors and the globals of its templates say, asked once a request at first need."""

    def __getitem__(self, name: str) -> object:
        return self._names()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names())

    def __len__(self) -> int:
        return len(self._names())

    def _names(self) -> Mapping[str, object]:
        known = memory()
        if known.host_names is None:
            processed: dict[str, object] = {}
            current_app.update_template_context(processed)
            known.host_names = ChainMap(processed, current_app.jinja_env.globals)
        return known.host_names


class _Context(Context):
    """The names of a page. A template of the host's finds its own names too, unless one of ours goes by that name."""

    def resolve_or_missing(self, key: str) -> object:
        found = super().resolve_or_missing(key)
        if found is not missing or not cast(_Environment, self.environment).is_hosted or key in _names_of_ours():
            return found
        return _Hosts().get(key, missing)


class _Loader(BaseLoader):
    """Finds a template with the host first, which may replace ours, and then with us."""

    def load(self, environment: Environment, name: str, globals: MutableMapping[str, Any] | None = None) -> Template:
        host, given = current_app.jinja_env, {} if globals is None else globals
        try:
            source, path, is_current = cast(BaseLoader, host.loader).get_source(host, name)
            code = environment.compile(source, name, path)
            cast(_Environment, environment).is_hosted = True
        except TemplateNotFound:
            source, path, is_current = _of_ours().get_source(environment, name)
            code = _compiled(source, name, path)
        return Template.from_code(environment, code, given, is_current)


@cache
def _compiled(source: str, name: str, path: str) -> CodeType:
    """A template of ours, which comes out the same in every app, compiled once a process."""
    return Environment(autoescape=True).compile(source, name, path)


class _Environment(Environment):
    """Ordinary Jinja with all text escaped. Filters, tests and globals of the host's come behind those of Jinja."""

    is_hosted = False
    context_class = _Context

    def __init__(self, host: Environment) -> None:
        super().__init__(loader=_Loader(), autoescape=True, auto_reload=host.auto_reload)
        self.globals.update(_FLASK, host=_Hosts())
        self.filters = cast(dict[str, Any], ChainMap(self.filters, host.filters))
        self.tests = cast(dict[str, Any], ChainMap(self.tests, host.tests))


def _environment() -> Environment:
    """That of the mount that answers, so that a template is compiled once for it."""
    mount = cast(Dashboard, current_app.blueprints[request.blueprint or ""])
    if mount.templates is None:
        mount.templates = _Environment(current_app.jinja_env)
    return mount.templates


@cache
def _of_ours() -> FileSystemLoader:
    return FileSystemLoader(TEMPLATES)


@cache
def _names_of_ours() -> frozenset[str]:
    """Every name that our templates use: some are left out on some pages, and must not be found with the host then."""
    plain = Environment()
    sources = (_of_ours().get_source(plain, name)[0] for name in _of_ours().list_templates())
    return frozenset(node.name for source in sources for node in plain.parse(source).find_all(nodes.Name))
