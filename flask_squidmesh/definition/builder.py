"""From a class body to a WorkflowSpec with its fingerprint, or to everything that is wrong with it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Literal

from ..errors import DefinitionError
from . import values
from .binding import opening_keys
from .class_body import Body, Settings, read_body, read_deadline, read_settings
from .definition_checks import (
    availability_problems,
    cancel_key_problems,
    dependency_problems,
    flow_problems,
    unreachable,
)
from .element_reader import read_dependencies, read_steps, read_triggers
from .elements import Element
from .event_names import read_cancel_on
from .event_reader import model_problems
from .flow_reader import read_flow
from .spec import CancelOnSpec, Condition, DeadlineSpec, RetryPolicy, Route, StepSpec, TriggerSpec, WorkflowSpec


def fingerprint(
    style: str,
    entry: Iterable[str],
    steps: Mapping[str, StepSpec],
    deadline: DeadlineSpec | None = None,
    cancel_on: CancelOnSpec | None = None,
) -> str:
    """The same in every process. Wording, docstrings, function bodies, forms and people do not count, nor when these
    are told of what is late."""
    counts: dict[str, object] = {
        "style": style,
        "entry": sorted(entry),
        "steps": {name: _step(step) for name, step in steps.items()},
    }
    # What a workflow does not use is left out, so that its fingerprint is that of a time when nothing could use it.
    if deadline:
        counts["deadline"] = [deadline.after, deadline.cancel, deadline.compensate]
    if cancel_on:
        counts["cancel_on"] = [cancel_on.name, cancel_on.key, cancel_on.compensate]
    return values.fingerprint(counts)


def _step(step: StepSpec) -> dict[str, object]:
    return {**_ordinary(step), **_of_waits(step)}


def _of_waits(step: StepSpec) -> dict[str, object]:
    """What counts of a step that waits for somebody only where it is there."""
    options = [[each.name, _routes(each.routes)] for each in step.options]
    rejections = [route for option in step.options[1:] for route in option.routes]
    told_apart = step.kind == "decision" or any(route.condition for route in rejections)
    counts: dict[str, object] = {
        "options": options if told_apart else None,
        "updates": sorted(step.updates),
        "not_by": sorted(step.not_by),
        "timeout": step.timeout,
        "until": step.until,
        "awaits": step.awaits and [step.awaits.name, step.awaits.key, step.awaits.accept],
    }
    return {name: value for name, value in counts.items() if value}


def _routes(routes: Iterable[Route]) -> list[object]:
    return [[route.target, _condition(route.condition)] for route in routes]


def _ordinary(step: StepSpec) -> dict[str, object]:
    compensate = step.compensate
    return {
        "kind": step.kind,
        "aliases": sorted(step.aliases),
        "output": step.output,
        "after": sorted(step.after),
        "ok": _routes(step.ok),
        "error": [step.error.target, step.error.recovery] if step.error else None,
        "retry": _retry(step.retry),
        "irreversible": step.irreversible,
        "compensatable": step.compensatable,
        "compensate": [compensate.name, _retry(compensate.retry)] if compensate else None,
        "transaction": step.transaction,
        "approvals": [step.approvals, step.not_starter],
        "duration": step.duration,
        "max_visits": step.max_visits,
    }


def _condition(condition: Condition | None) -> list[object] | None:
    return [condition.path, condition.operator, condition.value] if condition else None


def _retry(policy: RetryPolicy) -> list[object]:
    backoff = [policy.backoff.first, policy.backoff.most] if policy.backoff else None
    return [
        policy.max_attempts,
        backoff,
        policy.jitter,
        [f"{each.__module__}.{each.__qualname__}" for each in policy.on],
    ]


_Style = Literal["flow", "dependency"]


def build(workflow: type, reserved: frozenset[str], keywords: Mapping[str, object]) -> WorkflowSpec:
    """The definition of a class.

    reserved: names that no step may take. keywords: those of the class and its bases. Raises DefinitionError.
    """
    problems = [
        f"it extends workflow {base.__name__}, and steps cannot be inherited; derive it from Workflow"
        for base in workflow.__mro__[1:]
        if "__squidmesh__" in vars(base)
    ]
    body = read_body(workflow, reserved, problems)
    settings = read_settings(workflow, keywords, problems)
    triggers = read_triggers(body.triggers, problems)
    models = [each.model for each in triggers.values() if each.model]
    steps = read_steps(body.steps, models, problems)
    style = _style(body, problems)
    steps, entry = _joined(body, style, steps, problems)
    problems.extend(availability_problems(triggers, steps, settings.subject))
    problems.extend(cancel_key_problems(triggers, settings.cancel_on))
    problems.extend(model_problems(triggers, steps))
    if problems:
        raise DefinitionError(workflow.__name__, list(dict.fromkeys(problems)))
    return _spec(settings, style, triggers, steps, entry)


def check_abstract(workflow: type, keywords: Mapping[str, object]) -> None:
    """Raise DefinitionError where a base for other workflows holds more than settings, or one that cannot be."""
    problems = [
        f"{name}: an abstract workflow holds settings only; declare triggers and steps in the classes derived from it"
        for name, each in vars(workflow).items()
        if isinstance(each, Element)
    ]
    read_deadline(keywords.get("deadline"), problems)
    read_cancel_on(keywords.get("cancel_on"), problems)
    if problems:
        raise DefinitionError(workflow.__name__, problems)


def _style(body: Body, problems: list[str]) -> _Style:
    waiting = [name for name, step in body.steps.items() if step.after is not None]
    if waiting and body.flow is not None:
        problems.append(
            f"it has both flow and after= (step {waiting[0]}); write flow = [...], or after= at each step, not both"
        )
    if not waiting and body.flow is None and len(body.steps) > 1:
        problems.append(
            f"nothing says in which order its {len(body.steps)} steps run; "
            f"write flow = [{' >> '.join(body.steps)}], or after=[...] at each step that waits (after=[] at a root)"
        )
    return "dependency" if waiting and body.flow is None else "flow"


def _joined(
    body: Body, style: _Style, steps: Mapping[str, StepSpec], problems: list[str]
) -> tuple[dict[str, StepSpec], tuple[str, ...]]:
    """The steps with what leads from one to the next, and the entry steps."""
    if style == "dependency":
        after = read_dependencies(body, problems)
        steps = {name: replace(step, after=after[name]) for name, step in steps.items()}
        problems.extend(dependency_problems(steps))
        return steps, tuple(name for name, step in steps.items() if not step.after)
    if body.flow is None:
        return _single(steps, problems)
    flow = read_flow(body, problems)
    steps = {name: flow.routes[name].joined(step) for name, step in steps.items()}
    problems.extend(flow_problems(steps))
    if flow.entry is None:
        return steps, ()
    edges = {name: frozenset(flow.edges.get(name, ())) for name in steps}
    problems.extend(unreachable(edges, flow.entry, frozenset(flow.edges.get(None, ()))))
    return steps, (flow.entry,)


def _single(steps: Mapping[str, StepSpec], problems: list[str]) -> tuple[dict[str, StepSpec], tuple[str, ...]]:
    if len(steps) == 1:
        problems.extend(flow_problems(steps))
    return dict(steps), tuple(steps)[:1]


def _spec(
    settings: Settings,
    style: _Style,
    triggers: Mapping[str, TriggerSpec],
    steps: Mapping[str, StepSpec],
    entry: tuple[str, ...],
) -> WorkflowSpec:
    return WorkflowSpec(
        name=settings.name,
        title=settings.title,
        description=settings.description,
        aliases=settings.aliases,
        deadline=settings.deadline,
        cancel_on=settings.cancel_on,
        version=settings.version,
        subject=settings.subject,
        style=style,
        triggers=triggers,
        steps=steps,
        entry=entry,
        max_visits=settings.max_visits,
        opening_keys={name: keys for name, step in steps.items() if (keys := opening_keys(step))},
        fingerprint=fingerprint(style, entry, steps, settings.deadline, settings.cancel_on),
    )
