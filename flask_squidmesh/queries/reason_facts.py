"""What each reason rests on: the facts, and the rows that they were found in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Literal

from ..definition.values import JsonObject
from ..engine.command_effects import Blocking, Details
from ..engine.kept_decisions import Approved, MisfitKept
from ..errors import ErrorRecord


@dataclass(frozen=True, kw_only=True, eq=False)
class Replay(Details):
    """Whether the run that has ended can be replayed as it is, and the reason why not with what its refusal says."""

    allowed: bool
    reason: str | None = None
    required_override: str | None = None
    blocked_by: tuple[Blocking, ...] | None = None
    status: str | None = None
    missing_fields: tuple[str, ...] | None = None
    unknown_fields: tuple[str, ...] | None = None
    invalid_types: Mapping[str, str] | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class ReasonFacts(Details):
    """Base of the facts of all reasons.

    also_open: the other decisions that are open, as "review#1". replay: of a run that has ended. workflow_definition:
    "unavailable" where the workflow is not registered here and that matters. finish_by: when the step should have
    ended, of one with `within=`, and overdue: whether that time is over.
    """

    also_open: tuple[str, ...] | None = None
    replay: Replay | None = None
    workflow_definition: str | None = None
    finish_by: datetime | None = None
    overdue: bool | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Targets(Details):
    """Where an approval leads: the step, None for the end of the run."""

    STAYING: ClassVar[frozenset[str]] = frozenset({"ok", "error"})
    ok: str | None
    error: str | None


@dataclass(frozen=True, kw_only=True, eq=False)
class WaitingForPerson(ReasonFacts):
    """A pause, an approval or a decision is open. options: those of a decision, each with where it may lead. approvals:
    how many people have to approve, and given: who has, where several have to. not_starter: whether it has to be
    somebody else than who started the run; not_by: than who decided at these steps. assignee, groups: whose it is.
    timeout: where it leads when its time is over. deadline: on_time, due_soon or overdue. put_off: why what was to
    happen by itself could not be done yet.
    """

    approval_targets: Targets | None = None
    options: Mapping[str, tuple[str, ...]] | None = None
    resume_target: str | None = None
    prompt: str | None = None
    permission: str | None = None
    approvals: int | None = None
    given: tuple[Approved, ...] | None = None
    not_starter: bool | None = None
    not_by: tuple[str, ...] | None = None
    assignee: str | None = None
    groups: tuple[str, ...] | None = None
    timeout: str | None = None
    decide_by: datetime | None = None
    deadline: str | None = None
    put_off: str | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class WaitingForEvent(ReasonFacts):
    """An event has to come from outside. since: since when it is awaited. misfit: the last that came and did not fit.
    timeout: where it leads when its time is over. deadline: see deadlines. put_off: as of WaitingForPerson.
    """

    event: str
    key: str
    since: datetime
    assignee: str | None = None
    groups: tuple[str, ...] | None = None
    timeout: str | None = None
    decide_by: datetime | None = None
    deadline: str | None = None
    misfit: MisfitKept | None = None
    put_off: str | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class NothingToResume(ReasonFacts):
    """The run is paused and nothing says what for."""

    resume: str = "missing"


@dataclass(frozen=True, kw_only=True, eq=False)
class Interrupted(ReasonFacts):
    """An attempt ended and nobody knows whether its effect happened. attempts: all of them. abandoned: those at the end
    whose worker was lost, one after another.
    """

    irreversible: bool
    attempts: int
    abandoned: int
    worker: str | None = None
    last_error: ErrorRecord | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class CannotBegin(ReasonFacts):
    """A step's input cannot be made. input_errors: what is wrong, by parameter."""

    irreversible: bool
    attempts: int
    input_errors: Mapping[str, str] | None = None
    last_error: ErrorRecord | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class LostClaim(Details):
    """A worker that has not renewed its claim. claim_timeout: in seconds."""

    worker: str | None
    claimed_at: datetime | None
    claim_expired_at: datetime
    claim_timeout: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Delay(Details):
    """Work that is due and that nobody takes. late_by: in seconds."""

    due_at: datetime
    late_by: float
    queue: str
    hand_overs: int
    executor_error: str | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class WorkerLost(ReasonFacts, LostClaim):
    """The worker of the step is lost."""


@dataclass(frozen=True, kw_only=True, eq=False)
class DispatchDelayed(ReasonFacts, Delay):
    """The step is due and nobody takes it."""


@dataclass(frozen=True, kw_only=True, eq=False)
class NothingQueued(ReasonFacts):
    """Nothing is to be delivered for a run that has not ended."""

    dispatch: str = "missing"


@dataclass(frozen=True, kw_only=True, eq=False)
class HeldBack(ReasonFacts):
    """A worker put the work back; held: what it said."""

    held: str
    again_at: datetime


@dataclass(frozen=True, kw_only=True, eq=False)
class Running(ReasonFacts):
    """A worker is at the step. also_running: other steps that are performed at the same time."""

    attempt_number: int
    worker: str | None
    claim_expires_at: datetime
    duplicate_delivery_policy: str = "skip_while_running"
    also_running: tuple[str, ...] | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class WaitingForRetry(ReasonFacts):
    """The last attempt failed and the next is due at a time."""

    next_attempt_number: int
    max_attempts: int
    due_at: datetime
    last_error: ErrorRecord


@dataclass(frozen=True, kw_only=True, eq=False)
class WaitingUntil(ReasonFacts):
    """Nothing is to be done before a time. seconds: until then."""

    until: datetime
    seconds: float


@dataclass(frozen=True, kw_only=True, eq=False)
class BeginsLater(ReasonFacts):
    """It has no steps before a time. seconds: until then. held: why it has not begun, where that has come."""

    begins_at: datetime
    seconds: float
    held: str | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class WaitingForDependencies(ReasonFacts):
    """A join has some of the steps that it waits for."""

    waiting_on: tuple[str, ...]
    dependency_statuses: Mapping[str, str]


@dataclass(frozen=True, kw_only=True, eq=False)
class Queued(ReasonFacts):
    """Work is on its way to a worker."""

    due_at: datetime
    queue: str
    satisfied_dependencies: tuple[str, ...] | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class DeliveryError(Details):
    """What keeps work from going on, if anything does. definition_mismatch: what the worker said that put it back."""

    definition_mismatch: str | None = None
    worker_lost: LostClaim | None = None
    dispatch_delayed: Delay | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class UndoFailure(Details):
    """A step that could not be undone."""

    STAYING: ClassVar[frozenset[str]] = frozenset({"error"})
    step: str
    error: ErrorRecord | None


@dataclass(frozen=True, kw_only=True, eq=False)
class CompensationRunning(ReasonFacts, DeliveryError):
    """Completed steps are being undone. compensations: the status of each, by step."""

    failed_step: str | None
    last_error: ErrorRecord | None
    compensations: Mapping[str, str]


@dataclass(frozen=True, kw_only=True, eq=False)
class CompensationFailed(ReasonFacts):
    """Some completed steps could not be undone."""

    failed_step: str | None
    last_error: ErrorRecord | None
    compensations: Mapping[str, str]
    compensation_failures: tuple[UndoFailure, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Ended(ReasonFacts):
    """The run completed or was cancelled. undone: the steps that were. outcome: how it says to have completed."""

    undone: tuple[str, ...] | None = None
    outcome: str | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Failed(ReasonFacts):
    """The run failed. max_attempts, latest_attempt_number: where the step's retries came to their end."""

    last_error: ErrorRecord | None
    undone: tuple[str, ...] | None = None
    max_attempts: int | None = None
    latest_attempt_number: int | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Cancelling(ReasonFacts, DeliveryError):
    """The run was cancelled. waiting_on: the steps whose attempts have still to end. give_up_at: when one that hangs
    can be given up.
    """

    waiting_on: tuple[str, ...]
    cancelled_at: datetime | None = None
    give_up_at: datetime | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class StuckWork(Details):
    """Work that nobody takes. worker: who held it, where its claim expired. held: why a worker put it back."""

    STAYING: ClassVar[frozenset[str]] = frozenset({"worker", "executor_error", "held"})
    reason: Literal["worker_lost", "definition_mismatch", "dispatch_delayed"]
    step: str
    due_at: datetime
    worker: str | None
    queue: str
    executor_error: str | None
    held: str | None


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
    last_error: ErrorRecord | None


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
    last_error: ErrorRecord | None
    decision: JsonObject | None = None


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
    last_error: ErrorRecord | None


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
    attempt: JsonObject | None = None
    dispatch: DispatchEvidence | None = None
    steps: tuple[StepState, ...] | None = None
    workflow_definition: Definition | None = None
