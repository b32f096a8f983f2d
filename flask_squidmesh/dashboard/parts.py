"""The parts of a run that hold data, each with its name in addresses and its place in the run's JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..reading.looking import Look
from ..reading.views import Run, StepRunView
from .redaction import Path

OF_RUN = ("payload", "context")
OF_VISIT = ("input", "output", "error", "failure")


@dataclass(frozen=True, slots=True)
class Part:
    """name: "payload", "context", or "step/<step>/<visit>/<what>", and "compensation/..." for what undoes a step."""

    name: str
    path: Path
    value: Any


def of_run(run: Run, what: str) -> Part:
    """Its payload or its context."""
    return Part(what, (what,), getattr(run, what))


def of_visit(run: Run, visit: StepRunView, what: str) -> Part:
    """The input, output, error or failure of a visit; the failure is the error that led to it."""
    return Part(f"{_name(visit)}/{what}", (*_place(run, visit), what), getattr(visit, what))


def of_attempt(run: Run, visit: StepRunView, number: int) -> Part:
    """The error of one attempt."""
    ended = [each.attempt_number for each in visit.attempts]
    index = ended.index(number)
    path = (*_place(run, visit), "attempts", index, "error")
    return Part(f"{_name(visit)}/attempt-{number}", path, visit.attempts[index].error)


def state_seen(look: Look, visit: StepRunView) -> Part:
    """The state that the visit saw."""
    return Part(f"{_name(visit)}/state", (*_place(look.run, visit), "state"), look.state_of(visit))


def named(look: Look, name: str) -> Part | None:
    """The part of that name; None where the run has none such."""
    if name in OF_RUN:
        return of_run(look.run, name)
    place, _, what = name.rpartition("/")
    visit = next((each for each in look.run.step_runs or () if _name(each) == place), None)
    if visit is None:
        return None
    if what in OF_VISIT:
        return of_visit(look.run, visit, what)
    if what == "state":
        return state_seen(look, visit)
    attempt = next((each for each in visit.attempts if what == f"attempt-{each.attempt_number}"), None)
    return of_attempt(look.run, visit, attempt.attempt_number) if attempt else None


def _name(visit: StepRunView) -> str:
    return f"{visit.kind}/{visit.step}/{visit.visit}"


def _place(run: Run, visit: StepRunView) -> Path:
    return ("step_runs", (run.step_runs or ()).index(visit))
