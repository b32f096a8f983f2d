"""What stands in a workflow's class body, by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..elements import Element, Step, StepElement, Trigger

_FLOW = "flow"


@dataclass(frozen=True, slots=True)
class Body:
    """The elements of one class in order of declaration, and its settings."""

    class_name: str
    attributes: Mapping[str, Any]
    triggers: dict[str, Trigger] = field(default_factory=dict)
    steps: dict[str, StepElement] = field(default_factory=dict)
    _names: dict[int, str] = field(default_factory=dict, init=False, repr=False)

    @property
    def flow(self) -> Any:
        """What was assigned to `flow`; None if nothing was."""
        found = self.attributes.get(_FLOW)
        return None if isinstance(found, Element) else found

    def name_of(self, element: Any) -> str | None:
        """The name of a step of this class; None for anything else."""
        return self._names.get(id(element))

    def add_step(self, name: str, step: StepElement) -> None:
        """Keep a step under its name; one with two names is known by the first."""
        self.steps[name] = step
        self._names.setdefault(id(step), name)

    def label(self, element: Any) -> str:
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
