"""Rows of step runs as callers see them."""

from __future__ import annotations

from ..definition.spec import StepSpec, WorkflowSpec
from ..engine.approvals import wanted
from ..engine.kept_decisions import ApproverRules, DecisionKept
from .results import AskedOfPeople, AttemptView, CompensationState, DecisionAsked, Recovery, StepRunView, StepView
from .run_record import Row, RunRecord, approvals_in, input_of, settings_at


def step_run_views(record: RunRecord) -> tuple[StepRunView, ...]:
    """Every step run that exists, in the order they were made."""
    return tuple(_step_run_view(record, row) for row in record.step_runs)


def step_views(record: RunRecord) -> tuple[StepView, ...]:
    """Every declared step with its last visit, then steps that are no longer declared."""
    last = {row["step"]: row for row in record.visits}
    declared = declared_order(record.spec) if record.spec else ()
    gone = [name for name in last if name not in declared]
    return tuple(_step_view(record, name, last.get(name)) for name in (*declared, *gone))


def declared_order(spec: WorkflowSpec) -> tuple[str, ...]:
    """Names in order of declaration; where steps wait for others, those that wait for less come first."""
    if spec.style == "flow":
        return tuple(spec.steps)
    phases: dict[str, int] = {}

    def phase(name: str) -> int:
        if name not in phases:
            phases[name] = 1 + max((phase(parent) for parent in spec.steps[name].after), default=-1)
        return phases[name]

    return tuple(sorted(spec.steps, key=phase))


def step_run_status(row: Row) -> str:
    """The status people see: a join whose dependencies are not done is waiting."""
    return "waiting" if row["status"] == "pending" and row["missing"] else row["status"]


def attempts_of(record: RunRecord, row: Row) -> tuple[AttemptView, ...]:
    """The attempts that ended, then the one that is running."""
    ended = tuple(_ended(attempt) for attempt in record.attempts.get(row["id"], ()))
    claim = record.dispatches.get(row["id"])
    return (*ended, _running(row, claim)) if claim and claim["claim_id"] else ended


def _ended(row: Row) -> AttemptView:
    return AttemptView(
        id=f"{row['step_run_id']}:{row['number']}",
        attempt_number=row["number"],
        status=row["status"],
        worker=row["worker"] or None,
        error=row["error"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
    )


def _running(row: Row, claim: Row) -> AttemptView:
    return AttemptView(
        id=f"{row['id']}:{row['attempts']}",
        attempt_number=row["attempts"],
        status="running",
        worker=claim["claimed_by"],
        error=None,
        started_at=claim["claimed_at"],
        finished_at=None,
        claim_expires_at=claim["due_at"],
    )


_COPIED = (
    "id",
    "kind",
    "step",
    "visit",
    "output",
    "error",
    "failure",
    "recovery",
    "settings",
    "manual",
    "due_at",
    "decide_by",
    "created_at",
    "started_at",
    "finished_at",
)


def _step_run_view(record: RunRecord, row: Row) -> StepRunView:
    return StepRunView(
        status=step_run_status(row),
        input=input_of(record, row),
        decision=decision_view(row),
        attempts=attempts_of(record, row),
        **{name: row[name] for name in _COPIED},
    )


def decision_view(row: Row) -> DecisionAsked | None:
    """The open or taken decision of a step run."""
    decision: DecisionKept | None = row["decision"]
    if not decision:
        return None
    return {
        "kind": decision["kind"],
        "prompt": decision.get("prompt"),
        "permission": decision.get("permission"),
        "targets": {"ok": decision.get("ok"), "error": decision.get("error")},
        "output_key": decision.get("output"),
        **approvers(decision),
        **_people(decision),
    }


def _people(decision: DecisionKept) -> AskedOfPeople:
    """What is asked of whom, as far as the decision says."""
    asked = AskedOfPeople()
    if options := decision.get("options"):
        asked["options"] = options
    if values := decision.get("values"):
        asked["values"] = values
    if assignee := decision.get("assignee"):
        asked["assignee"] = assignee
    if groups := decision.get("groups"):
        asked["groups"] = groups
    if timeout := decision.get("timeout"):
        asked["timeout"] = timeout
    if timers := decision.get("timers"):
        asked["timers"] = timers
    return asked


def approvers(decision: DecisionKept) -> ApproverRules:
    """Who has to approve and who has; empty where one approval of anybody is enough."""
    asked = ApproverRules()
    if wanted(decision) > 1:
        asked["approvals"], asked["given"] = wanted(decision), list(approvals_in(decision))
    if decision.get("not_starter"):
        asked["not_starter"] = True
        if decision.get("starters"):
            asked["starters"] = list(decision["starters"])
    if decision.get("not_by"):
        asked["not_by"] = list(decision["not_by"])
    return asked


def _step_view(record: RunRecord, name: str, row: Row | None) -> StepView:
    step = record.spec.steps.get(name) if record.spec else None
    return StepView(
        step=name,
        kind=step.kind if step else _kept_kind(row),
        status=step_run_status(row) if row else "waiting",
        depends_on=step.after if step else (),
        visits=row["visit"] if row else 0,
        input=input_of(record, row) if row else None,
        output=row["output"] if row else None,
        error=row["error"] if row else None,
        recovery=_recovery(record, step, row),
        attempts=attempts_of(record, row) if row else (),
        started_at=row["started_at"] if row else None,
        finished_at=row["finished_at"] if row else None,
    )


def _kept_kind(row: Row | None) -> str:
    return (settings_at(row, None).kind or "unknown") if row else "unknown"


def _recovery(record: RunRecord, step: StepSpec | None, row: Row | None) -> Recovery:
    """What holds for the step's replay and undoing; what was stored with the visit wins over the definition."""
    settings = settings_at(row, step)
    irreversible = settings.irreversible
    compensatable = not irreversible and settings.compensatable
    policy: Recovery = {
        "irreversible": irreversible,
        "compensatable": compensatable,
        "replay": "allowed" if compensatable else "manual_review_required",
        "recovery": "automatic" if compensatable else "manual_intervention",
    }
    if settings.compensate:
        policy["compensation"] = _compensation(record, settings.compensate, row)
    if row and row["recovery"]:
        policy["failure"] = {"strategy": row["recovery"], "target": _error_target(step)}
    return policy


def _error_target(step: StepSpec | None) -> str | None:
    return step.error.target if step and step.error else None


def _compensation(record: RunRecord, callback: str, row: Row | None) -> CompensationState:
    undone = (row["step"], row["visit"]) if row else None
    made = next((each for each in record.compensations if (each["step"], each["visit"]) == undone), None)
    state = CompensationState(callback=callback, status=made["status"] if made else "available")
    if made is None:
        return state
    if made["output"] is not None:
        state["output"] = made["output"]
    if made["error"] is not None:
        state["error"] = made["error"]
    if made["started_at"] is not None:
        state["started_at"] = made["started_at"]
    if made["finished_at"] is not None:
        state["finished_at"] = made["finished_at"]
    return state
