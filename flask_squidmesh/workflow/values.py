"""Everything that is kept becomes plain JSON here, and nowhere else."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from decimal import Decimal
from itertools import chain
from typing import Any, Final

from pydantic import BaseModel, SecretBytes, SecretStr
from pydantic_core import to_jsonable_python

from .kinds import kind, located

_Location = tuple[int | str, ...]
_MOST_BITS = 10_000
_DEEPEST = 20
MASK: Final = "**********"
_to_text: Final = json.JSONEncoder(ensure_ascii=False).encode


class ValueNotJsonError(ValueError):
    """A value that JSON, or a database's JSON column, cannot hold.

    `path` says where in the value, "" being the value itself; `reason` what is wrong there.
    """

    def __init__(self, path: str, reason: str) -> None:
        self.path, self.reason = path, reason
        super().__init__(f"The value at {path} cannot be stored: {reason}" if path else f"Cannot be stored: {reason}")


def to_json(value: Any) -> Any:
    """The value as plain JSON data, by pydantic's JSON mode: models, dataclasses, decimals, dates, enums ...

    Raises ValueNotJsonError for anything else, and for NaN, infinities, U+0000 and lone surrogates.
    """
    try:
        plain = _converted(value)
    except (ValueError, TypeError, RecursionError) as error:
        path, reason = _culprit(value, error)
        raise ValueNotJsonError(located(path), reason) from error
    masked = False
    for place, leaf in chain(_leaves(plain, ()), _decimals(value, ())):
        if fault := _fault(leaf):
            raise ValueNotJsonError(located(place), fault)
        masked = masked or leaf == MASK
    if masked:
        _refuse_masked(value, plain, ())
    return plain


def step_output(value: Any) -> dict[str, Any]:
    """What a step returned, as the mapping that joins the state; None is an empty one.

    Raises ValueNotJsonError if it is no mapping, pydantic model, dataclass or None, or holds what JSON cannot.
    """
    if value is None:
        return {}
    plain = to_json(value) if isinstance(value, (Mapping, BaseModel)) or _is_data(value) else None
    if not isinstance(plain, dict):
        raise ValueNotJsonError(
            "", f"a step returns a mapping, a pydantic model, a dataclass or None, but this one returned {kind(value)}"
        )
    return plain


def fingerprint(value: Any) -> str:
    """A hash that is the same for equal JSON data, whatever the order of its keys."""
    text = json.dumps(to_json(value), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def size_of(value: Any) -> int:
    """How many bytes plain JSON data takes as text."""
    return len(_to_text(value).encode())


def _is_data(value: Any) -> bool:
    return is_dataclass(value) and not isinstance(value, type)


def _converted(value: Any) -> Any:
    return to_jsonable_python(value, by_alias=False, fallback=_mapping)


def _mapping(value: Any) -> dict[Any, Any]:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(
        f"{kind(value)} is not JSON; return text, numbers, lists, mappings, pydantic models or dataclasses of them"
    )


def _leaves(value: Any, path: _Location) -> Iterator[tuple[_Location, Any]]:
    if isinstance(value, dict):
        for key, each in value.items():
            yield (*path, "(key)"), key
            yield from _leaves(each, (*path, key))
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from _leaves(each, (*path, index))
    else:
        yield path, value


def _decimals(value: Any, path: _Location) -> Iterator[tuple[_Location, Decimal]]:
    """Decimals as they were given: their JSON form is text, which does not tell a NaN from the word."""
    if isinstance(value, Decimal):
        yield path, value
    for key, each in _children(value):
        yield from _decimals(each, (*path, key))


def _refuse_masked(value: Any, plain: Any, path: _Location) -> None:
    """Raise ValueNotJsonError for a secret of which only asterisks would be kept."""
    if isinstance(value, SecretStr | SecretBytes) and plain == MASK:
        raise ValueNotJsonError(
            located(path), "a secret would be kept as asterisks; keep it elsewhere, and return or pass what names it"
        )
    if isinstance(plain, dict | list):
        for key, each in _children(value):
            there = key in plain if isinstance(plain, dict) else isinstance(key, int) and key < len(plain)
            if there:
                _refuse_masked(each, plain[key], (*path, key))


def _fault(leaf: Any) -> str | None:
    if (isinstance(leaf, float) and not math.isfinite(leaf)) or (isinstance(leaf, Decimal) and not leaf.is_finite()):
        return "a number must be finite, found NaN or an infinity"
    if isinstance(leaf, int) and leaf.bit_length() > _MOST_BITS:
        return "an integer must have less than 3000 digits"
    if isinstance(leaf, str) and "\0" in leaf:
        return "text must not hold the character U+0000"
    if isinstance(leaf, str) and not leaf.isascii() and any("\ud800" <= character <= "\udfff" for character in leaf):
        return "text must not hold a lone surrogate"
    return None


def _culprit(value: Any, error: Exception) -> tuple[_Location, str]:
    """The innermost part that cannot be converted by itself, and why."""
    path: list[int | str] = []
    seen: set[int] = set()
    while id(value) not in seen and len(path) < _DEEPEST:
        seen.add(id(value))
        found = _failing_child(value)
        if found is None:
            break
        key, value, error = found
        path.append(key)
    return tuple(path), _reason(error)


def _failing_child(value: Any) -> tuple[int | str, Any, Exception] | None:
    for key, each in _children(value):
        try:
            _converted({key: None})
            _converted(each)
        except (ValueError, TypeError, RecursionError) as error:
            return key if isinstance(key, (int, str)) else str(key), each, error
    return None


def _reason(error: Exception) -> str:
    if isinstance(error, UnicodeEncodeError):
        return "text must not hold a lone surrogate"
    if isinstance(error, UnicodeDecodeError):
        return "bytes must be UTF-8 text; encode others, in base64 for instance"
    return str(error)


def _children(value: Any) -> Iterable[tuple[Any, Any]]:
    if isinstance(value, Mapping):
        return list(value.items())
    if isinstance(value, (list, tuple, set, frozenset)):
        return list(enumerate(value))
    if isinstance(value, BaseModel):
        return list(value)
    if _is_data(value):
        return [(each.name, getattr(value, each.name)) for each in fields(value)]
    return []
