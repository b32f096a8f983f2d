"""The names that steps had before."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..elements import StepElement

LONGEST = 200


def read_aliases(steps: Mapping[str, StepElement], problems: list[str]) -> dict[str, tuple[str, ...]]:
    """For each step the names it had. A name belongs to one step, be it the present or a former one."""
    taken = {name: f"the name of step {name}" for name in steps}
    return {name: tuple(_read(name, each.aliases, taken, problems)) for name, each in steps.items()}


def _read(step: str, aliases: Any, taken: dict[str, str], problems: list[str]) -> Iterator[str]:
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
