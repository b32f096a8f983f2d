"""What a control call leads to, and why one would not succeed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, ClassVar


@dataclass(frozen=True, kw_only=True, eq=False)
class Details(Mapping[str, Any]):
    """Base of frozen dataclasses that are mappings of their fields too, but for those that are None.

    STAYING: the fields that are in the mapping even where they are None. Tuples are lists there.
    """

    STAYING: ClassVar[frozenset[str]] = frozenset()

    def __getitem__(self, name: str) -> Any:
        if name not in self._said():
            raise KeyError(name)
        value = getattr(self, name)
        return list(value) if isinstance(value, tuple) else value

    def __iter__(self) -> Iterator[str]:
        return iter(self._said())

    def __len__(self) -> int:
        return len(self._said())

    def _said(self) -> list[str]:
        names = (each.name for each in fields(self))
        return [name for name in names if name in self.STAYING or getattr(self, name) is not None]


def as_data(value: Any) -> Any:
    """Details as plain dictionaries, whatever holds them."""
    if isinstance(value, Mapping):
        return {name: as_data(item) for name, item in value.items()}
    return [as_data(item) for item in value] if isinstance(value, (list, tuple)) else value


class LeadsTo(Details):
    """What a control call that would succeed now leads to."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Nowhere(LeadsTo):
    """To nothing by itself: other steps have to end first, or the run has ended."""


@dataclass(frozen=True, kw_only=True, eq=False)
class MoreApprovals(LeadsTo):
    """It counts, and so many more people have to approve."""

    further_approvals: int


@dataclass(frozen=True, kw_only=True, eq=False)
class OneStep(LeadsTo):
    """To a step. irreversible: its effect cannot be undone."""

    target: str
    irreversible: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class SeveralSteps(LeadsTo):
    """To one or all of several steps. irreversible: the effect of one of them cannot be undone. ends: how the run may
    end instead, by the word for it.
    """

    targets: tuple[str, ...]
    irreversible: bool
    ends: tuple[str, ...] | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class RunEnds(LeadsTo):
    """To the end of the run. outcome: how it says to have ended, where it does. compensates: the steps that are undone
    then, None where that is not the matter.
    """

    status: str
    outcome: str | None = None
    compensates: tuple[str, ...] | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class RunBegins(LeadsTo):
    """To the run beginning at another time. begins_at: when it would as it is."""

    begins_at: datetime


@dataclass(frozen=True, kw_only=True, eq=False)
class RunStops(LeadsTo):
    """To the run being cancelled. executing: what has to end first. compensates: what can be undone."""

    status: str
    executing: tuple[str, ...]
    compensates: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class GivenUp(LeadsTo):
    """A step that hangs is waited for no longer.

    interrupts: True where its effect cannot be undone, so that a person has to find out about it. status: the run's
    then.
    """

    gives_up: str
    interrupts: bool | None = None
    status: str | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class NewRun(LeadsTo):
    """To a new run with the same payload."""

    new_run: bool = True


@dataclass(frozen=True, kw_only=True, eq=False)
class UndoneAgain(LeadsTo):
    """To these steps being undone."""

    compensates: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class NeedsNobody(LeadsTo):
    """To the run being off what needs a person."""

    STAYING: ClassVar[frozenset[str]] = frozenset({"needs"})
    needs: None = None


class Obstacle(Details):
    """What stands in the way of a control call."""


@dataclass(frozen=True, kw_only=True, eq=False)
class NoMore(Obstacle):
    """Nothing more than the reason says."""


@dataclass(frozen=True, kw_only=True, eq=False)
class RunStatus(Obstacle):
    """The status that the run has."""

    status: str


@dataclass(frozen=True, kw_only=True, eq=False)
class TargetsGone(Obstacle):
    """Steps that should follow and are declared no more."""

    targets: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Blocking(Details):
    """A step that a replay would repeat although its effect cannot be taken back.

    reason: completed, or may_have_taken_effect for a step that began and did not complete.
    """

    step: str
    irreversible: bool
    compensatable: bool
    status: str
    reason: str


@dataclass(frozen=True, kw_only=True, eq=False)
class UnsafeReplay(Obstacle):
    """Steps that stand in the way of a replay, and the argument that says to repeat them all the same."""

    blocked_by: tuple[Blocking, ...]
    required_override: str = "allow_irreversible"


@dataclass(frozen=True, kw_only=True, eq=False)
class PayloadUnfit(Obstacle):
    """What keeps the payload of a run from starting another one; see PayloadError."""

    missing_fields: tuple[str, ...] | None = None
    unknown_fields: tuple[str, ...] | None = None
    invalid_types: Mapping[str, str] | None = None
