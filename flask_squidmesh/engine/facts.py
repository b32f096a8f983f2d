"""What deciding is told, and what it answers with: rows to write and signals to send once they are committed.

RunFact and StepFact are tuples, because each step copies some, and that takes a dataclass ten times as long.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal, NamedTuple

from ..definition.spec import Backoff, Parameter, RetryPolicy, StepSpec
from ..definition.values import size_of
from .transitions import RunStatus, StepStatus


@dataclass(slots=True, kw_only=True)
class NewStepRun:
    """A visit or a compensation to insert, due at `due_at`, or at once. delivered: whether it gets a dispatch.
    claimed: whether the deliverer of the step before goes on with it."""

    id: str
    kind: str
    step: str
    visit: int
    status: StepStatus
    sees: int
    settings: Mapping[str, Any]
    missing: int = 0
    failure: Mapping[str, Any] | None = None
    decision: Mapping[str, Any] | None = None
    decide_by: datetime | None = None
    due_at: datetime | None = None
    delivered: bool = True
    claimed: bool = False


@dataclass(slots=True, kw_only=True)
class NewDispatch:
    """Work to deliver for a step run that exists already."""

    step_run_id: str
    kind: str
    step: str
    due_at: datetime


@dataclass(slots=True, kw_only=True)
class NewAttempt:
    """An attempt that ended."""

    step_run_id: str
    number: int
    status: str
    worker: str | None
    error: Mapping[str, Any] | None
    started_at: datetime
    finished_at: datetime


@dataclass(slots=True, kw_only=True)
class NewAuditEvent:
    """A line for the audit."""

    type: str
    step: str | None = None
    visit: int | None = None
    actor: Any = None
    comment: str | None = None
    metadata: Mapping[str, Any] | None = None


@dataclass(slots=True, kw_only=True)
class PendingSignal:
    """A signal to send after the commit: its name in `signals`, and what it says beside the run's own facts."""

    signal: str
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Changes:
    """Everything one decision changes. `run` holds columns of the run; `updated` columns by step run id;
    `ended` the step runs whose dispatch goes away, `released` those whose claim ends and when they are due again,
    `left` those that ended and why what follows is for a process of another version to decide."""

    run: dict[str, Any] = field(default_factory=dict)
    entered: list[NewStepRun] = field(default_factory=list)
    updated: dict[str, dict[str, Any]] = field(default_factory=dict)
    attempts: list[NewAttempt] = field(default_factory=list)
    dispatched: list[NewDispatch] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    released: dict[str, datetime] = field(default_factory=dict)
    left: dict[str, str] = field(default_factory=dict)
    audit: list[NewAuditEvent] = field(default_factory=list)
    notices: list[PendingSignal] = field(default_factory=list)

    def update(self, step_run_id: str, **columns: Any) -> None:
        """Set columns of a step run that exists."""
        self.updated.setdefault(step_run_id, {}).update(columns)

    def notice(self, signal: str, **data: Any) -> None:
        """Send the signal after the commit."""
        self.notices.append(PendingSignal(signal=signal, data=data))


RowsToRead = Literal["open", "completed"]
"""Step runs of a run that deciding may ask for: those that have not ended, and the visits that completed."""

COUNTERS: Final = ("attempt", "max_attempts", "remaining", "open_steps", "retrying_steps", "needs_count", "redefined")


class RunFact(NamedTuple):
    """The run row, as far as deciding reads it.

    follows: the fingerprint of the definition that its rows and counts go by. redefined: how often that has changed.
    starters: who started the runs that it replays, who count as its starters beside its actor.
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
    error: Mapping[str, Any] | None
    acknowledged_at: datetime | None
    started_at: datetime | None
    actor: Any
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


_RUN_NAMES: Final = frozenset(RunFact._fields)


def fact_after(run: RunFact, moved: Mapping[str, Any], revision: int) -> RunFact:
    """The run once these columns are written, and the revision it has then."""
    return run._replace(**{name: value for name, value in moved.items() if name in _RUN_NAMES}, revision=revision)


class StepFact(NamedTuple):
    """One step run row: a visit, or the compensation of one.

    due_at: when it is due; of a visit that has ended, since when somebody has to decide what follows.
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
    settings: Mapping[str, Any]
    failure: Mapping[str, Any] | None
    decision: Mapping[str, Any] | None
    due_at: datetime | None
    decide_by: datetime | None
    started_at: datetime | None

    @property
    def irreversible(self) -> bool:
        """Whether the visit's effect cannot be undone, as declared when the visit was made."""
        return bool(self.settings.get("irreversible"))

    @property
    def asked_at(self) -> datetime | None:
        """Since when it waits for a person, where it does."""
        return asked_since(self.decision, self.started_at)

    @property
    def lasts(self) -> bool:
        """Whether the visit completed with an effect that cannot be taken back, so that a repetition is asked for."""
        reversible = not self.irreversible and self.settings.get("compensatable", True)
        return self.status == "completed" and not reversible

    @property
    def waits_for_retry(self) -> bool:
        """Whether an attempt failed and the next one is scheduled."""
        return self.status == "pending" and self.attempts > 0 and self.due_at is not None

    @property
    def compensate(self) -> str | None:
        """Name of the function that undoes the visit."""
        return self.settings.get("compensate")

    @property
    def retry(self) -> RetryPolicy:
        """The retry policy stored with the visit."""
        first, most = self.settings.get("first"), self.settings.get("most")
        return RetryPolicy(
            max_attempts=self.settings.get("max_attempts", 1),
            backoff=None if first is None or most is None else Backoff(first=first, most=most),
            jitter=self.settings.get("jitter", 0.0),
        )


def asked_since(decision: Mapping[str, Any] | None, started_at: datetime | None) -> datetime | None:
    """When the decision was opened: its own time, which a step that has not begun has alone, or the visit's."""
    since = (decision or {}).get("since")
    return datetime.fromisoformat(since) if since else started_at


def entered(run_id: str, row: NewStepRun) -> StepFact:
    """The visit that is made."""
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


def settings_of(step: StepSpec) -> dict[str, Any]:
    """What is stored with a visit of the step and holds for it, whatever is deployed later; but for what is usual."""
    settings: dict[str, Any] = {"kind": step.kind, **_retry(step.retry)}
    if step.aliases:
        settings["aliases"] = list(step.aliases)
    if step.irreversible:
        settings["irreversible"] = True
    if step.blocks_replay:
        settings["compensatable"] = False
    if step.compensate:
        settings |= {"compensate": step.compensate.name, "compensate_retry": _retry(step.compensate.retry)}
    if step.transaction:
        settings["transaction"] = True
    if sources := _sources(step.parameters):
        settings["sources"] = sources
    if step.output is not None:
        settings["output"] = step.output
    if step.permission is not None:
        settings["permission"] = step.permission
    return settings


def _sources(parameters: Iterable[Parameter]) -> dict[str, list[str]]:
    """From where in the state those inputs come that are not named as they are there."""
    return {each.name: list(each.path) for each in parameters if each.path and each.path != (each.name,)}


def _retry(policy: RetryPolicy) -> dict[str, Any]:
    if policy.max_attempts == 1:
        return {}
    backoff = policy.backoff
    spaced = {"first": backoff.first, "most": backoff.most} if backoff else {}
    return {"max_attempts": policy.max_attempts, **spaced, "jitter": policy.jitter}


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """How an attempt failed.

    error: {type, message, code, details, traceback, retryable}. final: no further attempt, whatever the policy says.
    asked: the step asked for a retry, or its policy names the exception. certain: the step's effect surely did not
    happen. after: seconds until the next attempt instead of the policy's delay. exception: what the step raised, for
    the log alone.
    """

    error: Mapping[str, Any]
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
    input: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decider:
    """Who took a control call, and what was said."""

    actor: Any
    comment: str | None = None
    metadata: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionContext:
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


MOST_COPIED: Final = 10_000
FAILED_BY_OPERATOR = "failed_by_operator"
_VARYING = re.compile(r"0x[0-9a-f]+|[0-9a-f]{8}-[0-9a-f-]{27}|[0-9a-f]{16,}|\d+", re.IGNORECASE)


def error(
    type: str, message: str, *, code: str | None = None, details: Any = None, retryable: bool = False
) -> dict[str, Any]:
    """An error of our own as it is stored."""
    return {
        "type": type,
        "message": message,
        "code": code,
        "details": details,
        "traceback": None,
        "retryable": retryable,
    }


def failed_by_operator(said: str) -> dict[str, Any]:
    """The error of a step that a person counts as failed."""
    return error("FailedByOperator", said, code=FAILED_BY_OPERATOR)


def brief(stored: Mapping[str, Any], attempt: int) -> Mapping[str, Any]:
    """The error without bulky details, which are kept once, with the attempt that failed."""
    size = size_of(stored.get("details"))
    if size <= MOST_COPIED:
        return stored
    return {**stored, "details": {"omitted": f"They are {size} bytes of JSON and stand with attempt {attempt}."}}


def fingerprint(workflow: str, step: str | None, stored: Mapping[str, Any]) -> str:
    """The same text for errors that differ only in numbers and ids, at the same step of the same workflow."""
    message = _VARYING.sub("#", str(stored.get("message") or ""))
    parts = (workflow, step or "", str(stored.get("type") or ""), str(stored.get("code") or ""), message)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
