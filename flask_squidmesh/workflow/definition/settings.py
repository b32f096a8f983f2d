"""Name, aliases, version, subject and max_visits of a workflow."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .. import templates
from ..elements import Element

_NAME = re.compile(r"[\w.-]{1,100}")
_WORD_STARTS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
DEFAULT_MAX_VISITS = 100


@dataclass(frozen=True, slots=True)
class Settings:
    """The checked settings of one workflow."""

    name: str
    title: str
    description: str
    aliases: tuple[str, ...]
    version: str | None
    subject: str | None
    max_visits: int


def read_settings(workflow: type, problems: list[str]) -> Settings:
    """The settings of a class. Name, aliases and docstring are its own; the others may come from an abstract base."""
    own = vars(workflow)
    name = _name(workflow, own, problems)
    return Settings(
        name=name,
        title=re.sub(r"[_.-]+", " ", name).strip().capitalize(),
        description=inspect.cleandoc(own.get("__doc__") or ""),
        aliases=_aliases(own, name, problems),
        version=_text(workflow, "version", problems),
        subject=_subject(workflow, problems),
        max_visits=read_max_visits(_setting(workflow, "max_visits"), "max_visits", problems) or DEFAULT_MAX_VISITS,
    )


def read_max_visits(value: Any, place: str, problems: list[str]) -> int | None:
    """A positive number of visits, or None."""
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value > 0):
        return value
    problems.append(f"{place}: must be a positive whole number, found {value!r}; write max_visits=100")
    return None


def snake_case(name: str) -> str:
    """A class name as a workflow's name: DailyDigest is daily_digest."""
    return _WORD_STARTS.sub("_", name).lower()


def _setting(workflow: type, name: str) -> Any:
    value = getattr(workflow, name, None)
    return None if isinstance(value, Element) else value


def _name(workflow: type, own: Mapping[str, Any], problems: list[str]) -> str:
    given = own.get("name")
    if given is None or isinstance(given, Element):
        return snake_case(workflow.__name__)
    if _is_name(given):
        return str(given)
    problems.append(_not_a_name("name", given))
    return snake_case(workflow.__name__)


def _aliases(own: Mapping[str, Any], name: str, problems: list[str]) -> tuple[str, ...]:
    given = own.get("aliases", ())
    if isinstance(given, Element):
        return ()
    if not isinstance(given, (tuple, list)):
        problems.append(f'aliases: must be a tuple of names, found {given!r}; write aliases = ("old_name",)')
        return ()
    problems.extend(_not_a_name("aliases", each) for each in given if not _is_name(each))
    if name in given:
        problems.append(f"aliases: {name!r} is the workflow's own name; list only names it had before")
    return tuple(each for each in given if _is_name(each))


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and _NAME.fullmatch(value) is not None


def _not_a_name(place: str, value: Any) -> str:
    return f"{place}: {value!r} is no name; write 1 to 100 letters, digits, underscores, dots or hyphens, as 'checkout'"


def _text(workflow: type, name: str, problems: list[str]) -> str | None:
    value = _setting(workflow, name)
    if value is None or (isinstance(value, str) and value.strip()):
        return value
    problems.append(f'{name}: must be non-empty text, found {value!r}; write {name} = "2026-11"')
    return None


def _subject(workflow: type, problems: list[str]) -> str | None:
    value = _setting(workflow, "subject")
    if value is None:
        return None
    faults = templates.problems(value)
    problems.extend(f"subject: {fault}" for fault in faults)
    return None if faults else str(value)
