"""Everything that is kept becomes plain JSON here; what cannot is told of without showing it, as it may be a secret."""

from __future__ import annotations

import hashlib
import inspect
import json
import math
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from decimal import Decimal
from typing import Any, Final, TypeAlias

from pydantic import BaseModel, PlainSerializer, SecretBytes, SecretStr, ValidationError, WrapSerializer
from pydantic_core import ErrorDetails, to_jsonable_python

JsonValue: TypeAlias = bool | int | float | str | Sequence["JsonValue"] | Mapping[str, "JsonValue"] | None
"""What JSON can hold: what is kept, and what comes back of it."""

JsonObject: TypeAlias = Mapping[str, JsonValue]

# How the types of pydantic's errors end that are about the kind of the value.
ABOUT_KINDS = ("_type", "_parsing")


def kind(value: object) -> str:
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


_Location = tuple[int | str, ...]
_MOST_BITS = 10_000
_SHOWN = 5
_SERIALIZERS = (PlainSerializer, WrapSerializer)
DEEPEST: Final = 100
MASK: Final = "**********"
_to_text: Final = json.JSONEncoder(ensure_ascii=False).encode


class ValueNotJsonError(ValueError):
    """A value that JSON, or a database's JSON column, cannot hold.

    `path` says where in the value, "" being the value itself; `reason` what is wrong there.
    """

    def __init__(self, path: str, reason: str) -> None:
        self.path, self.reason = path, reason
        super().__init__(f"The value at {path} cannot be stored: {reason}" if path else f"Cannot be stored: {reason}")


def to_json(value: object) -> JsonValue:
    """The value as plain JSON data, by pydantic's JSON mode: models, dataclasses, decimals, dates, enums ...

    Raises ValueNotJsonError for anything else, for what is nested more than 100 levels deep, and for NaN, infinities,
    U+0000 and lone surrogates.
    """
    try:
        return _copied(value, DEEPEST)
    except _NotPlainError:
        pass
    try:
        _examine(value, ())
        plain: JsonValue = _converted(value)
    except ValueNotJsonError:
        raise
    except Exception as error:  # the value's own code, which may raise anything
        path, reason = _culprit(value, error)
        raise ValueNotJsonError(located(path), reason) from error
    doubtful = False
    for place, leaf in _leaves(plain, ()):
        if unfit := fault(leaf):
            raise ValueNotJsonError(located(place), unfit)
        doubtful = doubtful or leaf is None or leaf == MASK
    if doubtful:
        _refuse_lost(value, plain, ())
    return plain


class _NotPlainError(Exception):
    """The value is not made of the types of JSON alone, or is at fault somewhere."""


def _copied(value: Any, deeper: int) -> JsonValue:
    """A copy of plain JSON data. Raises _NotPlainError for all else, which takes longer to convert."""
    found = type(value)
    if value is None or found is bool or (found in (str, int, float) and fault(value) is None):
        plain: JsonValue = value
        return plain
    if found is dict and deeper and all(type(key) is str and fault(key) is None for key in value):
        return {key: _copied(each, deeper - 1) for key, each in value.items()}
    if found is list and deeper:
        return [_copied(each, deeper - 1) for each in value]
    raise _NotPlainError


def step_output(value: object) -> dict[str, JsonValue]:
    """What a step returned, as the mapping that joins the state; None is an empty one.

    Raises ValueNotJsonError if it is no mapping, pydantic model, dataclass or None, or holds what JSON cannot.
    """
    if value is None:
        return {}
    plain = to_json(value) if _is_of(value, Mapping, BaseModel) or _is_data(value) else None
    if not isinstance(plain, dict):
        if inspect.iscoroutine(value):
            value.close()
        raise ValueNotJsonError(
            "", f"a step returns a mapping, a pydantic model, a dataclass or None, but this one returned {kind(value)}"
        )
    return plain


def fingerprint(value: object) -> str:
    """A hash that is the same for equal JSON data, whatever the order of its keys."""
    text = json.dumps(to_json(value), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def size_of(value: object) -> int:
    """How many bytes plain JSON data takes as text."""
    return len(_to_text(value).encode())


def _is_data(value: object) -> bool:
    return is_dataclass(type(value))


def _is_of(value: object, *types: type) -> bool:
    """Whether the value is of one of the types, whatever it says of itself: a mock says what it is told to."""
    return issubclass(type(value), types)


def _converted(value: object) -> Any:
    return to_jsonable_python(value, by_alias=False, fallback=_mapping)


def _mapping(value: Any) -> dict[object, object]:
    if _is_of(value, Mapping):
        return dict(value)
    raise TypeError(
        f"a {type(value).__name__} is not JSON; return text, numbers, lists, mappings, pydantic models or dataclasses "
        "of them"
    )


def _examine(value: object, path: _Location, above: tuple[int, ...] = ()) -> None:
    """Refuse what pydantic would convert into something else than was meant.

    above: what the value is in, by identity.
    """
    if reason := _misunderstood(value) or (fault(value) if _is_of(value, Decimal) else None):
        raise ValueNotJsonError(located(path), reason)
    for key, each in _children(value):
        if id(each) in (*above, id(value)):
            raise ValueNotJsonError(located((*path, _part(key))), "Circular reference detected (id repeated)")
        if len(above) == DEEPEST:
            raise ValueNotJsonError(located(path[:_SHOWN]), f"it exceeds the depth of {DEEPEST} levels")
        _examine(each, (*path, _part(key)), (*above, id(value)))


def _misunderstood(value: object) -> str | None:
    found = type(value)
    if _is_of(value, tuple) and hasattr(found, "_fields"):
        return f"a namedtuple ({found.__name__}) would lose its names; use its _asdict()"
    if found.__module__ == "unittest.mock":
        return f"a {found.__name__} is not JSON; return text, numbers, lists or mappings of them"
    if hasattr(found, "__next__"):
        return f"a {found.__name__} can be read only once; make a list of it"
    if keys := _keys_that_become_one(value):
        return f"the keys {keys[0]!r} and {keys[1]!r} are one and the same in JSON"
    return None


def _keys_that_become_one(value: Any) -> tuple[object, object] | None:
    if not _is_of(value, Mapping) or all(type(key) is str for key in value):
        return None
    known: dict[str, object] = {}
    for key in value:
        [text] = _converted({key: None})
        if text in known:
            return known[text], key
        known[text] = key
    return None


def _leaves(value: object, path: _Location) -> Iterator[tuple[_Location, object]]:
    if isinstance(value, dict):
        for key, each in value.items():
            yield (*path, "(key)"), key
            yield from _leaves(each, (*path, key))
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from _leaves(each, (*path, index))
    else:
        yield path, value


def _refuse_lost(value: object, plain: Any, path: _Location, *, meant: bool = False) -> None:
    """Raise ValueNotJsonError for a secret of which only asterisks would be kept, and for a number of which null would:
    pydantic writes that for NaN where a field has no type.

    meant: null may be what a serializer of the model's own writes.
    """
    if isinstance(value, SecretStr | SecretBytes) and plain == MASK:
        raise ValueNotJsonError(
            located(path), "a secret would be kept as asterisks; keep it elsewhere, and return or pass what names it"
        )
    if plain is None and isinstance(value, float) and not meant:
        raise ValueNotJsonError(located(path), fault(value) or "the number would be kept as null")
    if isinstance(plain, dict | list):
        for key, each in _children(value):
            there = key in plain if isinstance(plain, dict) else isinstance(key, int) and key < len(plain)
            if there:
                _refuse_lost(each, plain[key], (*path, key), meant=meant or _is_serialised(value, key))


def _is_serialised(model: object, name: str) -> bool:
    """Whether a serializer of the model's own writes the field."""
    made_of = type(model)
    if not issubclass(made_of, BaseModel):
        return False
    found, declared = made_of.__pydantic_decorators__, made_of.model_fields.get(name)
    by_annotation = declared is not None and any(_is_of(each, *_SERIALIZERS) for each in declared.metadata)
    by_method = any({name, "*"} & {*each.info.fields} for each in found.field_serializers.values())
    return bool(found.model_serializers) or by_annotation or by_method


def is_storable(text: str) -> bool:
    """Whether a database can hold the text."""
    return fault(text) is None


def fault(leaf: object) -> str | None:
    """Why a number or text cannot be stored; None where it can."""
    if (isinstance(leaf, float) and not math.isfinite(leaf)) or (isinstance(leaf, Decimal) and not leaf.is_finite()):
        return "a number must be finite, found NaN or an infinity"
    if isinstance(leaf, int) and leaf.bit_length() > _MOST_BITS:
        return "an integer must have less than 3000 digits"
    if isinstance(leaf, str) and "\0" in leaf:
        return "text must not hold the character U+0000"
    if isinstance(leaf, str) and not leaf.isascii() and any("\ud800" <= character <= "\udfff" for character in leaf):
        return "text must not hold a lone surrogate"
    return None


def _culprit(value: object, error: Exception) -> tuple[_Location, str]:
    """The innermost part that cannot be converted by itself, and why."""
    path: list[int | str] = []
    seen: set[int] = set()
    while id(value) not in seen and len(path) < DEEPEST:
        seen.add(id(value))
        found = _failing_child(value)
        if found is None:
            break
        key, value, error = found
        path.append(key)
    return tuple(path), _reason(error)


def _failing_child(value: object) -> tuple[int | str, object, Exception] | None:
    try:
        children = _children(value)
    except Exception:  # the value itself cannot be read
        return None
    for key, each in children:
        try:
            _converted({key: None})
            _converted(each)
            _children(each)
        except Exception as error:
            return _part(key), each, error
    return None


def _part(key: Any) -> int | str:
    """A key as a part of a path."""
    if type(key) in (int, str):
        return key  # type: ignore[no-any-return]
    try:
        return next(iter(_converted({key: None})))  # type: ignore[no-any-return]
    except Exception:
        return f"({type(key).__name__})"


def _reason(error: Exception) -> str:
    if isinstance(error, UnicodeEncodeError):
        return "text must not hold a lone surrogate"
    if isinstance(error, UnicodeDecodeError):
        return "bytes must be UTF-8 text; encode others, in base64 for instance"
    if isinstance(error, TypeError | ValueError | RecursionError):
        try:
            return str(error)
        except Exception:
            pass
    return f"it cannot be read ({type(error).__name__})"


def _children(value: Any) -> Iterable[tuple[Any, object]]:
    if _is_of(value, Mapping):
        return list(value.items())
    if _is_of(value, list, tuple, set, frozenset, deque):
        return list(enumerate(value))
    if _is_of(value, BaseModel):
        return list(value)
    if _is_data(value):
        return [(each.name, getattr(value, each.name)) for each in fields(value)]
    return []
