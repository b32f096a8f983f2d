"""What deciding is told: the run and its step runs as they stand, what was read beside them, and what happened.

What is made for every step is a named tuple, because making a frozen dataclass takes ten times as long.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from ..definition.spec import VisitSettings, WorkflowSpec
from ..definition.values import JsonObject, JsonValue
from ..errors import ErrorRecord
from .changes import NewStepRun, RowsToRead, RunColumns, StepColumns
from .kept_decisions import EVENT, LISTED, DecisionEvent, DecisionKept, DecisionKind
from .transitions import RunStatus, StepStatus, is_scheduled

COUNTERS: Final = (
    *("attempt", "max_attempts", "remaining", "open_steps", "retrying_steps", "awaiting_steps"),
    *("needs_count", "redefined"),
)


class RunFact(NamedTuple):
    """The run row, as far as deciding reads it.

    follows: the fingerprint of the definition that its rows and counts go by. redefined: how often that has changed.
    starters: who started the runs that it replays, who count as its starters beside its actor. diversion: see
    `diversions`. deadline_at: when its own deadline ends it. overdue_since: since when a step of it is late, as people
    were told.
    """

    id: str
    workflow: str
    trigger: str
    status: RunStatus
    current_step: str | None
    position: int
    remaining: int
    open_steps: int
    retrying_steps: int
    revision: int
    needs: str | None
    needs_count: int
    needs_due_at: datetime | None
    needs_since: datetime | None
    compensation: str | None
    error: ErrorRecord | None
    acknowledged_at: datetime | None
    started_at: datetime | None
    actor: JsonValue
    attempt: int = 0
    max_attempts: int = 0
    due_at: datetime | None = None
    follows: str = ""
    redefined: int = 0
    replayed_as_id: str | None = None
    cancelled_at: datetime | None = None
    starters: Sequence[str] | None = None
    tenant: str = ""
    queue: str = ""
    diversion: str | None = None
    deadline_at: datetime | None = None
    overdue_since: datetime | None = None
    awaiting_steps: int = 0

    @property
    def is_scheduled(self) -> bool:
        """Whether it is to begin later, at `due_at`, and has no steps until then."""
        return is_scheduled(self.status, self.open_steps, self.due_at)


_RUN_NAMES: Final = frozenset(RunFact._fields)


def fact_after(run: RunFact, moved: RunColumns, revision: int) -> RunFact:
    """Return the run as it is once these columns and this revision are written."""
    columns: dict[str, Any] = {name: value for name, value in moved.items() if name in _RUN_NAMES}
    return run._replace(**columns, revision=revision)


class StepFact(NamedTuple):
    """One step run row: a visit, or the compensation of one.

    due_at: when it is due; of a visit that has ended, since when somebody has to decide what follows. decide_by: when
    it should have ended, of one that waits for people or of which they are told when it takes long.
    """

    id: str
    run_id: str
    kind: str
    step: str
    visit: int
    status: StepStatus
    sees: int
    position: int | None
    missing: int
    attempts: int
    abandoned: int
    settings: VisitSettings
    failure: ErrorRecord | None
    decision: DecisionKept | None
    due_at: datetime | None
    decide_by: datetime | None
    started_at: datetime | None

    @property
    def irreversible(self) -> bool:
        """Whether the visit's effect cannot be undone, as declared when the visit was made."""
        return self.settings.irreversible

    @property
    def asked_at(self) -> datetime | None:
        """When its decision was opened, if it waits for one."""
        return asked_since(self.decision, self.started_at)

    @property
    def lasts(self) -> bool:
        """Whether the visit completed with an effect that cannot be taken back, so that a repetition is asked for."""
        reversible = not self.irreversible and self.settings.compensatable
        return self.status == "completed" and not reversible

    @property
    def waits_for_retry(self) -> bool:
        """Whether an attempt failed and the next one is scheduled."""
        return self.status == "pending" and self.attempts > 0 and self.due_at is not None

    @property
    def asks(self) -> DecisionKind | None:
        """What kind of decision is, or was, asked at it."""
        return self.decision["kind"] if self.decision else None

    @property
    def timed(self) -> bool:
        """Whether it is a step of which people are told when it takes long."""
        return self.decide_by is not None and self.asks not in LISTED

    @property
    def awaits_event(self) -> bool:
        """Whether it waits for an event."""
        return self.status == "paused" and self.asks == EVENT

    @property
    def goes_on(self) -> bool:
        """Whether it has begun, or may, and can go on without a person: it is due, executing, or awaits an event."""
        due = self.status == "pending" and not self.missing
        return due or self.status == "running" or self.awaits_event

    @property
    def compensate(self) -> str | None:
        """Name of the function that undoes the visit."""
        return self.settings.compensate


def asked_since(decision: DecisionKept | None, started_at: datetime | None) -> datetime | None:
    """Return when the decision was opened: as it says itself, else when its visit began."""
    since = decision.get("since") if decision else None
    return datetime.fromisoformat(since) if since else started_at


_STEP_NAMES: Final = frozenset(StepFact._fields)


def step_after(row: StepFact, columns: StepColumns) -> StepFact:
    """Return the step run as it is once these columns are written."""
    known: dict[str, Any] = {name: value for name, value in columns.items() if name in _STEP_NAMES}
    return row._replace(**known)


def entered(run_id: str, row: NewStepRun) -> StepFact:
    """Return the step run as it is once it is inserted."""
    return StepFact(
        id=row.id,
        run_id=run_id,
        kind=row.kind,
        step=row.step,
        visit=row.visit,
        status="running" if row.claimed else row.status,
        sees=row.sees,
        position=None,
        missing=row.missing,
        attempts=int(row.claimed),
        abandoned=0,
        settings=row.settings,
        failure=row.failure,
        decision=row.decision,
        due_at=row.due_at,
        decide_by=row.decide_by,
        started_at=None,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """How an attempt failed.

    error: {type, message, code, details, traceback, retryable}. final: no further attempt, whatever the policy says.
    asked: the step asked for a retry, or its policy names the exception. certain: the step's effect surely did not
    happen. after: seconds until the next attempt instead of the policy's delay. exception: what the step raised, for
    the log alone.
    """

    error: ErrorRecord
    final: bool = False
    asked: bool = False
    certain: bool = False
    after: float | None = None
    exception: BaseException | None = None


class Performed(NamedTuple):
    """One attempt that came to an end: by whom, when, and what it was given."""

    number: int
    worker: str | None
    started_at: datetime
    input: JsonObject | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decider:
    """Who made a control call, and what they said."""

    actor: JsonValue
    comment: str | None = None
    metadata: JsonObject | None = None


class Adoption(NamedTuple):
    """Says that the run is brought to the definition that decides.

    rows: all its step runs. loaded_at: when the process that knows the definition was started.
    """

    rows: Sequence[StepFact]
    loaded_at: datetime


def _shows(name: str) -> bool:
    return False


class DecisionContext(NamedTuple):
    """What deciding looks at beside the run and the step run.

    state: values for conditions and prompts. visits: how often the run has entered the steps that may follow.
    lasting: in a run whose definition has changed, the steps that completed and must not be repeated unasked.
    joins: rows of dependents that count their dependencies. decisions: the other open decisions of the run.
    compensations: all compensation rows of the run. hides: whether prompts may not show what has this name.
    adoption: where the run followed another definition. left_to: why what follows from a visit that ends is for a
    process of another version to decide; None where it is for this one. The visit is closed then, and what follows is
    due. read: rows that deciding has asked for.
    """

    state: JsonObject = MappingProxyType({})
    visits: Mapping[str, int] = MappingProxyType({})
    lasting: frozenset[str] = frozenset()
    joins: Mapping[str, StepFact] = MappingProxyType({})
    decisions: Sequence[StepFact] = ()
    compensations: Sequence[StepFact] = ()
    hides: Callable[[str], bool] = _shows
    adoption: Adoption | None = None
    left_to: str | None = None
    read: Mapping[RowsToRead, Sequence[StepFact]] = MappingProxyType({})


class DecisionState(NamedTuple):
    """What a decision is taken on: the workflow as this process knows it, the run, the moment, and what lies around."""

    spec: WorkflowSpec
    run: RunFact
    now: datetime
    new_id: Callable[[], str]
    context: DecisionContext = DecisionContext()


class RunStarted(NamedTuple):
    """A run begins: with its first steps, or, as a replay, at one step with what came before copied.

    done: in dependency style, the steps that were copied. failure: what led there before, by an error route.
    """

    at_step: str | None = None
    done: Collection[str] = ()
    failure: ErrorRecord | None = None


class RunScheduled(NamedTuple):
    """A run is written that begins later."""

    at: datetime


class RunRescheduled(NamedTuple):
    """A person has a run that is to begin later begin at another time."""

    at: datetime
    decider: Decider


class ScheduledRunDue(NamedTuple):
    """A run begins that was to begin later, with the first steps of the definition that decides.

    loaded_at: when the process was started that has this definition.
    """

    loaded_at: datetime


class AttemptCompleted(NamedTuple):
    """The attempt succeeded with an output that is already under its key."""

    visit: StepFact
    output: JsonObject
    performed: Performed


class AttemptFailed(NamedTuple):
    """The attempt failed."""

    visit: StepFact
    failure: Failure
    performed: Performed


class InputRefused(NamedTuple):
    """The claimed step did not begin, because its input cannot be made: no attempt was made and nothing happened."""

    visit: StepFact
    error: ErrorRecord


class AttemptAbandoned(NamedTuple):
    """The claim was lost. most: lost attempts in a row after which a person has to look."""

    visit: StepFact
    performed: Performed
    most: int


class DefinitionChanged(NamedTuple):
    """The run is brought to another definition, and nothing else happens."""


class FollowUpDue(NamedTuple):
    """A visit ended in a process which had to leave it to others what follows. error: of one that failed."""

    visit: StepFact
    error: ErrorRecord | None


class DecisionAnswered(NamedTuple):
    """A person resumed a manual step, or took one of its options. answer: what they filled into its form."""

    visit: StepFact
    event: DecisionEvent
    decider: Decider
    option: str | None = None
    answer: JsonObject | None = None


class ApprovalGiven(NamedTuple):
    """A person took the option that lets the run go on, and others have to take it too."""

    visit: StepFact
    decider: Decider
    answer: JsonObject | None = None


class TimerDue(NamedTuple):
    """The time has come for what happens next at an open wait by itself: a reminder, an escalation, its end."""

    visit: StepFact


class StepReminderDue(NamedTuple):
    """The time has come to tell people of a step that takes long. overdue: it should have ended by now."""

    visit: StepFact
    overdue: bool


class EventTaken(NamedTuple):
    """A wait for an event takes one. said: which one, for the records."""

    visit: StepFact
    payload: JsonObject
    said: JsonObject


class EventMisfit(NamedTuple):
    """An event came that the wait would have taken, but for its payload, which the step does not take."""

    visit: StepFact
    event_id: str
    why: str


class EventCancels(NamedTuple):
    """An event came that cancels the run. compensate: and has it undone. said: which one, for the records."""

    compensate: bool
    said: JsonObject


class WaitAssigned(NamedTuple):
    """A person made an open wait somebody's, or nobody's: None."""

    visit: StepFact
    assignee: str | None
    decider: Decider


class RunNoted(NamedTuple):
    """A person wrote a note, and nothing else happens."""

    decider: Decider


class RunDeadlinePassed(NamedTuple):
    """The run has taken longer than it may. cancel: it is cancelled instead of failing; compensate: and undone."""

    cancel: bool
    compensate: bool


class StepResolved(NamedTuple):
    """A person says that a step that was interrupted, or could not begin, took effect, with this output."""

    visit: StepFact
    output: JsonObject
    decider: Decider


class StepGivenUp(NamedTuple):
    """A person says that a step that was interrupted, or could not begin, has failed."""

    visit: StepFact
    error: ErrorRecord
    decider: Decider


class AttemptGivenUp(NamedTuple):
    """A person gives up an executing attempt: its claim is gone, and whatever it still reports is dropped."""

    visit: StepFact
    error: ErrorRecord
    decider: Decider
    performed: Performed


class StepRetried(NamedTuple):
    """A person retries a step that was interrupted or could not begin."""

    visit: StepFact
    decider: Decider


class RunCancelled(NamedTuple):
    """A person cancels: what is not executing ends now, what is executing ends the run when it ends."""

    decider: Decider
    compensate: bool


class CompensationRetried(NamedTuple):
    """A person retries the failed compensations."""

    decider: Decider


class RunReplayed(NamedTuple):
    """A person replayed the run as another one. begins: where that one begins, for the audit."""

    decider: Decider
    run_id: str
    begins: JsonObject


class FailureAcknowledged(NamedTuple):
    """A person has taken note of the failure."""

    decider: Decider


Fact = (
    AttemptCompleted
    | AttemptFailed
    | RunStarted
    | RunScheduled
    | RunRescheduled
    | ScheduledRunDue
    | InputRefused
    | AttemptAbandoned
    | DefinitionChanged
    | FollowUpDue
    | DecisionAnswered
    | ApprovalGiven
    | TimerDue
    | StepReminderDue
    | EventTaken
    | EventMisfit
    | EventCancels
    | WaitAssigned
    | RunNoted
    | RunDeadlinePassed
    | StepResolved
    | StepGivenUp
    | AttemptGivenUp
    | StepRetried
    | RunCancelled
    | CompensationRetried
    | RunReplayed
    | FailureAcknowledged
)
"""All that can happen to a run."""
