"""Paths, conditions and templates: what a workflow's author says about the state of its runs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from string import Formatter
from typing import Final

from .spec import Condition, Path, Route
from .values import JsonObject, fault, is_storable, kind

MISSING: Final = object()


def parse(path: object) -> Path | None:
    """A path from its text or its parts; None for anything that is not one."""
    parts = tuple(path.split(".")) if isinstance(path, str) else path
    if not isinstance(parts, (tuple, list)) or not parts:
        return None
    return tuple(parts) if all(isinstance(part, str) and part.strip() and is_storable(part) for part in parts) else None


def lookup(state: JsonObject, path: Path) -> object:
    """The value at the path, or MISSING."""
    value: object = state
    for part in path:
        if not isinstance(value, Mapping) or part not in value:
            return MISSING
        value = value[part]
    return value


class ConditionError(ValueError):
    """A value of the state cannot be compared with what a condition names. `path` is where it stands."""

    def __init__(self, condition: Condition, found: object) -> None:
        self.path = ".".join(condition.path)
        wanted = condition.operator.replace("_", " ")
        super().__init__(
            f"The condition on {self.path} compares with {kind(condition.value)} ({wanted} {condition.value}), "
            f"but the state holds {kind(found)} there. Let the step return a value of the same kind."
        )


def choose(routes: Sequence[Route], state: JsonObject) -> Route | None:
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


def _holds(condition: Condition, state: JsonObject) -> bool:
    found = lookup(state, condition.path)
    if found is MISSING:
        return False
    if condition.operator == "equals":
        return _same(found, condition.value)
    order = _order(found, condition)
    return order > 0 if condition.operator == "greater_than" else order < 0


def _same(found: object, wanted: object) -> bool:
    number = as_number(wanted)
    if number is not None:
        return number == _as_decimal(found)
    if isinstance(wanted, Mapping) and isinstance(found, Mapping):
        return wanted.keys() == found.keys() and all(_same(found[key], wanted[key]) for key in wanted)
    if isinstance(wanted, list) and isinstance(found, list):
        return len(wanted) == len(found) and all(map(_same, found, wanted))
    return type(found) is type(wanted) and bool(found == wanted)


def _order(found: object, condition: Condition) -> int:
    """Below 0 where what was found is less than the condition's value, over 0 where it is greater."""
    number, text = as_number(condition.value), condition.value
    if number is not None and (left := _as_decimal(found)) is not None:
        return (left > number) - (left < number)
    if number is None and isinstance(text, str) and isinstance(found, str):
        return (found > text) - (found < text)
    raise ConditionError(condition, found)


def as_number(value: object) -> Decimal | None:
    """A number as a decimal; None for anything else, true and false included."""
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal)):
        return None
    return Decimal(str(value))


def _as_decimal(found: object) -> Decimal | None:
    """A number of the state, where decimals are kept as text."""
    if not isinstance(found, str):
        return as_number(found)
    try:
        number = Decimal(found)
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


LONGEST_ID: Final = 200


_Field = tuple[str, str | None, str | None, str | None]


def _fields(template: object) -> list[_Field] | str:
    """The template taken apart, as `Formatter.parse` does it; or what is wrong with it as a whole."""
    if not isinstance(template, str) or not template.strip():
        return f"must be non-empty text, found {template!r}"
    if unstorable := fault(template):
        return f"cannot be stored: {unstorable}"
    try:
        return list(Formatter().parse(template))
    except ValueError as error:
        return f"has unmatched braces ({error}); write {{name}}, or {{{{ and }}}} for braces themselves"


def people_problems(template: object) -> list[str]:
    """What is wrong with text that names a person or a group, with paths in braces; empty if nothing is."""
    fields = _fields(template)
    if isinstance(fields, str):
        return [fields]
    literal = sum(len(text) for text, _, _, _ in fields)
    found = [f"has {literal:,} characters; write at most {LONGEST_ID}"] if literal > LONGEST_ID else []
    return found + [
        f"holds {{{name}{_suffix(spec, conversion)}}}; only names joined by dots can be in braces, "
        "as {order.manager_id}"
        for _, name, spec, conversion in fields
        if name is not None and (not all(map(str.isidentifier, name.split("."))) or spec or conversion)
    ]


def paths(template: str) -> tuple[Path, ...]:
    """Where in the state the values are that a text about people names, each once."""
    fields = (name for _, name, _, _ in Formatter().parse(template) if name)
    return tuple(dict.fromkeys(tuple(name.split(".")) for name in fields))


_ABSENT = "–"
_HIDDEN = "[redacted]"
_LONGEST = 500


def problems(template: object) -> list[str]:
    """What is wrong with a template, one clause each; empty if nothing is."""
    fields = _fields(template)
    if isinstance(fields, str):
        return [fields]
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


def render(template: str, values: JsonObject, hides: Callable[[str], bool] = lambda name: False) -> str:
    """The template with its names replaced, a missing or null one by "–", cut to 500 characters.

    hides: whether what stands under a name, at any depth, is not to be shown.
    """
    text = "".join(
        literal + (_shown(_revealed(name, values.get(name), hides)) if name is not None else "")
        for literal, name, _, _ in Formatter().parse(template)
    )
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def resolve(template: str, values: JsonObject) -> str | None:
    """The template with its paths replaced by exactly what they hold; None where one holds no text and no number.

    Text in braces may be a path, as "{order.customer_id}". Nothing is hidden or cut.
    """
    parts: list[str] = []
    for literal, name, _, _ in Formatter().parse(template):
        parts.append(literal)
        if name is not None:
            found = lookup(values, tuple(name.split(".")))
            if isinstance(found, bool) or not isinstance(found, (str, int, float)):
                return None
            parts.append(str(found))
    return "".join(parts)


def _revealed(name: str, value: object, hides: Callable[[str], bool]) -> object:
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


def _shown(value: object) -> str:
    if value is None:
        return _ABSENT
    try:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    except (TypeError, ValueError, RecursionError):
        return _ABSENT
    return "".join(character if character.isprintable() else " " for character in text)
