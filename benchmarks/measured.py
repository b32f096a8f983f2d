"""The figures of what was measured, and whether they are the goals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from .contenders.answering import percentile
from .works import Figure, Goal

Answer = Mapping[str, Any]
KIB = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """The middle and the ends of one figure over all rounds."""

    middle: float
    least: float
    most: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What came of one goal. compared: our figure, or its ratio to the other. met: None where it was not measured."""

    goal: Goal
    ours: Spread | None
    other: Spread | None
    compared: Spread | None
    met: bool | None


@dataclass(slots=True)
class Results:
    """The answers of every entry of every work, by round; one that failed in a round has none there."""

    answers: dict[tuple[str, str], dict[int, Answer]] = field(default_factory=dict)
    failures: dict[tuple[str, str], str] = field(default_factory=dict)

    def add(self, work: str, entry: str, round: int, answer: Answer) -> None:
        """Keep an answer."""
        self.answers.setdefault((work, entry), {})[round] = answer

    def fail(self, work: str, entry: str, reason: str) -> None:
        """Keep why there is no answer."""
        self.failures[work, entry] = reason

    def values(self, figure: Figure) -> dict[int, float]:
        """The figure in each round that has it."""
        answers = self.answers.get((figure.work, figure.entry), {})
        found = {round: value_of(answer, figure.name) for round, answer in answers.items()}
        return {round: value for round, value in found.items() if value is not None}

    def spread(self, figure: Figure) -> Spread | None:
        """The figure over all rounds; None where no round has it."""
        return spread(list(self.values(figure).values()))

    def verdict(self, goal: Goal) -> Verdict:
        """Whether the goal is met. Ratios are taken within each round, and the middle one counts."""
        ours = self.values(goal.ours)
        if goal.other is None:
            compared = spread(list(ours.values()))
            met = None if compared is None else _holds(goal, round(compared.middle, 1))
            return Verdict(goal=goal, ours=compared, other=None, compared=compared, met=met)
        others = self.values(goal.other)
        ratios = [ours[round] / others[round] for round in sorted(ours.keys() & others.keys()) if others[round]]
        compared = spread(ratios)
        return Verdict(
            goal=goal,
            ours=spread(list(ours.values())),
            other=spread(list(others.values())),
            compared=compared,
            met=None if compared is None else _holds(goal, compared.middle),
        )


def spread(values: Sequence[float]) -> Spread | None:
    """Median and range; None of nothing."""
    return Spread(middle=median(values), least=min(values), most=max(values)) if values else None


def value_of(answer: Answer, name: str) -> float | None:
    """One figure of an answer; None where it has none.

    :param name: `rate` (units a second), `ms_per_unit`, `p50` and `p99` (of the samples, in ms), `commits_per_unit`,
        `wal_per_unit` (KiB), `statements_per_unit`, or a key of the answer.
    """
    units, seconds, samples = answer.get("units"), answer.get("seconds"), answer.get("samples")
    if name == "rate":
        return units / seconds if units and seconds else None
    if name == "ms_per_unit":
        return seconds / units * 1000 if units and seconds else None
    if name in ("p50", "p99"):
        return percentile(samples, int(name[1:]) / 100) * 1000 if samples else None
    if name.endswith("_per_unit"):
        return _for_each_unit(answer, name.removesuffix("_per_unit"), units)
    value = answer.get(name)
    return None if value is None else float(value)


def _for_each_unit(answer: Answer, what: str, units: int | None) -> float | None:
    total = answer.get("wal_bytes" if what == "wal" else what)
    if total is None or not units:
        return None
    return float(total) / units / (KIB if what == "wal" else 1)


def _holds(goal: Goal, value: float) -> bool:
    match goal.relation:
        case "at least":
            return value >= goal.factor
        case "more than":
            return value > goal.factor
        case "at most":
            return value <= goal.factor
        case "below":
            return value < goal.factor
