"""JSON as a page shows it: indented, hidden values marked, long texts cut."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from flask import Response, current_app
from markupsafe import Markup

from .language import _, number
from .redaction import REDACTED

LONGEST_TEXT = 400
INDENT = "  "


def response(value: Any) -> Response:
    """The value as a document, under its own names whatever JSON the host's answers are."""
    return current_app.response_class(json.dumps(value), mimetype="application/json")


def shown(value: Any, depth: int = 0) -> Markup:
    """The value as markup for a `<pre>`."""
    if value is REDACTED:
        return Markup('<span class="red">{}</span>').format(_("redacted"))
    match value:
        case dict() if value:
            members = (Markup("{}: {}").format(_quoted(key), shown(item, depth + 1)) for key, item in value.items())
            return _block("{", members, "}", depth)
        case list() if value:
            return _block("[", (shown(item, depth + 1) for item in value), "]", depth)
        case str() if len(value) > LONGEST_TEXT:
            return _cut(value)
        case _:
            return Markup("{}").format(_quoted(value))


def size(value: Any) -> int:
    """How many bytes the value has as JSON."""
    return len(json.dumps(value, default=str).encode())


def _quoted(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def _block(opening: str, items: Iterable[Markup], closing: str, depth: int) -> Markup:
    inner = Markup(",\n" + INDENT * (depth + 1)).join(items)
    return Markup("{}\n{}{}\n{}{}").format(opening, INDENT * (depth + 1), inner, INDENT * depth, closing)


def _cut(text: str) -> Markup:
    rest = _("{count} more characters", count=number(len(text) - LONGEST_TEXT))
    return Markup('{} <span class="red">{}</span>').format(_quoted(text[:LONGEST_TEXT]), rest)
