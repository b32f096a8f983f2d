"""One thing that cannot be, and the change of rows that mends it safely, if there is one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import sqlalchemy as sa


@dataclass(frozen=True, slots=True, kw_only=True)
class Mend:
    """A change that brings rows in line with others that are certain. says: what it does, for people.

    change: "update" and "delete" concern the rows that `where` finds; "dispatch" makes the work of the step run
    `step_run_id` due, or, with `lost`, has it taken over like that of a dead worker.
    """

    says: str
    change: Literal["update", "delete", "dispatch"]
    table: sa.Table | None = None
    where: sa.ColumnElement[bool] | None = None
    values: Mapping[str, Any] = field(default_factory=dict)
    step_run_id: str | None = None
    lost: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One impossible state. run_id: None where no run is concerned. rule: its short name.

    found, expected, advice: what is so, what must be, and what to do. mend: None where a person has to decide.
    """

    rule: str
    run_id: str | None
    found: str
    expected: str
    advice: str = ""
    mend: Mend | None = None

    def __str__(self) -> str:
        """The finding as a sentence or three."""
        remedy = f"`flask squidmesh doctor --repair` {self.mend.says}." if self.mend else self.advice
        return f"{self.found}; expected {self.expected}. {remedy}"
