"""What `after=` says: which steps each step waits for."""

from __future__ import annotations

from collections.abc import Iterator

from ..elements import StepElement
from .body import Body


def read_dependencies(body: Body, problems: list[str]) -> dict[str, tuple[str, ...]]:
    """For each step the steps it waits for."""
    return {name: tuple(_read(body, name, each, problems)) for name, each in body.steps.items()}


def _read(body: Body, name: str, step: StepElement, problems: list[str]) -> Iterator[str]:
    if step.after is None:
        return
    if not isinstance(step.after, (list, tuple)):
        found = body.label(step.after)
        problems.append(f"step {name}: after= must be a list of steps, found {found}; write after=[{found}]")
        return
    seen: set[str] = set()
    for each in step.after:
        other = body.name_of(each)
        if other is None:
            problems.append(
                f"step {name}: after= names {body.label(each)}, which is no step of this class; "
                "declare it in the class body, above"
            )
        elif other == name:
            problems.append(f"step {name}: cannot wait for itself; remove it from after=")
        elif other in seen:
            problems.append(f"step {name}: after= names {other} twice; write it once")
        else:
            seen.add(other)
            yield other
