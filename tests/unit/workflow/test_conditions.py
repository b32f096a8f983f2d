"""Which route is taken."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_squidmesh.definition.spec import Condition, Route
from flask_squidmesh.definition.state_expressions import ConditionError, choose, keys


def condition(operator: Any, value: Any, path: tuple[str, ...] = ("x",)) -> Condition:
    return Condition(path=path, operator=operator, value=value)


def holds(operator: str, value: Any, state: dict[str, Any]) -> bool:
    return choose([Route(target="yes", condition=condition(operator, value))], state) is not None


@pytest.mark.rule("when-numbers")
@pytest.mark.parametrize(
    ("wanted", "found", "expected"),
    [
        ("auto", "auto", True),
        ("auto", "Auto", False),
        (1, 1.0, True),
        (0.1, "0.10", True),
        (Decimal("0.1"), 0.1, True),
        (10, "ten", False),
        (10, "NaN", False),
        ("10", 10, False),
        (True, True, True),
        (True, 1, False),
        (1, True, False),
        (None, None, True),
        (None, 0, False),
        (0, None, False),
        ([1, {"a": 2}], [1.0, {"a": "2"}], True),
        ([1], [1, 2], False),
        ({"a": 1}, {"a": 1, "b": 2}, False),
        ({"a": 1}, [1], False),
    ],
)
def test_equality(wanted: Any, found: Any, expected: bool) -> None:
    assert holds("equals", wanted, {"x": found}) is expected


@pytest.mark.parametrize(
    ("operator", "wanted", "found", "expected"),
    [
        ("greater_than", 10, 10, False),
        ("greater_than", 10, "10.01", True),
        ("greater_than", Decimal("0.3"), 0.1 + 0.2, True),
        ("greater_than", 0.3, 0.3, False),
        ("less_than", 100, 99.5, True),
        ("less_than", 9, "10", False),
        ("less_than", "2026-02-01", "2026-01-31", True),
        ("greater_than", "b", "a", False),
    ],
)
def test_order(operator: str, wanted: Any, found: Any, expected: bool) -> None:
    assert holds(operator, wanted, {"x": found}) is expected


@pytest.mark.rule("when-missing-path")
@pytest.mark.parametrize("operator", ["equals", "greater_than", "less_than"])
@pytest.mark.parametrize("state", [{}, {"y": {}}, {"y": 3}, {"y": [1]}])
def test_a_missing_path_is_false(operator: str, state: dict[str, Any]) -> None:
    route = Route(target="yes", condition=condition(operator, 3, ("y", "z")))
    assert choose([route], state) is None


@pytest.mark.rule("when-incomparable")
@pytest.mark.parametrize(
    ("wanted", "found", "words"),
    [
        (10, "ten", "a number (greater than 10), but the state holds text"),
        (10, True, "a number (greater than 10), but the state holds true or false"),
        (10, None, "a number (greater than 10), but the state holds null"),
        (10, [1], "a number (greater than 10), but the state holds a list"),
        ("a", 3, "text (greater than a), but the state holds a number"),
    ],
)
def test_what_cannot_be_compared_fails_clearly(wanted: Any, found: Any, words: str) -> None:
    with pytest.raises(ConditionError) as caught:
        holds("greater_than", wanted, {"x": found})
    assert str(caught.value) == (
        f"The condition on x compares with {words} there. Let the step return a value of the same kind."
    )


@pytest.mark.rule("when-first")
def test_the_first_match_wins_then_the_fallback_wherever_it_stands() -> None:
    fallback = Route(target="fallback")
    low = Route(target="low", condition=condition("less_than", 10))
    lower = Route(target="lower", condition=condition("less_than", 5))
    routes = [fallback, low, lower]
    assert choose(routes, {"x": 1}) is low
    assert choose(routes, {"x": 20}) is fallback
    assert choose(routes, {}) is fallback
    assert choose([low, lower], {"x": 20}) is None
    assert choose([], {"x": 20}) is None


def test_keys_are_the_top_level_names() -> None:
    routes = [Route(target="a"), Route(target="b", condition=condition("equals", 1, ("routing", "decision")))]
    assert keys(routes) == {"routing"}


@pytest.mark.rule("when-numbers")
@given(st.decimals(allow_nan=False, allow_infinity=False), st.decimals(allow_nan=False, allow_infinity=False))
def test_numbers_have_one_order(left: Decimal, right: Decimal) -> None:
    outcomes = [holds(operator, right, {"x": str(left)}) for operator in ("less_than", "equals", "greater_than")]
    assert outcomes == [left < right, left == right, left > right]
