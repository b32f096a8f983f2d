"""The one seam through which every word on a page passes."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup


def _(text: str, /, **values: Any) -> Markup:
    """The text with its {names} filled in and their values escaped.

    text: trusted, as it stands in the code; it may hold markup.
    """
    return Markup(text).format(**values)


def plural(count: int, one: str, many: str, /, **values: Any) -> Markup:
    """`one` for a count of 1, else `many`; {count} is filled in."""
    return _(one if count == 1 else many, count=count, **values)


def code(value: object) -> Markup:
    """A name as it stands in the host's code."""
    return Markup("<b>{}</b>").format(value)


def joined(items: list[Markup] | list[str]) -> Markup:
    """The names in bold, with commas between them."""
    return Markup(", ").join(code(item) for item in items)
