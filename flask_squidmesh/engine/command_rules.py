"""Which control calls would succeed now, what each leads to, and why the others would not."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from ..definition.spec import WorkflowSpec, end_at
from ..definition.values import fingerprint
from .adoption import unfit
from .approvals import given, wanted
from .command_effects import (
    Blocking,
    GivenUp,
    LeadsTo,
    MoreApprovals,
    NeedsNobody,
    NewRun,
    NoMore,
    Nowhere,
    Obstacle,
    OneStep,
    PayloadUnfit,
    RunBegins,
    RunEnds,
    RunStatus,
    RunStops,
    SeveralSteps,
    TargetsGone,
    UndoneAgain,
    UnsafeReplay,
    as_data,
)
from .command_table import COMMANDS
from .facts import RunFact, StepFact
from .kept_decisions import STANDSTILLS, DecisionKept, DecisionKind
from .replay_rules import unsafe_steps
from .transitions import TERMINAL
from .waits import first_option, options_of


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenOption:
    """One answer to an open decision. targets: the steps and ends that it may lead to; none where the run completes, or
    in dependency style. fails: whether it fails the run. first: whether it is the one that lets the run go on."""

    name: str
    targets: tuple[str, ...] = ()
    fails: bool = False
    first: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenDecision:
    """A step, or a compensation, that waits for a person.

    ok: the steps, or ends, that may follow a good outcome. final: whether the run completes then. error: the step that
    follows a bad one, None where the run fails. further: how many people have to take the first option after the next
    one. options: of a decision, each with where it may lead. asks_people: whether it could not begin to ask people, in
    whose place nobody answers.
    """

    step: str
    visit: int
    kind: DecisionKind
    compensation: bool = False
    ok: tuple[str, ...] = ()
    final: bool = False
    error: str | None = None
    permission: str | None = None
    further: int = 0
    options: tuple[OpenOption, ...] = ()
    asks_people: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionFacts:
    """What the control calls depend on.

    executing: steps an attempt is at. unsafe: what blocks a replay. undoes: steps that have a compensation and would
    be compensated, in that order. irreversible: steps that cannot be undone. declared: the steps the workflow has
    now, None where it is not registered here. payload_unfit: what keeps the payload from starting another run, where it
    was looked at. hanging: steps that are still executing although the run was cancelled some time ago. begins_at:
    when it begins, where it has not begun. decides: whether the workflow has a Decision.
    """

    status: str
    decisions: tuple[OpenDecision, ...] = ()
    executing: tuple[str, ...] = ()
    compensation: str | None = None
    failed_compensations: tuple[str, ...] = ()
    needs: str | None = None
    acknowledged: bool = False
    unsafe: tuple[Blocking, ...] = ()
    undoes: tuple[str, ...] = ()
    irreversible: frozenset[str] = frozenset()
    declared: frozenset[str] | None = frozenset()
    payload_unfit: PayloadUnfit | None = None
    hanging: tuple[str, ...] = ()
    begins_at: datetime | None = None
    decides: bool = False


class NextAction(str):
    """The name of a control call that would succeed now, as text, with what it leads to.

    action: the word for `authorize`. step: the step it concerns. option: what decide_run takes. leads_to: facts for a
    sentence, as attributes and as a mapping, e.g. {"target": "capture", "irreversible": True},
    {"status": "cancelled", "compensates": ["reserve"]}.
    """

    __slots__ = ("action", "leads_to", "option", "step")
    action: str
    step: str | None
    option: str | None
    leads_to: LeadsTo

    def __new__(
        cls,
        call: str,
        *,
        action: str,
        step: str | None = None,
        option: str | None = None,
        leads_to: LeadsTo | None = None,
    ) -> NextAction:
        self = super().__new__(cls, call)
        self.action, self.step, self.option = action, step, option
        self.leads_to = leads_to if leads_to is not None else Nowhere()
        return self

    def __getnewargs_ex__(self) -> tuple[tuple[str], dict[str, Any]]:
        named = {"action": self.action, "step": self.step, "option": self.option, "leads_to": self.leads_to}
        return (str(self),), named

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON data."""
        option = {"option": self.option} if self.option is not None else {}
        said = {"call": str(self), "action": self.action, "step": self.step, **option}
        return {**said, "leads_to": as_data(self.leads_to)}


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """A control call that would not succeed now, with the reason as a word and details."""

    call: str
    action: str
    reason: str
    details: Obstacle = field(default_factory=NoMore)

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON data."""
        return {"call": self.call, "action": self.action, "reason": self.reason, "details": as_data(self.details)}


@dataclass(frozen=True, slots=True)
class _No:
    reason: str
    details: Obstacle = field(default_factory=NoMore)


_Possible = list[tuple[str | None, LeadsTo]]
_Rule = Callable[[ActionFacts], "_Possible | _No"]


def judge(facts: ActionFacts) -> tuple[tuple[NextAction, ...], tuple[Refusal, ...]]:
    """Return the calls that would succeed now and the others; a call that several steps take is there for each."""
    possible: list[NextAction] = []
    refused: list[Refusal] = []
    for call, rule in _RULES.items():
        action, answer = COMMANDS[call].action, rule(facts)
        if isinstance(answer, _No):
            refused.append(Refusal(call=call, action=action, reason=answer.reason, details=answer.details))
        else:
            possible += [NextAction(call, action=action, step=step, leads_to=leads) for step, leads in answer]
    asks = facts.decides or any(decision.kind == "decision" for decision in facts.decisions)
    options = _options(facts) if asks else []
    if isinstance(options, _No):
        refusal = Refusal(call=_DECIDE.name, action=_DECIDE.action, reason=options.reason, details=options.details)
        return tuple(possible), (*refused, refusal)
    return (*options, *possible), tuple(refused)


def decision_actions(facts: ActionFacts) -> tuple[NextAction, ...]:
    """Return those calls that would succeed now and settle an open decision."""
    return tuple(action for action in judge(facts)[0] if action.step is not None)


def allowed(facts: ActionFacts) -> tuple[str, ...]:
    """Return the names of the calls that would succeed now, each once."""
    return tuple(dict.fromkeys(str(action) for action in judge(facts)[0]))


def decision_token(status: str, decisions: Sequence[OpenDecision], replayed_as: str | None = None) -> str:
    """Return what is open as a token: a finished run's status, the open decisions as "review#1", else "open".

    replayed_as: the run that a finished one was last replayed as. The token has to change with it, and is a digest as
    not everybody may know of that run.
    """
    if status in TERMINAL:
        return status if replayed_as is None else f"{status}#{fingerprint(replayed_as)[:12]}"
    return ",".join(sorted(f"{decision.step}#{decision.visit}" for decision in decisions)) or "open"


def open_decisions(step_runs: Sequence[StepFact], spec: WorkflowSpec | None) -> tuple[OpenDecision, ...]:
    """Return the open decisions. spec: the workflow as it is now, None if it is not registered."""
    completed = frozenset(row.step for row in step_runs if row.kind == "step" and row.status == "completed")
    return tuple(
        _opened(step_run, step_run.decision, spec, completed)
        for step_run in step_runs
        if step_run.status == "paused" and step_run.decision and not step_run.goes_on
    )


def hanging(run: RunFact, step_runs: Sequence[StepFact], patient_until: datetime) -> list[StepFact]:
    """Return the visits still executing in a run that was cancelled by that time, which may be given up."""
    if run.status != "cancelling" or run.cancelled_at is None or run.cancelled_at > patient_until:
        return []
    return [row for row in step_runs if row.kind == "step" and row.status == "running"]


def action_facts(
    run: RunFact, step_runs: Sequence[StepFact], spec: WorkflowSpec | None, patient_until: datetime | None = None
) -> ActionFacts:
    """Return the facts of a run with all its step runs.

    spec: the workflow as it is now, None where it is not registered. patient_until: see `hanging`; None where that
    is of no concern.
    """
    hung = hanging(run, step_runs, patient_until) if patient_until else []
    if spec is not None and unfit(spec, run, step_runs):
        spec = None
    return ActionFacts(
        status=run.status,
        decisions=open_decisions(step_runs, spec),
        decides=spec is not None and any(step.kind == "decision" for step in spec.steps.values()),
        executing=tuple(row.step for row in step_runs if row.kind == "step" and row.status == "running"),
        compensation=run.compensation,
        failed_compensations=_failed_compensations(step_runs),
        needs=run.needs,
        acknowledged=run.acknowledged_at is not None,
        unsafe=unsafe_steps(step_runs),
        undoes=_undone_by_compensation(step_runs),
        irreversible=_irreversible(step_runs, spec),
        declared=frozenset(spec.steps) if spec else None,
        hanging=tuple(row.step for row in hung),
        begins_at=run.due_at if run.is_scheduled else None,
    )


def _opened(
    step_run: StepFact, decision: DecisionKept, spec: WorkflowSpec | None, completed: frozenset[str]
) -> OpenDecision:
    compensation = step_run.kind == "compensation"
    ok = () if compensation else _followers(step_run, decision, spec, completed)
    stands = decision["kind"] in STANDSTILLS and not compensation
    return OpenDecision(
        step=step_run.step,
        visit=step_run.visit,
        kind=decision["kind"],
        compensation=compensation,
        ok=ok,
        final=not ok and not compensation and (spec is None or spec.style == "flow"),
        error=_error_route(step_run.step, spec) if stands else decision.get("error"),
        permission=decision.get("permission"),
        further=max(wanted(decision) - len(given(decision)) - 1, 0),
        options=_open_options(step_run, decision, spec, completed) if decision["kind"] == "decision" else (),
        asks_people=stands and spec is not None and asks_people(spec, step_run.step),
    )


def asks_people(spec: WorkflowSpec, step: str) -> bool:
    """Whether the step is a question to people, so that only they answer it."""
    return step in spec.steps and spec.steps[step].kind in ("approval", "decision")


def _open_options(
    step_run: StepFact, decision: DecisionKept, spec: WorkflowSpec | None, completed: frozenset[str]
) -> tuple[OpenOption, ...]:
    dependency = spec is not None and spec.style == "dependency"
    found = []
    for option in options_of(decision):
        first = option["name"] == first_option(decision)
        targets = tuple(dict.fromkeys(route["target"] for route in option["routes"]))
        if dependency and first:
            targets = _followers(step_run, decision, spec, completed)
        found.append(OpenOption(name=option["name"], targets=targets, fails=dependency and not first, first=first))
    return tuple(found)


def _followers(
    step_run: StepFact, decision: DecisionKept, spec: WorkflowSpec | None, completed: frozenset[str]
) -> tuple[str, ...]:
    if (options := decision.get("options")) and decision["kind"] == "approval" and options[0]["routes"]:
        return tuple(dict.fromkeys(route["target"] for route in options[0]["routes"]))
    if (ok := decision.get("ok")) is not None:
        return (ok,)
    if spec is None or (spec.style == "flow" and decision["kind"] not in STANDSTILLS):
        return ()
    if step_run.step not in spec.steps:
        return (step_run.step,)  # nothing says any more what follows it, so the step itself is the target that is gone
    if spec.style == "dependency":
        return _released(step_run.step, spec, completed)
    return tuple(dict.fromkeys(route.target for route in spec.steps[step_run.step].ok))


def _error_route(name: str, spec: WorkflowSpec | None) -> str | None:
    step = spec.steps.get(name) if spec else None
    return step.failure_route.target if step and step.failure_route else None


def _released(step: str, spec: WorkflowSpec, completed: frozenset[str]) -> tuple[str, ...]:
    """Return the steps that wait for this one alone."""
    return tuple(name for name in spec.dependents[step] if completed.issuperset({*spec.steps[name].after} - {step}))


def _failed_compensations(step_runs: Sequence[StepFact]) -> tuple[str, ...]:
    return tuple(row.step for row in step_runs if row.kind == "compensation" and row.status == "failed")


def _undone_by_compensation(step_runs: Sequence[StepFact]) -> tuple[str, ...]:
    done = {(row.step, row.visit) for row in step_runs if row.kind == "compensation"}
    completed = [
        row
        for row in step_runs
        if row.kind == "step" and row.status == "completed" and row.compensate and (row.step, row.visit) not in done
    ]
    return tuple(row.step for row in sorted(completed, key=lambda row: row.position or 0, reverse=True))


def _irreversible(step_runs: Sequence[StepFact], spec: WorkflowSpec | None) -> frozenset[str]:
    declared = (step.name for step in spec.steps.values() if step.irreversible) if spec else ()
    return frozenset(declared) | {row.step for row in step_runs if row.irreversible}


_ENDING: Mapping[str, LeadsTo] = {
    **{status: Nowhere() for status in TERMINAL},
    "cancelling": RunEnds(status="cancelled"),
}


def _continuing(facts: ActionFacts, decision: OpenDecision) -> LeadsTo:
    if facts.status in _ENDING:
        return _ENDING[facts.status]
    if decision.further:
        return MoreApprovals(further_approvals=decision.further)
    return _to(facts, decision.ok, final=decision.final)


def _diverting(facts: ActionFacts, decision: OpenDecision) -> LeadsTo:
    if facts.status in _ENDING:
        return _ENDING[facts.status]
    if decision.error is None:
        return RunEnds(status="failed", compensates=facts.undoes)
    return _to(facts, (decision.error,), final=False)


def _repeating(facts: ActionFacts, decision: OpenDecision) -> LeadsTo:
    return OneStep(target=decision.step, irreversible=decision.step in facts.irreversible)


def _targets(leads_to: LeadsTo) -> tuple[str, ...]:
    match leads_to:
        case OneStep():
            return (leads_to.target,)
        case SeveralSteps():
            return leads_to.targets
        case _:
            return ()


def _on(
    kinds: Sequence[DecisionKind], leading: Callable[[ActionFacts, OpenDecision], LeadsTo], otherwise: str
) -> _Rule:
    """Return the rule of a call that settles open decisions of these kinds."""

    def rule(facts: ActionFacts) -> _Possible | _No:
        concerned = [decision for decision in facts.decisions if decision.kind in kinds]
        if not concerned:
            reason = "already_finished" if facts.status in TERMINAL else otherwise
            return _No(reason, RunStatus(status=facts.status))
        if facts.declared is None:
            return _No("workflow_unavailable")
        answers: _Possible = [(decision.step, leading(facts, decision)) for decision in concerned]
        reachable = [answer for answer in answers if facts.declared.issuperset(_targets(answer[1]))]
        gone = sorted({target for _, leads_to in answers for target in _targets(leads_to)} - facts.declared)
        return reachable or _No("target_unavailable", TargetsGone(targets=tuple(gone)))

    return rule


_DECIDE = COMMANDS["decide_run"]
RIGHTS: Mapping[str, str] = {"approve": "approve", "reject": "reject"}
"""What `authorize` is asked for an option; for all others it is asked for `decide`."""


def right_of(option: str) -> str:
    """Return what `authorize` is asked for who takes this option."""
    return RIGHTS.get(option, _DECIDE.action)


def _options(facts: ActionFacts) -> list[NextAction] | _No:
    """Return the options of the open decisions that can be taken now, each with what it leads to."""
    concerned = [decision for decision in facts.decisions if decision.kind == "decision"]
    if not concerned:
        return _No(
            "already_finished" if facts.status in TERMINAL else "no_open_decision", RunStatus(status=facts.status)
        )
    if facts.declared is None:
        return _No("workflow_unavailable")
    answers, gone = list[NextAction](), set[str]()
    for decision in concerned:
        for option in decision.options:
            missing = {target for target in option.targets if end_at(target) is None} - facts.declared
            gone |= missing
            if not missing:
                leads = _leading(facts, decision, option)
                answers.append(
                    NextAction(
                        _DECIDE.name,
                        action=right_of(option.name),
                        step=decision.step,
                        option=option.name,
                        leads_to=leads,
                    )
                )
    return answers or _No("target_unavailable", TargetsGone(targets=tuple(sorted(gone))))


def _leading(facts: ActionFacts, decision: OpenDecision, option: OpenOption) -> LeadsTo:
    if facts.status in _ENDING:
        return _ENDING[facts.status]
    if option.first and decision.further:
        return MoreApprovals(further_approvals=decision.further)
    if option.fails:
        return RunEnds(status="failed", compensates=facts.undoes)
    return _to(facts, option.targets, final=decision.final)


def _to(facts: ActionFacts, targets: Sequence[str], *, final: bool) -> LeadsTo:
    """Return what leads to one of these steps and ends. final: whether the run completes where there are none."""
    ends = [end for end in map(end_at, targets) if end is not None]
    steps = tuple(target for target in targets if end_at(target) is None)
    if not targets:
        return RunEnds(status="completed") if final else Nowhere()
    if not steps and len(ends) == 1:
        undone = facts.undoes if ends[0].compensate else None
        return RunEnds(status="completed", outcome=ends[0].outcome, compensates=undone)
    irreversible = not facts.irreversible.isdisjoint(steps)
    if len(steps) == 1 and not ends:
        return OneStep(target=steps[0], irreversible=irreversible)
    words = tuple(end.outcome for end in ends) or None
    return SeveralSteps(targets=steps, irreversible=irreversible, ends=words)


_settle_by_retrying = _on(STANDSTILLS, _repeating, "not_interrupted")


def _retry_step(facts: ActionFacts) -> _Possible | _No:
    if facts.status in TERMINAL:
        return _No("already_finished", RunStatus(status=facts.status))
    return _No("being_cancelled") if facts.status == "cancelling" else _settle_by_retrying(facts)


_settle_by_resolving = _on(STANDSTILLS, _continuing, "not_interrupted")


def _resolve_step(facts: ActionFacts) -> _Possible | _No:
    if facts.status in (*TERMINAL, "cancelling"):
        return _settle_by_resolving(facts)
    others = tuple(decision for decision in facts.decisions if not decision.asks_people)
    settled = _settle_by_resolving(replace(facts, decisions=others))
    asks = len(others) < len(facts.decisions)
    return _No("asks_people") if asks and isinstance(settled, _No) else settled


_settle_by_failing = _on(STANDSTILLS, _diverting, "not_interrupted")


def _fail_step(facts: ActionFacts) -> _Possible | _No:
    settled = _settle_by_failing(facts)
    hung: _Possible = [(step, _giving_up(facts, step)) for step in facts.hanging]
    return [*hung, *(settled if isinstance(settled, list) else ())] if hung else settled


def _giving_up(facts: ActionFacts, step: str) -> LeadsTo:
    return (
        GivenUp(gives_up=step, interrupts=True)
        if step in facts.irreversible
        else GivenUp(gives_up=step, status="cancelled")
    )


def _cancel(facts: ActionFacts) -> _Possible | _No:
    if facts.status in TERMINAL:
        return _No("already_finished", RunStatus(status=facts.status))
    if facts.status == "cancelling":
        return _No("already_cancelling")
    becomes = "cancelling" if facts.executing else "cancelled"
    return [(None, RunStops(status=becomes, executing=facts.executing, compensates=facts.undoes))]


def _reschedule(facts: ActionFacts) -> _Possible | _No:
    return [(None, RunBegins(begins_at=facts.begins_at))] if facts.begins_at is not None else []


def _replay(facts: ActionFacts) -> _Possible | _No:
    if facts.status not in TERMINAL:
        return _No("not_finished", RunStatus(status=facts.status))
    if facts.compensation in ("requested", "running"):
        return _No("compensation_running")
    if facts.declared is None:
        return _No("workflow_unavailable")
    if facts.payload_unfit is not None:
        return _No("payload_unfit", facts.payload_unfit)
    if facts.unsafe:
        return _No("unsafe_replay", UnsafeReplay(blocked_by=facts.unsafe))
    return [(None, NewRun())]


def _retry_compensation(facts: ActionFacts) -> _Possible | _No:
    if facts.compensation == "running":
        return _No("compensation_running")
    if facts.compensation != "failed":
        return _No("no_failed_compensation")
    if facts.declared is None:
        return _No("workflow_unavailable")
    return [(None, UndoneAgain(compensates=facts.failed_compensations))]


def _acknowledge(facts: ActionFacts) -> _Possible | _No:
    if facts.needs in ("failed", "compensation_failed"):
        return [(None, NeedsNobody())]
    if facts.status != "failed":
        return _No("not_failed", RunStatus(status=facts.status))
    return _No("already_acknowledged" if facts.acknowledged else "already_replayed")


_RULES: Mapping[str, _Rule] = {
    "approve_run": _on(("approval",), _continuing, "no_open_approval"),
    "reject_run": _on(("approval",), _diverting, "no_open_approval"),
    "unblock_run": _on(("pause",), _continuing, "no_open_pause"),
    "retry_step": _retry_step,
    "resolve_step": _resolve_step,
    "fail_step": _fail_step,
    "retry_compensation": _retry_compensation,
    "reschedule_run": _reschedule,
    "cancel_run": _cancel,
    "replay_run": _replay,
    "acknowledge_run": _acknowledge,
}
"""When each command would succeed, but for those of which nobody is told; what a decision takes, its options say."""
