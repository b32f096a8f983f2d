"""Readers meet sentences, never the words by which the engine knows its states."""

from __future__ import annotations

import re
from collections.abc import Iterator

from flask_squidmesh.config import ACTIONS
from flask_squidmesh.dashboard.text import audit_text
from flask_squidmesh.dashboard.text.explanation_text import REASONS
from flask_squidmesh.queries.operator_status import OPERATOR_WORDS
from tests.web import tour
from tests.web.visiting import Visitor, text_of

CODES = {each for each in (*REASONS, *audit_text.TYPES, *ACTIONS, *OPERATOR_WORDS) if "_" in each}


def read(visitor: Visitor) -> Iterator[tuple[str, str]]:
    """Every page's address and what can be read there, data aside."""
    for path in tour.pages(tour.furnish(visitor.app)):
        page = visitor.get(path).text
        yield path, text_of(re.sub(r"<pre\b.*?</pre>", " ", page, flags=re.DOTALL))


def test_no_page_shows_a_code(visitor: Visitor) -> None:
    assert len(CODES) > 20
    for path, text in read(visitor):
        found = set(re.findall(r"[a-z]+(?:_[a-z]+)+", text))
        assert found & CODES == set(), path
        assert "None" not in text, path
