"""Words for what was found in a value, without showing the value: it may be a secret."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

# How the types of pydantic's errors end that are about the kind of the value.
ABOUT_KINDS = ("_type", "_parsing")


def kind(value: Any) -> str:
    """What the value is, for people: "text", "a number", "null" ..."""
    if value is None:
        return "null"
    words: tuple[tuple[type | tuple[type, ...], str], ...] = (
        (bool, "true or false"),
        ((int, float, Decimal), "a number"),
        (str, "text"),
        (Mapping, "a mapping"),
        ((list, tuple, set, frozenset), "a list"),
    )
    found = type(value)  # whatever the value says of itself
    return next((word for types, word in words if issubclass(found, types)), f"a {found.__name__}")


def located(parts: tuple[int | str, ...]) -> str:
    """A location as one writes it: items[0].price. Parts that no database could store are escaped."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{_readable(part)}" for part in parts).removeprefix(".")


def _readable(part: str) -> str:
    return part if part.isprintable() else ascii(part)


def sentence(error: ErrorDetails, *, skip: int = 0) -> str:
    """One pydantic error in words. `skip` leaves out that many parts of its location, which the reader knows."""
    place = located(error["loc"][skip:])
    found = f", found {kind(error['input'])}" if error["type"].endswith(ABOUT_KINDS) else ""
    return f"{place}: {error['msg']}{found}" if place else f"{error['msg']}{found}"


def sentences(error: ValidationError) -> str:
    """All errors of one value in one line."""
    return "; ".join(sentence(each) for each in error.errors(include_url=False, include_context=False))
