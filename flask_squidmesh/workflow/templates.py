"""Prompts, subjects and log messages with names in braces."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from string import Formatter
from typing import Any

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
