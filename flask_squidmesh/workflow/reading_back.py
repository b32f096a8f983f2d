"""Whether a model comes back from what is stored of it as it went."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from pydantic import BaseModel, ValidationError
from pydantic_core import to_json as json_bytes

from .kinds import located, sentence
from .values import fault

CHANGED: Final = (
    "it does not come back from the database as it is, because the model validates, serialises or excludes it in a way "
    "that cannot be undone, or does not say its type; have the field keep its value, or declare it as the plain value "
    "that is to be stored"
)

Place = tuple[int | str, ...]


def changes_when_read(model: type[BaseModel], instance: BaseModel, stored: Mapping[str, Any]) -> dict[str, str]:
    """What is wrong with each field that is not the same when the model is made anew from what is stored of it.

    model: by which it is read, the class of the instance or one above it. Values are not quoted, for they may be
    secrets. What is private to the model is no data, and may differ.
    """
    computed = model.model_computed_fields
    given = {name: value for name, value in stored.items() if name not in computed} if computed else stored
    try:
        again = model.model_validate_json(json_bytes(given), by_alias=True, by_name=True)
    except ValidationError as error:
        return _refused(error)
    kind_of: Any = type(instance)
    if kind_of.__eq__ is BaseModel.__eq__ and again == instance:
        return {}
    found = [(place, gone) for place, gone in _differences(_data(instance), _data(again), ()) if place]
    return {str(first): _said(rest, fault(gone) or CHANGED) for (first, *rest), gone in reversed(found)}


def _said(place: Sequence[int | str], text: str) -> str:
    return f"{located(tuple(place))}: {text}" if place else text


def _refused(error: ValidationError) -> dict[str, str]:
    """What the model says against its own data, by field."""
    errors = error.errors(include_url=False, include_context=False)
    return {str((*each["loc"], "payload")[0]): f"{sentence(each, skip=1)}, as {CHANGED}" for each in errors}


def _data(model: BaseModel) -> dict[str, Any]:
    """What the model holds: its fields, and what it takes besides."""
    return {**{name: getattr(model, name) for name in type(model).model_fields}, **(model.model_extra or {})}


def _differences(gone: Any, back: Any, place: Place) -> Iterator[tuple[Place, Any]]:
    """The innermost places at which the two are not the same, and what went from there."""
    if isinstance(gone, BaseModel) and type(gone) is type(back):
        gone, back = _data(gone), _data(back)
    if isinstance(gone, Mapping) and isinstance(back, Mapping):
        if gone.keys() != back.keys() and place:
            yield place, gone
            return
        for name in {**gone, **back}:
            yield from _differences(gone.get(name, _ABSENT), back.get(name, _ABSENT), (*place, name))
    elif isinstance(gone, list | tuple) and isinstance(back, list | tuple) and len(gone) == len(back):
        for number, (one, other) in enumerate(zip(gone, back, strict=True)):
            yield from _differences(one, other, (*place, number))
    elif not _same(gone, back):
        yield place, gone


def _same(gone: Any, back: Any) -> bool:
    """Whether two values are the same; those of a class that cannot compare are when they have the same in them."""
    if type(gone) is type(back) and gone.__eq__(back) is NotImplemented and hasattr(gone, "__dict__"):
        return bool(vars(gone) == vars(back))
    return bool(gone == back)


_ABSENT: Final = object()
