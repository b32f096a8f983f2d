"""What stands in a workflow's class body: its elements by name, its settings, and the names that steps had before."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from . import state_expressions
from .durations import read_duration
from .elements import Deadline, Element, Step, StepElement, Trigger
from .event_names import read_cancel_on
from .spec import CancelOnSpec, DeadlineSpec

_FLOW = "flow"


@dataclass(frozen=True, slots=True)
class Body:
    """The elements of one class in order of declaration, and its settings."""

    class_name: str
    attributes: Mapping[str, object]
    triggers: dict[str, Trigger] = field(default_factory=dict)
    steps: dict[str, StepElement] = field(default_factory=dict)
    _names: dict[int, str] = field(default_factory=dict, init=False, repr=False)

    @property
    def flow(self) -> object:
        """What was assigned to `flow`; None if nothing was."""
        found = self.attributes.get(_FLOW)
        return None if isinstance(found, Element) else found

    def name_of(self, element: object) -> str | None:
        """The name of a step of this class; None for anything else."""
        return self._names.get(id(element))

    def add_step(self, name: str, step: StepElement) -> None:
        """Keep a step under its name; one with two names is known by the first."""
        self.steps[name] = step
        self._names.setdefault(id(step), name)

    def label(self, element: object) -> str:
        """The name of a step or trigger of any class, or what else was found in its place."""
        if isinstance(element, Trigger):
            return element.placed or type(element).__name__
        if not isinstance(element, StepElement):
            return repr(element)
        return self.name_of(element) or element.placed or _unplaced(element)


def read_body(workflow: type, reserved: frozenset[str], problems: list[str]) -> Body:
    """Sort the attributes of a class. `reserved` are the names that mean something to Workflow itself."""
    body = Body(workflow.__name__, vars(workflow))
    for name, each in vars(workflow).items():
        if isinstance(each, Element):
            _place(body, name, each, reserved, problems)
    return body


def _place(body: Body, name: str, element: Element, reserved: frozenset[str], problems: list[str]) -> None:
    word = "trigger" if isinstance(element, Trigger) else "step"
    here = f"{body.class_name}.{name}"
    if name in reserved:
        problems.append(f"{word} {name}: Workflow has an attribute {name} of its own; give the {word} another name")
    if element.placed is not None:
        problems.append(
            f"{word} {name}: this is {element.placed} already; "
            f"a {word} has one name in one class, so write {name} = {type(element).__name__}(...) anew"
        )
        if element.placed.startswith(f"{body.class_name}."):
            return
    else:
        element.placed = here
    if isinstance(element, Trigger):
        body.triggers[name] = element
    elif isinstance(element, StepElement):
        body.add_step(name, element)


def _unplaced(element: StepElement) -> str:
    function = getattr(element.function, "__name__", "...") if isinstance(element, Step) else "..."
    return f"{type(element).__name__}({function})"


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
    deadline: DeadlineSpec | None
    cancel_on: CancelOnSpec | None


def read_settings(workflow: type, keywords: Mapping[str, object], problems: list[str]) -> Settings:
    """The settings of a class. Name, aliases and docstring are its own; the others may come from an abstract base.

    keywords: those of the class and its bases.
    """
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
        deadline=read_deadline(keywords.get("deadline"), problems),
        cancel_on=read_cancel_on(keywords.get("cancel_on"), problems),
    )


def read_deadline(value: object, problems: list[str]) -> DeadlineSpec | None:
    """How long a run may take; None where nothing says."""
    if value is None:
        return None
    if not isinstance(value, Deadline):
        problems.append(f"deadline={value!r} must be a Deadline; write deadline=Deadline(timedelta(days=3))")
        return None
    after = read_duration(value.after)
    if after is None:
        problems.append(
            f"deadline: must be a positive time of at most 100 years, found {value.after!r}; "
            "write deadline=Deadline(timedelta(days=3))"
        )
    problems.extend(
        f"deadline: {flag}={given!r} must be True or False"
        for flag, given in (("cancel", value.cancel), ("compensate", value.compensate))
        if not isinstance(given, bool)
    )
    if value.compensate is True and value.cancel is False:
        problems.append(
            "deadline: compensate=True is for a run that is cancelled, and one that fails is compensated anyway; "
            "write cancel=True too, or leave out compensate="
        )
    if after is None:
        return None
    return DeadlineSpec(after=after, cancel=value.cancel is True, compensate=value.compensate is True)


def read_max_visits(value: object, place: str, problems: list[str]) -> int | None:
    """A positive number of visits, or None."""
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value > 0):
        return value
    problems.append(f"{place}: must be a positive whole number, found {value!r}; write max_visits=100")
    return None


def snake_case(name: str) -> str:
    """A class name as a workflow's name: DailyDigest is daily_digest."""
    return _WORD_STARTS.sub("_", name).lower()


def _setting(workflow: type, name: str) -> object:
    value = getattr(workflow, name, None)
    return None if isinstance(value, Element) else value


def _name(workflow: type, own: Mapping[str, object], problems: list[str]) -> str:
    given = own.get("name")
    if given is None or isinstance(given, Element):
        return snake_case(workflow.__name__)
    if _is_name(given):
        return str(given)
    problems.append(_not_a_name("name", given))
    return snake_case(workflow.__name__)


def _aliases(own: Mapping[str, object], name: str, problems: list[str]) -> tuple[str, ...]:
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


def _is_name(value: object) -> bool:
    return isinstance(value, str) and _NAME.fullmatch(value) is not None


def _not_a_name(place: str, value: object) -> str:
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
    faults = state_expressions.problems(value)
    problems.extend(f"subject: {fault}" for fault in faults)
    return None if faults else str(value)


LONGEST = 200


def read_aliases(steps: Mapping[str, StepElement], problems: list[str]) -> dict[str, tuple[str, ...]]:
    """For each step the names it had. A name belongs to one step, be it the present or a former one."""
    taken = {name: f"the name of step {name}" for name in steps}
    return {name: tuple(_read(name, each.aliases, taken, problems)) for name, each in steps.items()}


def _read(step: str, aliases: object, taken: dict[str, str], problems: list[str]) -> Iterator[str]:
    if not isinstance(aliases, (list, tuple)):
        problems.append(f'step {step}: aliases={aliases!r} must be a tuple of names; write aliases=("old_name",)')
        return
    for alias in aliases:
        if not isinstance(alias, str) or not alias.isidentifier() or len(alias) > LONGEST:
            problems.append(f'step {step}: the alias {alias!r} is no name of a step; write aliases=("old_name",)')
        elif alias == step:
            problems.append(f"step {step}: the alias {alias} is its own name; remove it from aliases=")
        elif alias in taken:
            problems.append(f"step {step}: the alias {alias} is {taken[alias]}; remove it from one of them")
        else:
            taken[alias] = f"an alias of step {step}"
            yield alias
