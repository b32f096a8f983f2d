"""What deciding is told: the run and its step runs as they stand.

They are tuples, because each step copies some, and that takes a dataclass ten times as long.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple

from ..workflow.spec import Backoff, Parameter, RetryPolicy, StepSpec
from .changes import NewStepRun
from .status import RunStatus

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


class StepFact(NamedTuple):
    """One step run row: a visit, or the compensation of one.

    due_at: when it is due; of a visit that has ended, since when somebody has to decide what follows.
    """

    id: str
    run_id: str
    kind: str
    step: str
    visit: int
    status: str
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
