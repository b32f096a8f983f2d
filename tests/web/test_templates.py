"""What every template keeps to, and what a host may put in its place."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from jinja2 import ChoiceLoader, FileSystemLoader

from flask_squidmesh.dashboard.assets import TEMPLATES
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


@pytest.mark.parametrize("path", ["/", "/runs", "/help", "/nowhere"])
def test_the_host_may_change_blocks_of_every_page(hosted: Visitor, path: str) -> None:
    page = hosted.get(path).text
    assert '<link rel="stylesheet" href="/own.css">' in page
    assert page.index("Acme Ltd") < page.index('class="bar"') < page.index("Ask extension 12")
    assert "Times in" not in text_of(page)
    assert "<h1" in page
