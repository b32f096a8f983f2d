"""What queries return: frozen values, each with a `to_dict()` that JSON can hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, NotRequired, TypedDict

from ..definition.values import JsonObject
from ..engine.command_rules import NextAction, Refusal
from ..engine.event_outcomes import SENDER
from ..engine.kept_decisions import Approved, ApproverRules, OptionKept, TimerKept
from ..engine.timers import DEADLINE
from ..errors import ErrorRecord
from ..storage.summaries import RunSummary, document_of, plain
from .reason_facts import Evidence, ReasonFacts, StuckWork, UndoFailure


class DecisionTargets(TypedDict):
    """Where a decision leads: the step, None for the end of the run."""

    ok: str | None
    error: str | None


class AskedOfPeople(TypedDict, total=False):
    """The part of what is asked that not every decision has; see DecisionAsked."""

    options: Sequence[OptionKept]
    values: Mapping[str, Any]
    assignee: str | None
    groups: Sequence[str]
    timeout: str | None
    timers: Sequence[TimerKept]


class DecisionAsked(ApproverRules, AskedOfPeople):
    """What is, or was, asked at a manual step. kind: pause, approval, decision, interrupted or incident. approvals and
    given are there where one approval is not enough. options: the answers of an approval or a decision, with the JSON
    schema of their forms; values: what the fields of these begin with. assignee, groups: whose it is. timeout: where it
    leads when its time is over. timers: what happens at it by itself, and when.
    """

    kind: str
    prompt: str | None
    permission: str | None
    targets: DecisionTargets
    output_key: str | None


class DecisionTaken(TypedDict):
    """Who decided a step run and how. event: approved, rejected, decided, timed_out, resumed, retried, resolved, failed
    or given_up."""

    event: str
    at: str
    actor: NotRequired[Any]
    comment: NotRequired[str | None]
    metadata: NotRequired[Mapping[str, Any] | None]


class CompensationState(TypedDict):
    """What undoes a step. callback: its name. status: available until it is called."""

    callback: str
    status: str
    output: NotRequired[Mapping[str, Any]]
    error: NotRequired[ErrorRecord]
    started_at: NotRequired[datetime]
    finished_at: NotRequired[datetime]


class FailureRoute(TypedDict):
    """What followed when a step failed for good. target: the step that its error route leads to."""

    strategy: str
    target: str | None


class Recovery(TypedDict):
    """What holds for a step's replay and undoing."""

    irreversible: bool
    compensatable: bool
    replay: Literal["allowed", "manual_review_required"]
    recovery: Literal["automatic", "manual_intervention"]
    compensation: NotRequired[CompensationState]
    failure: NotRequired[FailureRoute]


class ScheduleState(TypedDict):
    """The activation that a cron trigger started a run for."""

    workflow: str
    trigger: str
    expression: str
    timezone: str
    intended_window: str
    received_at: str
    signal_id: str | None
    idempotency: str | None


class View:
    """Gives a dataclass its `to_dict`."""

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON data."""
        return document_of(self)  # type: ignore[arg-type]


@dataclass(frozen=True, kw_only=True)
class AttemptView(View):
    """One attempt. status: running, completed, failed or abandoned."""

    id: str
    attempt_number: int
    status: str
    worker: str | None
    error: ErrorRecord | None
    started_at: datetime
    finished_at: datetime | None
    claim_expires_at: datetime | None = None

    @property
    def is_performed(self) -> bool:
        """Whether a worker performed it: what ended a wait, a person, an event or its deadline, is kept as one too."""
        return self.worker not in (None, SENDER, DEADLINE)


@dataclass(frozen=True, kw_only=True)
class StepRunView(View):
    """One visit to a step, or one compensation. Every step run that exists, in the order they were made.

    kind: step or compensation. status: waiting (a join whose dependencies are not done), pending, running, paused,
    completed, failed or cancelled. decision: for an open or taken manual step {kind, prompt, permission, targets,
    output_key}; kind is pause, approval, interrupted or incident. manual: who decided it, {event, at, actor, comment,
    metadata}.
    due_at: not before then, for a wait or a backoff. decide_by: when an open decision is due.
    """

    id: str
    kind: str
    step: str
    visit: int
    status: str
    input: Mapping[str, Any] | None
    output: Mapping[str, Any] | None
    error: ErrorRecord | None
    failure: ErrorRecord | None
    recovery: str | None
    settings: Mapping[str, Any]
    decision: DecisionAsked | None
    manual: DecisionTaken | None
    due_at: datetime | None
    decide_by: datetime | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    attempts: tuple[AttemptView, ...]


@dataclass(frozen=True, kw_only=True)
class StepView(View):
    """One declared step with the state of its last visit; status is waiting where the run has not reached it.

    kind: function, wait, log, pause or approval (unknown for a step that is no longer declared).
    """

    step: str
    kind: str
    status: str
    depends_on: tuple[str, ...]
    visits: int
    input: Mapping[str, Any] | None
    output: Mapping[str, Any] | None
    error: ErrorRecord | None
    recovery: Recovery
    attempts: tuple[AttemptView, ...]
    started_at: datetime | None
    finished_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class AuditEventView(View):
    """What was decided: type, by whom, why, when. run_id is None for what concerns no run.

    times: how often, for a refused attempt that was made again; last_at: when for the last time, None for once.
    """

    id: int
    run_id: str | None
    type: str
    step: str | None
    visit: int | None
    actor: Any
    comment: str | None
    metadata: Mapping[str, Any] | None
    at: datetime
    times: int = 1
    last_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class TimelineEvent(View):
    """One thing that happened to a run.

    type: started; entered, compensation_planned; attempt_started, attempt_completed, attempt_failed,
    attempt_abandoned; the types of audit events; notice_delivered, notice_failed, notice_waiting or notice_dropped for
    what others were told; completed, failed or cancelled for the end. kind: step or compensation, for what concerns a
    step run. details: facts, such as {"due_at"} or {"error"}. times, last_at: how
    often the same was done, and when for the last time, where it was done more than once.
    """

    at: datetime
    type: str
    kind: str | None = None
    step: str | None = None
    visit: int | None = None
    attempt: int | None = None
    actor: Any = None
    comment: str | None = None
    details: Mapping[str, Any] | None = None
    times: int = 1
    last_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Run(RunSummary):
    """One run. steps, step_runs, audit_events and timeline are None, unless it is a RunHistory.

    context: the outputs so far, merged, newest wins. last_error: {type, message, code, details, traceback, retryable}.
    decision: the token to pass as `expected` to a control call. children: the runs it started. replays: the runs that
    replay it. pruned: those of its parent, its children and its replays that have been deleted.
    """

    payload: Mapping[str, Any]
    context: Mapping[str, Any]
    schedule: ScheduleState | None
    last_error: ErrorRecord | None
    fingerprint: str
    decision: str
    children: tuple[str, ...]
    replays: tuple[str, ...] = ()
    pruned: tuple[str, ...] = ()
    steps: tuple[StepView, ...] | None = None
    step_runs: tuple[StepRunView, ...] | None = None
    audit_events: tuple[AuditEventView, ...] | None = None
    timeline: tuple[TimelineEvent, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class RunHistory(Run):
    """One run with all that happened to it.

    steps: what its workflow declares, each as it stands. step_runs: every visit and compensation, in the order they
    were made. audit_events: who decided what. timeline: all of it by time.
    """

    steps: tuple[StepView, ...]
    step_runs: tuple[StepRunView, ...]
    audit_events: tuple[AuditEventView, ...]
    timeline: tuple[TimelineEvent, ...]


@dataclass(frozen=True, kw_only=True)
class Explanation(View):
    """Why a run is where it is, what supports that, and what can be done.

    details, evidence: facts, as attributes and as mappings; `to_dict` has them as dictionaries.
    """

    run_id: str
    status: str
    reason: str
    step: str | None
    details: ReasonFacts
    next_actions: tuple[NextAction, ...]
    refusals: tuple[Refusal, ...]
    evidence: Evidence

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON data."""
        return {
            "run_id": self.run_id,
            "status": self.status,
            "reason": self.reason,
            "step": self.step,
            "details": plain(dict(self.details)),
            "next_actions": [action.to_dict() for action in self.next_actions],
            "refusals": [refusal.to_dict() for refusal in self.refusals],
            "evidence": plain(dict(self.evidence)),
        }


@dataclass(frozen=True, kw_only=True)
class GraphNode(View):
    """One declared step in the graph. `current` marks where the run is.

    decision: the kind of the decision that is open at it: pause, approval, interrupted or incident; None where none is.
    """

    id: str
    step: str
    kind: str
    status: str
    current: bool
    visits: int
    irreversible: bool
    compensate: str | None
    compensation: str | None
    decision: str | None = None


@dataclass(frozen=True, kw_only=True)
class GraphEdge(View):
    """One possible move. outcome: ok, error, reject or dependency. status: selected, skipped, pending or blocked.

    times: how often the run went this way; 0 where steps wait for others.
    """

    id: str
    source: str
    target: str
    outcome: str
    condition: JsonObject | None
    status: str
    times: int = 0


@dataclass(frozen=True, kw_only=True)
class Graph(View):
    """A run's workflow as nodes and edges with their states. Edges are empty where the workflow is not registered."""

    run_id: str
    workflow: str
    status: str
    terminal: bool
    nodes: tuple[GraphNode, ...]
    edges: tuple[GraphEdge, ...]


@dataclass(frozen=True, kw_only=True)
class RunPage(View):
    """One page of a list. `next` is the cursor for the following page, None on the last."""

    runs: tuple[RunSummary, ...]
    next: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """How many there are. capped: there are more than `value`, which were not counted."""

    value: int
    capped: bool = False

    def __str__(self) -> str:
        if not self.capped:
            return str(self.value)
        return f"{self.value // 1000}k+" if self.value >= 1000 and self.value % 1000 == 0 else f"{self.value}+"


@dataclass(frozen=True, kw_only=True)
class AuditPage(View):
    """One page of the audit. `next` is the cursor for the following page, None on the last."""

    events: tuple[AuditEventView, ...]
    next: str | None


@dataclass(frozen=True, kw_only=True)
class DecisionView(View):
    """An open decision. kind: pause, approval, decision, interrupted or incident. targets: {ok, error}, None: the end.

    deadline: on_time, due_soon or overdue; None where none is set. approvals: how many people have to approve. given:
    their approvals so far, each {actor, comment, at}. not_starter: whether the person who started the run may not.
    starters: who else counts as that person, because they started a run that this one replays.
    error: what stopped the step, of one that was interrupted or cannot begin. options: the answers to an approval or a
    decision. not_by: where whoever decided may not take the first one. assignee, groups: whose it is.
    """

    id: str
    step: str
    visit: int
    kind: str
    prompt: str | None
    permission: str | None
    approvals: int
    given: tuple[Approved, ...]
    not_starter: bool
    starters: tuple[str, ...]
    targets: DecisionTargets
    asked_at: datetime
    decide_by: datetime | None
    deadline: str | None
    error: ErrorRecord | None = None
    options: tuple[str, ...] = ()
    not_by: tuple[str, ...] = ()
    assignee: str | None = None
    groups: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class InboxItem(View):
    """One run that needs a person, and why.

    kind: decision, resume, interrupted, incident, failed, compensation_failed or stuck. since: when it began. due_at:
    the earliest deadline. decisions: those open, the most urgent first. next_actions: the control calls that settle
    them, with what each leads to. error: of the run, or of the step that was interrupted or is blocked. stuck: for
    work that nobody takes {reason, step, due_at, worker, queue, executor_error, held}. compensation_failures: what
    could not be undone, each {step, error}.
    """

    run: RunSummary
    kind: str
    since: datetime
    due_at: datetime | None
    overdue: bool
    decisions: tuple[DecisionView, ...]
    next_actions: tuple[NextAction, ...]
    error: ErrorRecord | None
    stuck: StuckWork | None
    compensation_failures: tuple[UndoFailure, ...]

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON data."""
        return {**View.to_dict(self), "next_actions": [action.to_dict() for action in self.next_actions]}
