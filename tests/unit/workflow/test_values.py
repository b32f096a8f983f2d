"""What becomes JSON and what is refused, with the place and the reason."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from types import MappingProxyType
from typing import Any, NamedTuple
from unittest.mock import MagicMock

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from flask_squidmesh.definition.values import ValueNotJsonError, fingerprint, step_output, to_json


class Colour(Enum):
    RED = "red"


class Line(BaseModel):
    sku: str = Field(serialization_alias="SKU")
    price: Decimal = Decimal("1.50")


@dataclass
class Box:
    lines: list[Line]
    weight: float = 0.5


def nested(depth: int) -> Any:
    return {} if depth == 0 else {"a": nested(depth - 1)}


def circular() -> Any:
    found: list[Any] = []
    found.append(found)
    return found


@pytest.mark.rule("json-one-serialiser")
@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (Decimal("1.10"), "1.10"),
        (date(2026, 1, 2), "2026-01-02"),
        (datetime(2026, 1, 2, 3, tzinfo=UTC), "2026-01-02T03:00:00Z"),
        (timedelta(minutes=1), "PT1M"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (Colour.RED, "red"),
        (b"abc", "abc"),
        ((1, {"a": (2,)}), [1, {"a": [2]}]),
        ({1: MappingProxyType({"x": Colour.RED})}, {"1": {"x": "red"}}),
        (Box([Line(sku="kettle")]), {"lines": [{"sku": "kettle", "price": "1.50"}], "weight": 0.5}),
        ("zażółć 🦑", "zażółć 🦑"),
    ],
)
def test_everything_that_pydantic_knows_becomes_json(value: Any, expected: Any) -> None:
    assert to_json(value) == expected


NOT_FINITE = "a number must be finite, found NaN or an infinity"


@pytest.mark.rule("json-refused", "output-json")
@pytest.mark.parametrize(
    ("value", "path", "reason"),
    [
        (float("nan"), "", NOT_FINITE),
        ({"a": [1, float("inf")]}, "a[1]", NOT_FINITE),
        ({"a": Decimal("NaN")}, "a", NOT_FINITE),
        (Decimal("sNaN"), "", NOT_FINITE),
        ({"x\0": {"a": b"\xff"}}, "'x\\x00'.a", "bytes must be UTF-8 text; encode others, in base64 for instance"),
        (Box([Line.model_construct(sku="k", price=Decimal("-Infinity"))]), "lines[0].price", NOT_FINITE),
        ({"a": {"b": "x\0y"}}, "a.b", "text must not hold the character U+0000"),
        ({"a": {"x\0y": 1}}, "a.(key)", "text must not hold the character U+0000"),
        (["\ud800"], "[0]", "text must not hold a lone surrogate"),
        ({"\udfff": 1}, "'\\udfff'", "text must not hold a lone surrogate"),
        ({"a": b"\xff"}, "a", "bytes must be UTF-8 text; encode others, in base64 for instance"),
        ({"a": 10**4000}, "a", "an integer must have less than 3000 digits"),
        (
            {"a": [object()]},
            "a[0]",
            "a object is not JSON; return text, numbers, lists, mappings, pydantic models or dataclasses of them",
        ),
        (circular(), "[0]", "Circular reference detected (id repeated)"),
    ],
)
def test_what_json_cannot_hold_is_refused_with_its_path(value: Any, path: str, reason: str) -> None:
    with pytest.raises(ValueNotJsonError) as caught:
        to_json(value)
    assert (caught.value.path, caught.value.reason) == (path, reason)


class Point(NamedTuple):
    x: int
    y: int


class Word(str):
    """Text that says something else of itself."""

    def __str__(self) -> str:
        return "another"


class Closed(dict[str, Any]):
    def items(self) -> Any:
        raise RuntimeError("closed")


class Lying:
    __class__ = dict  # type: ignore[assignment]


@dataclass
class Parcel:
    content: Any


NO_JSON = "return text, numbers, lists, mappings, pydantic models or dataclasses of them"


@pytest.mark.rule("output-json")
@pytest.mark.parametrize(
    ("value", "path", "reason"),
    [
        ({"a": {1: "x", "1": "y"}}, "a", "the keys 1 and '1' are one and the same in JSON"),
        ({"red": 1, Colour.RED: 2}, "", "the keys 'red' and <Colour.RED: 'red'> are one and the same in JSON"),
        ({"a": MagicMock()}, "a", "a MagicMock is not JSON; return text, numbers, lists or mappings of them"),
        ({"a": MagicMock(spec=dict)}, "a", "a MagicMock is not JSON; return text, numbers, lists or mappings of them"),
        ([Point(1, 2)], "[0]", "a namedtuple (Point) would lose its names; use its _asdict()"),
        ({"a": (each for each in "ab")}, "a", "a generator can be read only once; make a list of it"),
        (Parcel({"a": map(str, [1])}), "content.a", "a map can be read only once; make a list of it"),
        (Parcel(Lying()), "content", f"a Lying is not JSON; {NO_JSON}"),
        ({"a": Closed(b=1)}, "a", "it cannot be read (RuntimeError)"),
        (Closed(b=1), "", "it cannot be read (RuntimeError)"),
        ({"a": {Decimal("NaN")}}, "a[0]", NOT_FINITE),
        ({"a": nested(101)}, "a.a.a.a.a", "it exceeds the depth of 100 levels"),
        ({"a": {b"\xff": 1}}, "a.(bytes)", "bytes must be UTF-8 text; encode others, in base64 for instance"),
    ],
)
def test_what_would_be_kept_as_something_else_is_refused_with_its_path(value: Any, path: str, reason: str) -> None:
    with pytest.raises(ValueNotJsonError) as caught:
        to_json(value)
    assert (caught.value.path, caught.value.reason) == (path, reason)


def test_text_of_a_class_of_its_own_is_kept_as_text() -> None:
    found = to_json({Word("k"): Word("v")})
    assert isinstance(found, dict)
    assert (found, type(found["k"]), type(next(iter(found)))) == ({"k": "v"}, str, str)


def test_what_is_as_deep_as_it_may_be_is_kept() -> None:
    assert to_json(nested(100)) == nested(100)
    assert to_json(Parcel(nested(99))) == {"content": nested(99)}


@pytest.mark.rule("output-json")
@pytest.mark.parametrize("value", [MagicMock(), MagicMock(spec=dict), Lying(), Point(1, 2), map(str, [])])
def test_a_step_returns_none_of_these(value: Any) -> None:
    with pytest.raises(ValueNotJsonError, match=f"this one returned a ({type(value).__name__}|list)"):
        step_output(value)


@pytest.mark.rule("json-refused")
def test_a_value_that_is_too_deep_is_refused() -> None:
    with pytest.raises(ValueNotJsonError, match="depth"):
        to_json(nested(400))


def test_the_message_says_where() -> None:
    with pytest.raises(ValueNotJsonError, match=r"^The value at a\.b cannot be stored: a number must be finite"):
        to_json({"a": {"b": float("nan")}})


class Row(Mapping[str, Any]):
    def __getitem__(self, key: str) -> Any:
        return {"a": 1}[key]

    def __iter__(self) -> Any:
        return iter(["a"])

    def __len__(self) -> int:
        return 1


@pytest.mark.rule("output-kinds")
@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, {}),
        ({"a": 1}, {"a": 1}),
        (Row(), {"a": 1}),
        (Line(sku="k"), {"sku": "k", "price": "1.50"}),
        (Box([]), {"lines": [], "weight": 0.5}),
    ],
)
def test_a_step_returns_a_mapping_of_some_kind_or_none(value: Any, expected: dict[str, Any]) -> None:
    assert step_output(value) == expected


@pytest.mark.parametrize(
    ("value", "kind"),
    [(3, "a number"), (True, "true or false"), ("text", "text"), ([{"a": 1}], "a list"), (Box, "a type")],
)
def test_a_step_that_returns_something_else_is_told_so(value: Any, kind: str) -> None:
    with pytest.raises(ValueNotJsonError) as caught:
        step_output(value)
    assert caught.value.reason == (
        f"a step returns a mapping, a pydantic model, a dataclass or None, but this one returned {kind}"
    )


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="ascii", min_codepoint=1)), inner),
    max_leaves=20,
)


@given(JSON)
def test_plain_json_stays_as_it_is(value: Any) -> None:
    assert to_json(value) == value


@pytest.mark.rule("names-stay-text")
@given(st.recursive(st.floats() | st.text() | st.decimals() | st.binary(), lambda inner: st.lists(inner), max_leaves=8))
def test_what_is_accepted_survives_the_database(value: Any) -> None:
    try:
        plain = to_json(value)
    except ValueNotJsonError:
        return
    text = json.dumps(plain, allow_nan=False, ensure_ascii=False)
    assert json.loads(text.encode().decode()) == plain
    assert "\\u0000" not in text


@given(st.dictionaries(st.text(st.characters(codec="ascii", min_codepoint=1)), st.integers(), min_size=2))
def test_a_fingerprint_does_not_depend_on_the_order_of_keys(value: dict[str, int]) -> None:
    assert fingerprint(value) == fingerprint(dict(reversed(value.items())))


def test_fingerprints_of_different_values_differ() -> None:
    values = [{}, {"a": 1}, {"a": "1"}, {"a": True}, {"a": None}, [], [1], None, "", 0]
    assert len({fingerprint(value) for value in values}) == len(values)
