"""The workflows that an app knows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..errors import ConfigurationError, UnknownWorkflowError, given
from .declaration import Workflow
from .spec import WorkflowSpec


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
                names.update(dict.fromkeys((spec.name, *spec.aliases), spec.name))
                specs[spec.name] = spec
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

    def _find(self, workflow: Any) -> WorkflowSpec | None:
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


def _spec_of(workflow: Any) -> WorkflowSpec | None:
    if not isinstance(workflow, type) or not issubclass(workflow, Workflow):
        return None
    return vars(workflow).get("__squidmesh__")


def _taken(names: dict[str, str], spec: WorkflowSpec) -> Iterator[str]:
    for name in (spec.name, *spec.aliases):
        if name in names:
            yield (
                f"The name {name!r} of workflow {spec.name} is taken by workflow {names[name]}. "
                "Give one of them another name or alias."
            )
