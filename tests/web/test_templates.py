"""What every template keeps to, and what a host may put in its place."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, template_rendered
from jinja2 import ChoiceLoader, DictLoader, FileSystemLoader, StrictUndefined
from jinja2.ext import Extension

from flask_squidmesh.dashboard.static_files import TEMPLATES
from tests.web.shop import CANARY, Checkout, make_app, mesh_of, start
from tests.web.tour import Nightly, Payment, furnish, pages
from tests.web.visiting import Visitor, text_of

STACKED = sorted(path for path in TEMPLATES.rglob("*.html") if re.search(r"<td[ >]", path.read_text()))
OWN_LAYOUT = """{% extends "squidmesh/skeleton.html" %}
{% block head %}<link rel="stylesheet" href="/own.css">{% endblock %}
{% block bar %}<p>Acme Ltd</p>{{ super() }}{% endblock %}
{% block footer %}<footer>Ask extension 12</footer>{% endblock %}
"""


@pytest.mark.parametrize("template", STACKED, ids=lambda path: path.name)
def test_cells_that_a_phone_stacks_keep_their_headings(template: Path) -> None:
    for row in re.findall(r"<tr(?! ?>\{% for heading).*?</tr>", template.read_text(), re.DOTALL):
        _first, *others = re.findall(r"<td[^>]*>", row) or [""]
        bare = [cell for cell in others if "data-label" not in cell and "wide" not in cell]
        assert bare == []


@pytest.fixture
def hosted(visitor: Visitor, tmp_path: Path) -> Visitor:
    """With a template of the host's own in place of our layout, found as Flask finds a host's templates: first."""
    (tmp_path / "squidmesh").mkdir()
    (tmp_path / "squidmesh" / "layout.html").write_text(OWN_LAYOUT)
    own = FileSystemLoader(tmp_path)
    visitor.app.jinja_loader = ChoiceLoader([own])
    return visitor


@pytest.mark.rule("layout")
@pytest.mark.parametrize("path", ["/", "/runs", "/help", "/nowhere"])
def test_the_host_may_change_blocks_of_every_page(hosted: Visitor, path: str) -> None:
    page = hosted.get(path).text
    assert '<link rel="stylesheet" href="/own.css">' in page
    assert page.index("Acme Ltd") < page.index('class="bar"') < page.index("Ask extension 12")
    assert "Times in" not in text_of(page)
    assert "<h1" in page


class Shouting(Extension):
    """Changes every template that it sees."""

    def preprocess(self, source: str, name: str | None, filename: str | None = None) -> str:
        return source.upper()


def _options(**options: Any) -> Callable[[Flask], None]:
    return lambda app: setattr(app, "jinja_options", options)


def _names(app: Flask) -> None:
    names = ("url_for", "_", "needs", "pulse", "swapped", "drawing", "events", "problem", "token", "config", "range")
    app.context_processor(lambda: dict.fromkeys(names, CANARY))
    app.jinja_env.globals.update(dict.fromkeys((*names, "prompt", "actor", "loop"), CANARY))


def _filters(app: Flask) -> None:
    names = ("length", "join", "tojson", "truncate", "default", "escape")
    app.jinja_env.filters.update(dict.fromkeys(names, lambda *_given: CANARY))
    app.jinja_env.tests.update(dict.fromkeys(("none", "defined", "eq"), lambda *_given: False))


def _files(app: Flask) -> None:
    app.jinja_loader = DictLoader(dict.fromkeys(("base.html", "run.html", "layout.html", "skeleton.html"), CANARY))


def _no_escaping(app: Flask) -> None:
    app.select_jinja_autoescape = lambda filename: False  # type: ignore[method-assign]


HOSTS: dict[str, Callable[[Flask], None]] = {
    "delimiters": _options(
        block_start_string="<%", block_end_string="%>", variable_start_string="<<", variable_end_string=">>"
    ),
    "hash as comment": _options(comment_start_string="<h1", comment_end_string="</h1>"),
    "line statements": _options(line_statement_prefix="<", line_comment_prefix="  "),
    "white space": _options(trim_blocks=True, lstrip_blocks=True, newline_sequence="\r\n"),
    "strict names": _options(undefined=StrictUndefined),
    "no escaping": _options(autoescape=False),
    "no escaping by name": _no_escaping,
    "a say on every value": _options(finalize=lambda value: CANARY),
    "an extension": _options(extensions=[Shouting]),
    "our names": _names,
    "other filters": _filters,
    "files of our names": _files,
}


def _readable(page: str) -> str:
    """The page without the fields of its forms, which are made anew each time."""
    return re.sub(r'value="[^"]*"', "", page)


class Stopped:
    """A clock that stands still."""

    def __init__(self, at: datetime) -> None:
        self._at = at
        self.offset = at - datetime.now(UTC)

    def now(self) -> datetime:
        return self._at


@pytest.fixture
def furnished(migrated_sqlite_url: str) -> tuple[Visitor, dict[str, str]]:
    """Pages of all kinds, and the runs on them."""
    app = make_app(migrated_sqlite_url)
    ids = furnish(app)
    ids["hostile"] = start(app, Checkout, "<script>alert(1)</script>")
    clock = app.extensions["squidmesh"].clock
    clock.source = Stopped(clock.now())
    return Visitor(app), ids


def _beside(visitor: Visitor, url: str, change: Callable[[Flask], None]) -> Visitor:
    """An app of the same moment and database whose host has settings of its own for templates."""
    app = make_app(url)
    mesh_of(app).register(Nightly, Payment)
    change(app)
    app.extensions["squidmesh"].clock.source = visitor.app.extensions["squidmesh"].clock.source
    return Visitor(app)


def test_no_setting_of_the_host_for_its_own_templates_changes_a_page(
    furnished: tuple[Visitor, dict[str, str]], migrated_sqlite_url: str
) -> None:
    visitor, ids = furnished
    addresses = ["/", "/runs", f"/runs/{ids['hostile']}", f"/runs/{ids['hostile']}/reject", "/nowhere"]
    plain = {address: _readable(visitor.get(address).text) for address in addresses}
    for name, change in HOSTS.items():
        other = _beside(visitor, migrated_sqlite_url, change)
        for address in addresses:
            assert _readable(other.get(address).text) == plain[address], (name, address)


def test_all_such_settings_at_once_change_no_page_at_all(
    furnished: tuple[Visitor, dict[str, str]], migrated_sqlite_url: str
) -> None:
    def everything(app: Flask) -> None:
        _options(undefined=StrictUndefined, autoescape=False, variable_start_string="<<", extensions=[Shouting])(app)
        for change in (_names, _filters, _files, _no_escaping):
            change(app)

    visitor, ids = furnished
    other = _beside(visitor, migrated_sqlite_url, everything)
    for address in pages(ids):
        before, now = visitor.get(address), other.get(address)
        assert (now.status_code, _readable(now.text)) == (before.status_code, _readable(before.text)), address


LAYOUT_WITH_NAMES = """{% extends "squidmesh/skeleton.html" %}
{% from "macros.html" import badge %}
{% block bar %}{{ badge(company|shout) }} {{ host.nav }} {{ tax }} {{ request.path }} {{ url_for("squidmesh.runs") }}
{% if company is loud %}loud{% endif %} {% include "imprint.html" %} {{ super() }}{% endblock %}
"""


def test_the_hosts_layout_has_the_hosts_own_names(visitor: Visitor) -> None:
    app = visitor.app
    app.jinja_loader = DictLoader(
        {
            "squidmesh/layout.html": LAYOUT_WITH_NAMES,
            "macros.html": "{% macro badge(text) %}<b>{{ text }}</b>{% endmacro %}",
            "imprint.html": "by {{ company }}",
        }
    )
    app.context_processor(lambda: {"company": "acme <&>", "nav": "their own", "settings": None, "pulse": CANARY})
    app.add_template_filter(str.upper, "shout")
    app.add_template_test(lambda text: "&" in text, "loud")
    app.jinja_env.globals["tax"] = 19
    start(app, Checkout, "7")
    for path in ("/", "/help", "/nowhere"):
        page = visitor.get(path).text
        assert "<b>ACME &lt;&amp;&gt;</b> their own 19 /squidmesh" in page
        assert re.search(r"/squidmesh/runs\s+loud by acme &lt;&amp;&gt;", page)
        assert 'class="bar"' in page
        assert CANARY not in page


def test_context_processors_of_the_host_run_only_for_a_layout_of_its_own(visitor: Visitor) -> None:
    asked: list[str] = []

    def greeting() -> dict[str, str]:
        asked.append("greeting")
        return {"greeting": "Hello"}

    visitor.app.context_processor(greeting)
    visitor.read("/")
    assert asked == []


def test_whoever_listens_to_templates_hears_of_ours_and_cannot_change_them(visitor: Visitor) -> None:
    heard: list[str] = []

    def listen(_app: Flask, template: Any, context: dict[str, Any], **_more: Any) -> None:
        heard.append(template.name)
        context.clear()

    with template_rendered.connected_to(listen, visitor.app):
        assert "Needs you" in visitor.read("/")
    assert heard == ["squidmesh/inbox.html"]
