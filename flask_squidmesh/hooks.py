"""Functions that a host gives: how each is called is worked out once, and what it may not be is refused.

A hook is called with the keywords that it declares; `**kwargs` declares all of them. One whose parameters have other
names is given the values of its kind's `order` by position.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Final

from .errors import ConfigurationError

_Parameter = inspect.Parameter
_BY_PLACE: Final = (_Parameter.POSITIONAL_ONLY, _Parameter.POSITIONAL_OR_KEYWORD)
_BY_NAME: Final = (_Parameter.POSITIONAL_OR_KEYWORD, _Parameter.KEYWORD_ONLY)
_VARIABLE: Final = (_Parameter.VAR_POSITIONAL, _Parameter.VAR_KEYWORD)


class HookFault(Exception):
    """A hook raised, or answered what makes no sense; the message is a sentence for the host's developer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HookKind:
    """What is asked of one hook. name: its decorator. order: what it is given by position. more: what it may declare
    beside that. expected: what it has to answer, for the sentence that says so. yields: whether it may be a generator.
    asked: when it is called.
    """

    name: str
    order: tuple[str, ...] = ()
    more: tuple[str, ...] = ()
    expected: str
    yields: bool = False
    asked: str = "while a page is made"

    @property
    def keywords(self) -> tuple[str, ...]:
        """Everything that a hook of this kind may declare."""
        return (*self.order, *self.more)


@dataclass(frozen=True, slots=True)
class _Way:
    """How a hook is called: what it is given by position, and what by name."""

    by_place: tuple[str, ...]
    by_name: tuple[str, ...]

    def fits(self, signature: inspect.Signature) -> bool:
        """Whether a function of this signature can be called so."""
        try:
            signature.bind(*self.by_place, **dict.fromkeys(self.by_name))
        except TypeError:
            return False
        return True


class Hook:
    """One function of the host's.

    kind: what it is for. function: the function; a method, a partial and any other callable do as well. Raises
    ConfigurationError for one that cannot be called with what its kind has to give, or that is no plain function.
    """

    def __init__(self, kind: HookKind, function: Callable[..., object]) -> None:
        self.kind = kind
        self._function = function
        self._way = _way(kind, function)

    def declares(self, keyword: str) -> bool:
        """Whether it is told this."""
        return keyword in self._way.by_place or keyword in self._way.by_name

    def ask(self, **given: object) -> object:
        """What it answers. given: a value for each keyword that it declares; others are left out.

        Raises HookFault where it answers something to be awaited. What it raises itself is left to the caller.
        """
        way = self._way
        answer = self._function(*(given[name] for name in way.by_place), **{name: given[name] for name in way.by_name})
        if inspect.isawaitable(answer):
            if inspect.iscoroutine(answer):
                answer.close()
            raise HookFault(f"{self} answered something to be awaited; write it as a plain function, without `async`.")
        return answer

    def unfit(self, answer: object) -> HookFault:
        """The fault of an answer that is not what it has to be."""
        return HookFault(f"{self} answered {_kind_of(answer)}; it has to answer {self.kind.expected}.")

    def raised(self, error: Exception) -> HookFault:
        """The fault of one that raised."""
        return HookFault(f"{self} raised {type(error).__name__}; it has to answer {self.kind.expected}.")

    def __str__(self) -> str:
        return f"The hook mesh.{self.kind.name} ({_name_of(self._function)})"


def _kind_of(answer: object) -> str:
    """What kind of thing was answered, without its value, which may be a secret."""
    if answer is None or isinstance(answer, bool):
        return repr(answer)
    return f"the class {answer.__name__}" if isinstance(answer, type) else f"a value of type {type(answer).__name__}"


def _name_of(function: object) -> str:
    inner = function.func if isinstance(function, partial) else function
    named = inner if hasattr(inner, "__qualname__") else type(inner)
    return f"{named.__module__}.{named.__qualname__}"


def _way(kind: HookKind, function: Callable[..., object]) -> _Way:
    if not callable(function):
        raise ConfigurationError(f"The hook mesh.{kind.name} is {_kind_of(function)}, expected a function.")
    if not _is_plain(function, yields=kind.yields):
        raise ConfigurationError(
            f"The hook mesh.{kind.name} ({_name_of(function)}) is asynchronous or a generator. It is called "
            f"{kind.asked} and its answer is needed at once: write it as a plain function that returns."
        )
    try:
        declared = inspect.signature(function)
        callable_as = inspect.signature(function, follow_wrapped=False)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(
            f"The hook mesh.{kind.name} ({_name_of(function)}) does not tell its parameters. Wrap it in a function."
        ) from error
    way = next((way for way in _ways(kind, declared, _fixed(function)) if way.fits(callable_as)), None)
    if way is None:
        raise ConfigurationError(
            f"The hook mesh.{kind.name} ({_name_of(function)}) declares {declared}. {_advice(kind)}"
        )
    return way


def _advice(kind: HookKind) -> str:
    if not kind.keywords:
        return "It is called without arguments."
    by_place = f", or exactly {len(kind.order)} positional parameters for {', '.join(kind.order)}" if kind.order else ""
    return f"Declare, by name, any of {', '.join(kind.keywords)}; `**kwargs` stands for all of them{by_place}."


def _is_plain(function: object, *, yields: bool) -> bool:
    inner = function.func if isinstance(function, partial) else function
    bodies = (function, type(inner).__call__)
    waits = any(inspect.iscoroutinefunction(each) or inspect.isasyncgenfunction(each) for each in bodies)
    return not waits and (yields or not any(inspect.isgeneratorfunction(each) for each in bodies))


def _fixed(function: object) -> frozenset[str]:
    """Keywords that the host has filled in already, which are not ours to give."""
    return frozenset(function.keywords) if isinstance(function, partial) else frozenset()


def _ways(kind: HookKind, declared: inspect.Signature, fixed: frozenset[str]) -> Iterable[_Way]:
    """The ways in which it may be called, the likeliest first."""
    parameters = [each for each in declared.parameters.values() if each.name not in fixed]
    variable = {each.kind for each in parameters}
    by_name, by_place = _named(kind, parameters, fixed), _placed(kind, parameters, fixed)
    takes_any_place = _Parameter.VAR_POSITIONAL in variable and _Parameter.VAR_KEYWORD not in variable
    ways = (by_place, by_name) if takes_any_place else (by_name, by_place)
    return [way for way in ways if way is not None]


def _named(kind: HookKind, parameters: list[_Parameter], fixed: frozenset[str]) -> _Way | None:
    """By name alone; None where it needs something that has no name of ours."""
    if any(_is_required(each) and not _is_ours(kind, each) for each in parameters):
        return None
    return _Way((), _told_by_name(parameters, [name for name in kind.keywords if name not in fixed]))


def _placed(kind: HookKind, parameters: list[_Parameter], fixed: frozenset[str]) -> _Way | None:
    """The kind's order by position, and what else it declares by name; None where a name says that it means another."""
    places = [each for each in parameters if each.kind in _BY_PLACE]
    leading, rest = places[: len(kind.order)], [*places[len(kind.order) :], *parameters[len(places) :]]
    if any(each.name in kind.keywords and each.name != name for each, name in zip(leading, kind.order, strict=False)):
        return None
    if any(_is_required(each) and not _is_ours(kind, each) for each in rest):
        return None
    return _Way(kind.order, _told_by_name(rest, [name for name in kind.more if name not in fixed]))


def _told_by_name(parameters: list[_Parameter], keywords: Iterable[str]) -> tuple[str, ...]:
    everything = any(each.kind is _Parameter.VAR_KEYWORD for each in parameters)
    named = {each.name for each in parameters if each.kind in _BY_NAME}
    return tuple(name for name in keywords if everything or name in named)


def _is_required(parameter: _Parameter) -> bool:
    return parameter.default is _Parameter.empty and parameter.kind not in _VARIABLE


def _is_ours(kind: HookKind, parameter: _Parameter) -> bool:
    return parameter.name in kind.keywords and parameter.kind in _BY_NAME
