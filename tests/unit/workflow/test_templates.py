"""Texts with names in braces."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_squidmesh.definition.state_expressions import names, paths, people_problems, problems, render


class Strange:
    def __str__(self) -> str:
        raise ValueError("no text")


@pytest.mark.rule("templates")
@pytest.mark.parametrize(
    ("template", "values", "expected"),
    [
        ("Order {order_id}", {"order_id": "o-1"}, "Order o-1"),
        ("{a}{b}", {"a": None}, "––"),
        ("{{{a}}}", {"a": 1.5}, "{1.5}"),
        ("{a} {b}", {"a": True, "b": {"k": ["ü"]}}, 'true {"k": ["ü"]}'),
        ("{a}", {"a": "x\ny\0z\u202e"}, "x y z "),
        ("{a}", {"a": "{b}", "b": "never"}, "{b}"),
        ("{a}", {"a": Strange()}, "–"),
        ("{a}", {"a": {1, 2}}, '"{1, 2}"'),
        ("no names", {}, "no names"),
    ],
)
def test_rendering(template: str, values: dict[str, Any], expected: str) -> None:
    assert render(template, values) == expected


def test_a_long_text_is_cut() -> None:
    assert render("{a}", {"a": "x" * 500}) == "x" * 500
    assert render("{a}", {"a": "x" * 501}) == "x" * 499 + "…"


def test_names() -> None:
    assert names("{a} {{b}} {c}{a}") == {"a", "c"}


def test_names_of_people_are_paths() -> None:
    assert paths("{a.b} {{c}} {d}{a.b}") == (("a", "b"), ("d",))
    assert people_problems("{a.b} {{c}} {d}") == []


def test_a_text_that_cannot_be_stored_is_refused() -> None:
    refused = ["cannot be stored: text must not hold the character U+0000"]
    assert problems("Order \0 {a}") == people_problems("\0") == refused


@given(st.text())
def test_what_names_people_without_problems_can_be_read(template: str) -> None:
    if not people_problems(template):
        assert all(all(part.isidentifier() for part in path) for path in paths(template))


@given(st.text())
def test_a_template_without_problems_can_be_rendered(template: str) -> None:
    if not problems(template):
        assert len(render(template, dict.fromkeys(names(template), 1))) <= 500


@pytest.mark.rule("templates")
@given(st.text())
def test_a_value_is_never_read_as_a_template(value: str) -> None:
    assert len(render("{a}", {"a": value})) == min(len(value), 500)
