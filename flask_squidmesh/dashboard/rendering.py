"""The pages' templates, rendered in an environment of our own, whatever the host has set for its own templates."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterator, Mapping, MutableMapping
from functools import cache
from types import CodeType
from typing import Any, cast

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
from werkzeug.local import LocalProxy

from .access import Dashboard
from .assets import TEMPLATES
from .frame import frame
from .request_memory import memory

OURS = "squidmesh/"
_FLASK: Mapping[str, Any] = {
    "url_for": url_for,
    "get_flashed_messages": get_flashed_messages,
    "request": request,
    "session": session,
    "g": g,
    "config": LocalProxy(lambda: current_app.config),
}


def render(name: str, /, **values: Any) -> str:
    """The page or part of that name, in the frame of every page. values: what else the template is told."""
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
    template, context = _environment().get_template(OURS + name), {**frame(), **values}
    told: dict[str, Any] = {"template": template, "context": dict(context)}
    before_render_template.send(app, _async_wrapper=app.ensure_sync, **told)
    text = template.render(context)
    template_rendered.send(app, _async_wrapper=app.ensure_sync, **told)
    return text


class _Hosts(Mapping[str, Any]):
    """What the host's context processors and the globals of its templates say, asked once a request at first need."""

    def __getitem__(self, name: str) -> Any:
        return self._names()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names())

    def __len__(self) -> int:
        return len(self._names())

    def _names(self) -> Mapping[str, Any]:
        known = memory()
        if "host_names" not in known:
            processed: dict[str, Any] = {}
            current_app.update_template_context(processed)
            known["host_names"] = ChainMap(processed, current_app.jinja_env.globals)
        return cast(Mapping[str, Any], known["host_names"])


class _Context(Context):
    """The names of a page. A template of the host's finds its own names too, unless one of ours goes by that name."""

    def resolve_or_missing(self, key: str) -> Any:
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
