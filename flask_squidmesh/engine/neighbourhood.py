"""What deciding looks at beside the run and the step run that it is about."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .facts import StepFact


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbourhood:
    """What deciding needs beside the run and the step run.

    state: values for conditions and prompts. visits: how often the run has entered the steps that may follow.
    lasting: in a run whose definition has changed, the steps that completed and must not be repeated unasked.
    joins: rows of dependents that count their dependencies. decisions: the other open decisions of the run.
    compensations: all compensation rows of the run. hides: whether prompts may not show what has this name.
    """

    state: Mapping[str, Any] = field(default_factory=dict)
    visits: Mapping[str, int] = field(default_factory=dict)
    lasting: frozenset[str] = frozenset()
    joins: Mapping[str, StepFact] = field(default_factory=dict)
    decisions: Sequence[StepFact] = ()
    compensations: Sequence[StepFact] = ()
    hides: Callable[[str], bool] = lambda name: False
