"""The class that workflows derive from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from .definition.build import build, check_abstract
from .elements import StepElement
from .flow import Chain
from .spec import WorkflowSpec


class Workflow:
    """A durable business workflow. Derive from it and declare triggers, steps and `flow` in the class body.

    name: what the workflow is called, its class name in snake case if left out. aliases: names it had before, under
    which runs may still be stored. version: a label for people. subject: what an operator reads as a run's title, with
    names of payload fields in braces. max_visits: how often a run may enter one step. flow: lines of steps joined by
    `>>`; leave it out where steps name what they wait for with `after=`. The docstring describes the workflow.

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

    def __init_subclass__(cls, *, abstract: bool = False, **options: Any) -> None:
        super().__init_subclass__(**options)
        if abstract:
            check_abstract(cls)
        else:
            cls.__squidmesh__ = build(cls, _RESERVED)


_RESERVED = frozenset(name for name in vars(Workflow) if not name.startswith("__"))
