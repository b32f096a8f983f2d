"""The rows that an explanation rests on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from ..engine.details import Details

_LAST_ERROR = frozenset({"last_error"})


@dataclass(frozen=True, kw_only=True, eq=False)
class RunEvidence(Details):
    """The run as it stands."""

    STAYING: ClassVar[frozenset[str]] = _LAST_ERROR
    id: str
    status: str
    workflow: str
    current_step: str | None
    created_at: datetime
    updated_at: datetime
    last_error: Mapping[str, Any] | None


@dataclass(frozen=True, kw_only=True, eq=False)
class StepRunEvidence(Details):
    """The step run that the reason is about. decision: the one that is open at it."""

    STAYING: ClassVar[frozenset[str]] = _LAST_ERROR
    id: str
    kind: str
    step: str
    visit: int
    status: str
    due_at: datetime | None
    decide_by: datetime | None
    created_at: datetime
    started_at: datetime | None
    last_error: Mapping[str, Any] | None
    decision: Mapping[str, Any] | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class DispatchEvidence(Details):
    """The work that is to be delivered for the step run. held: why a worker put it back."""

    due_at: datetime
    queue: str
    hand_overs: int
    hand_over_error: str | None
    held: str | None
    claimed_by: str | None
    claimed_at: datetime | None


@dataclass(frozen=True, kw_only=True, eq=False)
class StepState(Details):
    """One declared step and what it waits for."""

    STAYING: ClassVar[frozenset[str]] = _LAST_ERROR
    step: str
    status: str
    depends_on: tuple[str, ...]
    last_error: Mapping[str, Any] | None


@dataclass(frozen=True, kw_only=True, eq=False)
class Definition(Details):
    """The workflow, where it is not the one that the run was started with. available: whether it is registered here."""

    available: bool
    changed: bool | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Evidence(Details):
    """attempt: the last one of the step run. steps: all of them, where the reason is about what waits for what."""

    run: RunEvidence
    step_run: StepRunEvidence | None = None
    attempt: Mapping[str, Any] | None = None
    dispatch: DispatchEvidence | None = None
    steps: tuple[StepState, ...] | None = None
    workflow_definition: Definition | None = None
