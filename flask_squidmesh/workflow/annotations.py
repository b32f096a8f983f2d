"""What a function and its annotations say."""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints


def resolved(function: Callable[..., Any]) -> Mapping[str, Any]:
    """The resolved annotations of a callable. Raises what Python raises where one cannot be resolved."""
    return get_type_hints(written(function), include_extras=True)


def written(function: Any) -> Any:
    """The function that a callable object, a class or a functools.partial calls in the end."""
    while isinstance(function, functools.partial):
        function = function.func
    if inspect.isclass(function):
        return function.__init__
    return function if inspect.isroutine(function) else type(function).__call__


def name_of(function: Any) -> str:
    """What the function is called."""
    while isinstance(function, functools.partial):
        function = function.func
    return str(getattr(function, "__name__", type(function).__name__))


def pinned_names(function: Any) -> frozenset[str]:
    """Parameters that functools.partial has filled by keyword."""
    found: frozenset[str] = frozenset()
    while isinstance(function, functools.partial):
        found |= frozenset(function.keywords)
        function = function.func
    return found


def members(annotation: Any) -> tuple[Any, ...]:
    """What a union is made of; the annotation itself where it is none."""
    if get_origin(annotation) is Annotated:
        return members(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return tuple(member for each in get_args(annotation) for member in members(each))
    return (annotation,)


def shown(annotation: Any) -> str:
    """The annotation as its author would write it."""
    return annotation.__name__ if isinstance(annotation, type) else str(annotation)
