"""Which route a run takes out of a step."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

from .kinds import kind
from .paths import MISSING, lookup
from .spec import Condition, Route


class ConditionError(ValueError):
    """A value of the state cannot be compared with what a condition names. `path` is where it stands."""

    def __init__(self, condition: Condition, found: Any) -> None:
        self.path = ".".join(condition.path)
        wanted = condition.operator.replace("_", " ")
        super().__init__(
            f"The condition on {self.path} compares with {kind(condition.value)} ({wanted} {condition.value}), "
            f"but the state holds {kind(found)} there. Let the step return a value of the same kind."
        )


def choose(routes: Sequence[Route], state: Mapping[str, Any]) -> Route | None:
    """The first route whose condition holds, else the one without a condition, else None.

    Raises ConditionError where a value cannot be compared.
    """
    for route in routes:
        if route.condition is not None and _holds(route.condition, state):
            return route
    return next((route for route in routes if route.condition is None), None)


def keys(routes: Iterable[Route]) -> frozenset[str]:
    """The top-level names of the state that the conditions read."""
    return frozenset(route.condition.path[0] for route in routes if route.condition is not None)


def _holds(condition: Condition, state: Mapping[str, Any]) -> bool:
    found = lookup(state, condition.path)
    if found is MISSING:
        return False
    if condition.operator == "equals":
        return _same(found, condition.value)
    left, right = _ordered(found, condition)
    return bool(left > right) if condition.operator == "greater_than" else bool(left < right)


def _same(found: Any, wanted: Any) -> bool:
    number = as_number(wanted)
    if number is not None:
        return number == _as_decimal(found)
    if isinstance(wanted, Mapping) and isinstance(found, Mapping):
        return wanted.keys() == found.keys() and all(_same(found[key], wanted[key]) for key in wanted)
    if isinstance(wanted, list) and isinstance(found, list):
        return len(wanted) == len(found) and all(map(_same, found, wanted))
    return type(found) is type(wanted) and bool(found == wanted)


def _ordered(found: Any, condition: Condition) -> tuple[Any, Any]:
    number = as_number(condition.value)
    left, right = (found, condition.value) if number is None else (_as_decimal(found), number)
    if left is None or type(left) is not type(right):
        raise ConditionError(condition, found)
    return left, right


def as_number(value: Any) -> Decimal | None:
    """A number as a decimal; None for anything else, true and false included."""
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal)):
        return None
    return Decimal(str(value))


def _as_decimal(found: Any) -> Decimal | None:
    """A number of the state, where decimals are kept as text."""
    if not isinstance(found, str):
        return as_number(found)
    try:
        number = Decimal(found)
    except InvalidOperation:
        return None
    return number if number.is_finite() else None
