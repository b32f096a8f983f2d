"""Paths, conditions and templates: what a workflow's author says about the state of its runs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from string import Formatter
from typing import Any, Final

from .spec import Condition, Path, Route
from .values import kind

MISSING: Final = object()


def parse(path: Any) -> Path | None:
    """A path from its text or its parts; None for anything that is not one."""
    parts = tuple(path.split(".")) if isinstance(path, str) else path
    if not isinstance(parts, (tuple, list)) or not parts:
        return None
    return tuple(parts) if all(isinstance(part, str) and part.strip() for part in parts) else None


def lookup(state: Mapping[str, Any], path: Path) -> Any:
    """The value at the path, or MISSING."""
    value: Any = state
    for part in path:
        if not isinstance(value, Mapping) or part not in value:
            return MISSING
        value = value[part]
    return value


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


_ABSENT = "–"
_HIDDEN = "[redacted]"
_LONGEST = 500


def problems(template: Any) -> list[str]:
    """What is wrong with a template, one clause each; empty if nothing is."""
    if not isinstance(template, str) or not template.strip():
        return [f"must be non-empty text, found {template!r}"]
    try:
        fields = list(Formatter().parse(template))
    except ValueError as error:
        return [f"has unmatched braces ({error}); write {{name}}, or {{{{ and }}}} for braces themselves"]
    return [
        f"holds {{{name}{_suffix(spec, conversion)}}}; only plain top-level names can be in braces, as {{order_id}}"
        for _, name, spec, conversion in fields
        if name is not None and (not name.isidentifier() or spec or conversion)
    ]


def _suffix(spec: str | None, conversion: str | None) -> str:
    return (f"!{conversion}" if conversion else "") + (f":{spec}" if spec else "")


def names(template: str) -> frozenset[str]:
    """The names a template needs."""
    return frozenset(name for _, name, _, _ in Formatter().parse(template) if name)


def render(template: str, values: Mapping[str, Any], hides: Callable[[str], bool] = lambda name: False) -> str:
    """The template with its names replaced, a missing or null one by "–", cut to 500 characters.

    hides: whether what stands under a name, at any depth, is not to be shown.
    """
    text = "".join(
        literal + (_shown(_revealed(name, values.get(name), hides)) if name is not None else "")
        for literal, name, _, _ in Formatter().parse(template)
    )
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _revealed(name: str, value: Any, hides: Callable[[str], bool]) -> Any:
    if value is None:
        return None
    if hides(name):
        return _HIDDEN
    match value:
        case Mapping():
            return {key: _revealed(str(key), item, hides) for key, item in value.items()}
        case list() | tuple():
            return [_revealed(name, item, hides) for item in value]
        case _:
            return value


def _shown(value: Any) -> str:
    if value is None:
        return _ABSENT
    try:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    except (TypeError, ValueError, RecursionError):
        return _ABSENT
    return "".join(character if character.isprintable() else " " for character in text)
