"""Workflows out of plans, and a record of everything their steps do."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import pairwise
from typing import Any

from flask_squidmesh import (
    Approval,
    Deadline,
    Decision,
    End,
    Escalate,
    FailStep,
    Fixed,
    Log,
    Manual,
    Pause,
    Retry,
    RetryStep,
    Step,
    StepContext,
    Wait,
    WaitForEvent,
    Workflow,
)
from flask_squidmesh.definition.context import CompensationContext
from tests.integration.state_machine.plans import (
    BACKOFF_SECONDS,
    DEADLINE_SECONDS,
    WAIT_SECONDS,
    AtDeadline,
    StepPlan,
    WorkflowPlan,
    first_name,
)
from tests.shop import Order

REMIND = timedelta(seconds=WAIT_SECONDS / 4)
EVENT = "answer.came"
ESCALATE = Escalate(after=timedelta(seconds=WAIT_SECONDS / 2), assignee="hans", groups=("heads",))


@dataclass(frozen=True, kw_only=True)
class Call:
    """One call of a step function or of a compensation, and what it was told.

    above: the steps whose outputs it may see, as they were called first; None for all.
    """

    run_id: str
    kind: str
    step: str
    visit: int
    attempt: int
    key: str
    saw: str
    above: frozenset[str] | None


Choose = Callable[[Call, int, tuple[str, ...]], str]


def in_turn(call: Call, number: int, outcomes: tuple[str, ...]) -> str:
    """The outcomes one after the other, whichever attempt it is, and then the last one for ever."""
    return outcomes[min(number, len(outcomes)) - 1]


@dataclass
class Effects:
    """What was done outside the database, which no crash takes back.

    choose: which outcome the n-th call of a function in a run has. write: keeps a row of the host's for a step with
    transaction=True. began, ended: called within each call, before it is recorded and after.
    """

    write: Callable[[Call], None]
    choose: Choose = in_turn
    began: Callable[[StepPlan, Call], None] = lambda plan, call: None
    ended: Callable[[StepPlan, Call], None] = lambda plan, call: None
    calls: list[Call] = field(default_factory=list)
    counts: Counter[tuple[str, str, str]] = field(default_factory=Counter)

    def of(self, plan: StepPlan, above: frozenset[str] | None) -> Callable[..., dict[str, Any]]:
        """The function of a step."""

        def act(ctx: StepContext) -> dict[str, Any]:
            return self._called(plan, "step", ctx, plan.outcomes, above)

        act.__name__ = plan.name
        return act

    def undoing(self, plan: StepPlan) -> Callable[..., dict[str, Any]]:
        """The function that undoes a step."""

        def undo(ctx: CompensationContext) -> dict[str, Any]:
            return self._called(plan, "compensation", ctx, plan.undo, None)

        undo.__name__ = f"undo_{plan.name}"
        return undo

    def _called(
        self, plan: StepPlan, kind: str, ctx: StepContext, outcomes: tuple[str, ...], above: frozenset[str] | None
    ) -> dict[str, Any]:
        call = Call(
            run_id=ctx.run_id,
            kind=kind,
            step=ctx.step,
            visit=ctx.visit,
            attempt=ctx.attempt,
            key=ctx.idempotency_key,
            saw=json.dumps(ctx.state, sort_keys=True),
            above=above,
        )
        self.began(plan, call)
        counted = (call.run_id, kind, first_name(call.step))
        self.counts[counted] += 1
        self.calls.append(call)
        if plan.transaction and kind == "step":
            self.write(call)
        self.ended(plan, call)
        return _come_to(self.choose(call, self.counts[counted], outcomes), call)


def _come_to(outcome: str, call: Call) -> dict[str, Any]:
    match outcome:
        case "retry":
            raise RetryStep("busy")
        case "later":
            raise RetryStep("busy", after=2 * BACKOFF_SECONDS)
        case "fail":
            raise FailStep("declined", code="declined")
        case "boom":
            raise RuntimeError("out of order")
        case "unfit":
            return {"unfit": object()}
    return output_of(outcome, call.step, call.visit)


def output_of(outcome: str, step: str, visit: int) -> dict[str, Any]:
    """What a call that went well returns."""
    return {"again": outcome == "again", "by": f"{step}#{visit}"}


def build(name: str, plan: WorkflowPlan, effects: Effects) -> type[Workflow]:
    """The workflow class that a plan describes."""
    steps: dict[str, Any] = {}
    for each in plan.steps:
        options: dict[str, Any] = {"aliases": each.had}
        if plan.style == "dependency":
            options["after"] = [steps[other] for other in each.after]
        steps[each.name] = _step(each, effects, None if plan.style == "flow" else plan.above(each), options)
    body: dict[str, Any] = {"place": Manual(Order), "max_visits": 3, **steps}
    if plan.style == "flow":
        body["flow"] = _flow(plan, steps)
    keywords = {"deadline": _deadline(plan.deadline)} if plan.deadline else {}
    return type(name, (Workflow,), {"__module__": __name__, **body}, **keywords)


def _deadline(what: AtDeadline) -> Deadline:
    return Deadline(DEADLINE_SECONDS, cancel=what != "fails", compensate=what == "is undone")


def _step(plan: StepPlan, effects: Effects, above: frozenset[str] | None, options: Mapping[str, Any]) -> Any:
    output = f"{first_name(plan.name)}_output" if plan.keyed else None
    within = WAIT_SECONDS if plan.within else None
    times: dict[str, Any] = {"within": within, "remind": REMIND} if within else {}
    match plan.kind:
        case "wait":
            return Wait(WAIT_SECONDS, **options)
        case "log":
            return Log("at {order_id}", level="debug", **options)
        case "pause":
            return Pause("Hold {order_id}?", output=output, within=within, **options)
        case "approval":
            return Approval("Go on with {order_id}?", output=output, within=within, **options)
        case "decision":
            return Decision(
                "Which way?",
                options=("go", "back"),
                output=output,
                assignee="mia",
                **times,
                escalate=(ESCALATE,) if within else (),
                **options,
            )
        case "event":
            waiting = {**times, "escalate": (ESCALATE,)} if within else {}
            return WaitForEvent(EVENT, key="{order_id}", output=output, **waiting, **options)
    return Step(effects.of(plan, above), output=output, **times, **_settings(plan, effects), **options)


def _settings(plan: StepPlan, effects: Effects) -> Mapping[str, Any]:
    backoff = Fixed(BACKOFF_SECONDS) if plan.backoff else None
    undo: Mapping[str, Any] = {}
    if plan.undo:
        undo = {"compensate": effects.undoing(plan), "compensate_retry": Retry(plan.undo_attempts, backoff=backoff)}
    return {
        "retry": Retry(plan.attempts, backoff=backoff),
        "irreversible": plan.irreversible,
        "compensatable": None if plan.compensatable else False,
        "transaction": plan.transaction,
        **undo,
    }


def _flow(plan: WorkflowPlan, steps: Mapping[str, Any]) -> list[Any]:
    in_turn = list(steps.values())
    lines = in_turn if len(in_turn) == 1 else [_way_on(first) >> second for first, second in pairwise(in_turn)]
    for each in plan.steps:
        step = steps[each.name]
        if each.kind == "decision":
            lines.append(step.on("back") >> steps[each.reject or each.name])
            lines += [step.on_timeout >> End("late")] if each.within else []
            continue
        if each.kind == "event" and each.within:
            lines.append(step.on_timeout >> End("late"))
        if each.when is not None:
            path = f"{step.output}.again" if step.output else "again"
            lines.append(step.when(path, equals=True) >> steps[each.when])
        if each.error is not None:
            route = step.on_error(recovery=each.recovery) if each.recovery else step.on_error
            lines.append(route >> steps[each.error])
        if each.reject is not None:
            lines.append(step.on_reject >> steps[each.reject])
    return lines


def _way_on(step: Any) -> Any:
    """What leads from the step to the next."""
    return step if isinstance(step, Approval) or not isinstance(step, Decision) else step.on("go")
