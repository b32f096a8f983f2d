"""The class that workflows derive from, and the registry of those that an app knows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import ClassVar

from pydantic import BaseModel

from ..errors import ConfigurationError, UnknownWorkflowError, given
from .builder import build, check_abstract
from .elements import NOT_GIVEN, CancelOn, Chain, Deadline, NotGiven, StepElement
from .event_reader import models_of
from .spec import TriggerSpec, WorkflowSpec


class Workflow:
    """A durable business workflow. Derive from it and declare triggers, steps and `flow` in the class body.

    name: what the workflow is called, its class name in snake case if left out. aliases: names it had before, under
    which runs may still be stored. version: a label for people. subject: what an operator reads as a run's title, with
    names of payload fields in braces. max_visits: how often a run may enter one step. flow: lines of steps joined by
    `>>`; leave it out where steps name what they wait for with `after=`. The docstring describes the workflow.

    deadline: `class Order(Workflow, deadline=Deadline(timedelta(days=3)))` says how long a run may take. It holds for
    what is derived from the class too, unless that has one of its own, or None. cancel_on: an event that cancels the
    run, as a CancelOn; it holds as the deadline does.

    `class Base(Workflow, abstract=True)` makes a base that holds settings for others and is no workflow itself.
    Raises DefinitionError, with everything that is wrong, when the class is created.
    """

    name: ClassVar[str | None] = None
    aliases: ClassVar[Sequence[str]] = ()
    version: ClassVar[str | None] = None
    subject: ClassVar[str | None] = None
    max_visits: ClassVar[int] = 100
    flow: ClassVar[Sequence[Chain | StepElement] | None] = None
    __squidmesh__: ClassVar[WorkflowSpec]
    __squidmesh_keywords__: ClassVar[Mapping[str, object]] = MappingProxyType({})

    def __init_subclass__(
        cls,
        *,
        abstract: bool = False,
        deadline: Deadline | NotGiven | None = NOT_GIVEN,
        cancel_on: CancelOn | NotGiven | None = NOT_GIVEN,
    ) -> None:
        super().__init_subclass__()
        own: dict[str, object] = {"deadline": deadline, "cancel_on": cancel_on}
        cls.__squidmesh_keywords__ = {name: value for name, value in own.items() if value is not NOT_GIVEN}
        keywords = dict[str, object]()
        for each in reversed(cls.__mro__):
            keywords.update(vars(each).get("__squidmesh_keywords__", {}))
        if abstract:
            check_abstract(cls, keywords)
        else:
            cls.__squidmesh__ = build(cls, _RESERVED, keywords)


_RESERVED = frozenset(name for name in vars(Workflow) if not name.startswith("__"))


class Registry:
    """Workflows by name and alias, in order of registration."""

    def __init__(self) -> None:
        self._specs: dict[str, WorkflowSpec] = {}
        self._names: dict[str, str] = {}

    def register(self, *workflows: type[Workflow]) -> None:
        """Add workflows; one that is there already changes nothing.

        Raises ConfigurationError, and adds none, where something is no workflow or a name or alias is taken.
        """
        specs, names, problems = dict(self._specs), dict(self._names), list[str]()
        if not workflows:
            problems.append("register takes workflow classes, and none was given. Pass at least one.")
        for workflow in workflows:
            spec = _spec_of(workflow)
            if spec is None:
                problems.append(f"register takes workflow classes, found {given(workflow)}. Derive it from Workflow.")
            elif specs.get(spec.name) is not spec:
                problems.extend(_taken(names, spec))
                names.update(dict.fromkeys(spec.names, spec.name))
                specs[spec.name] = spec
        problems.extend(_two_models(specs.values()))
        if problems:
            raise ConfigurationError(*problems)
        self._specs, self._names = specs, names

    def get(self, workflow: str | type[Workflow]) -> WorkflowSpec:
        """The workflow of this name, alias or class. Raises UnknownWorkflowError if it is not registered."""
        spec = self._find(workflow)
        if spec is None:
            name = given(workflow.__name__ if isinstance(workflow, type) else workflow)
            known = ", ".join(self._specs) or "none"
            raise UnknownWorkflowError(
                f"No workflow {name} is registered; registered are: {known}. "
                "Pass its class to SquidMesh.register, or give a renamed workflow its old name in aliases."
            )
        return spec

    def names_of(self, workflow: str) -> tuple[str, ...]:
        """The names under which runs of this workflow are stored; one that was removed has left its runs behind."""
        spec = self._find(workflow)
        return (workflow,) if spec is None else spec.names

    def event_model(self, event: str) -> type[BaseModel] | None:
        """The model that payloads of this event must fit; None where no workflow names one."""
        for spec in self._specs.values():
            for _, name, model in models_of(spec.triggers.values(), spec.steps.values()):
                if name == event:
                    return model
        return None

    def event_triggers(self, event: str) -> list[tuple[WorkflowSpec, TriggerSpec]]:
        """The triggers that start a run for every event of this name."""
        return [(spec, each) for spec in self._specs.values() for each in spec.triggers.values() if each.event == event]

    def _find(self, workflow: object) -> WorkflowSpec | None:
        if isinstance(workflow, str):
            return self._specs.get(self._names.get(workflow, ""))
        spec = _spec_of(workflow)
        return spec if spec and self._specs.get(spec.name) is spec else None

    def __contains__(self, workflow: object) -> bool:
        return self._find(workflow) is not None

    def __iter__(self) -> Iterator[WorkflowSpec]:
        return iter(self._specs.values())

    def __len__(self) -> int:
        return len(self._specs)


def _spec_of(workflow: object) -> WorkflowSpec | None:
    if not isinstance(workflow, type) or not issubclass(workflow, Workflow):
        return None
    return vars(workflow).get("__squidmesh__")


def _two_models(specs: Iterable[WorkflowSpec]) -> Iterator[str]:
    first: dict[str, tuple[str, type[BaseModel]]] = {}
    for spec in specs:
        for _, event, model in models_of(spec.triggers.values(), spec.steps.values()):
            other, known = first.setdefault(event, (spec.name, model))
            if known is not model:
                yield (
                    f"Event {event} has the model {model.__name__} in workflow {spec.name} and {known.__name__} in "
                    f"workflow {other}. An event has one model, so name the same in both."
                )


def _taken(names: dict[str, str], spec: WorkflowSpec) -> Iterator[str]:
    for name in spec.names:
        if name in names:
            yield (
                f"The name {name!r} of workflow {spec.name} is taken by workflow {names[name]}. "
                "Give one of them another name or alias."
            )
