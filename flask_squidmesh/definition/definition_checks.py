"""What must hold of a workflow as a whole: what can be reached, cycles, and the names that a step can count on."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from enum import Enum
from graphlib import CycleError, TopologicalSorter
from typing import Any, NoReturn, get_origin, get_type_hints
from uuid import UUID

from pydantic import BaseModel, RootModel

from .binding import members, resolved, shown
from .precedence import precedence
from .spec import CancelOnSpec, Parameter, Path, StepSpec, TriggerSpec
from .state_expressions import names, paths

_Edges = Mapping[str, frozenset[str]]


def reachable(edges: _Edges, starts: Iterable[str]) -> frozenset[str]:
    """Everything that the edges lead to, the starts included."""
    found: set[str] = set()
    waiting = list(starts)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting.extend(edges[name])
    return frozenset(found)


def flow_problems(steps: Mapping[str, StepSpec]) -> Iterator[str]:
    """What is wrong with the routes of a flow."""
    yield from _options(steps)
    yield from _restless_loops(steps)
    yield from _never_before(steps)


def dependency_problems(steps: Mapping[str, StepSpec]) -> Iterator[str]:
    """What is wrong with what the steps wait for."""
    for cycle in _cycles({name: frozenset(step.after) for name, step in steps.items()}):
        yield f"{_joined(cycle)} wait for each other in a circle; remove one of them from an after="


def unreachable(edges: _Edges, entry: str, excused: frozenset[str]) -> Iterator[str]:
    """What is wrong with steps that no route from the entry leads to, `excused` ones aside."""
    targets = excused.union(*edges.values())
    idle = [name for name in edges if name != entry and name not in targets]
    for name in idle:
        if edges[name]:
            yield (
                f"there are two entry steps, {entry} and {name}, and flow starts with its first step; "
                f"write {entry} >> ... >> {name}, or name {name} first"
            )
        else:
            yield f"step {name}: no line of flow leads to it; write ... >> {name}, or remove it"
    reached = reachable(edges, [entry, *idle, *excused])
    lost = [name for name in edges if name not in reached]
    if lost:
        yield f"{_joined(lost)} cannot be reached from {entry}; write a route ... >> {lost[0]}, or remove them"


def _options(steps: Mapping[str, StepSpec]) -> Iterator[str]:
    for name, step in steps.items():
        for option in step.options:
            what, way = _said(step, option.name)
            if not option.routes:
                yield f"step {name}: nothing says where {what} leads; write {way} >> some_step in flow"
            elif all(route.condition for route in option.routes):
                yield (
                    f"step {name}: nothing says where {what} leads when no condition holds; "
                    f"write {way} >> some_step in flow"
                )


def _said(step: StepSpec, option: str) -> tuple[str, str]:
    """What an option is called in a sentence, and how one writes where it leads."""
    if step.kind == "decision":
        return f"option {option}", f'{step.name}.on("{option}")'
    return ("an approval", step.name) if option == "approve" else ("a rejection", f"{step.name}.on_reject")


def _restless_loops(steps: Mapping[str, StepSpec]) -> Iterator[str]:
    """Loops that nothing slows down and nothing ends."""
    restful = {name for name, step in steps.items() if step.opens_wait or step.kind == "wait"}
    edges = {
        name: (_unconditional(step) - restful if name not in restful else frozenset()) for name, step in steps.items()
    }
    for cycle in _cycles(edges):
        yield (
            f"{_joined(cycle)}: a loop without a manual step, a wait or a condition; "
            f'write {cycle[0]}.when("done", equals=True) >> ... as the way out'
        )


def _never_before(steps: Mapping[str, StepSpec]) -> Iterator[str]:
    """Decisions whose people are kept out of one that comes before them, which would keep out nobody."""
    if not any(step.not_by for step in steps.values()):
        return
    order = precedence({name: step.targets for name, step in steps.items()})
    for name, step in steps.items():
        for other in step.not_by:
            decides = other in steps and other != name and bool(steps[other].options)
            if decides and not order.bit[other] & order.before[name]:
                yield (
                    f"step {name}: not_by= names {other}, from which no route leads here, so it would keep out nobody; "
                    "name a decision that comes before"
                )


def _unconditional(step: StepSpec) -> frozenset[str]:
    if any(route.condition for route in step.ok):
        return step.targets.intersection([step.error.target] if step.error else [])
    return step.targets


def _cycles(edges: _Edges) -> Iterator[list[str]]:
    """Cycles that share no step, each from its step declared first, in the direction of the edges."""
    left = dict(edges)
    while True:
        try:
            TopologicalSorter(left).prepare()
            return
        except CycleError as error:
            cycle = list(reversed(error.args[1][:-1]))
            start = min(range(len(cycle)), key=lambda index: list(edges).index(cycle[index]))
            yield cycle[start:] + cycle[:start]
            left = {name: after - set(cycle) for name, after in left.items() if name not in cycle}


def _joined(names: list[str]) -> str:
    return f"steps {', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else f"step {names[0]}"


# None stands for "anything": a mapping whose keys the class does not tell.
_Names = frozenset[str] | None


def availability_problems(
    triggers: Mapping[str, TriggerSpec], steps: Mapping[str, StepSpec], subject: str | None
) -> Iterator[str]:
    """Names that steps, conditions and texts use although nothing can provide them."""
    payload = _union(_payload_names(trigger) for trigger in triggers.values())
    if payload is None:
        return  # the payload can hold any name
    order = precedence(_onward(steps))
    begun = _begun(payload, {order.bit[name]: output_names(step) for name, step in steps.items()})
    models = [trigger.model for trigger in triggers.values() if trigger.model]
    anywhere = begun.after(sum(order.bit.values()))
    yield from _unknown_in_text("subject", subject, begun)
    for name, step in steps.items():
        # A loop leads back to the step itself, which then sees what it gave before.
        seen = begun.after(order.before[name])
        if (step.options or step.awaits) and step.output == name and name in payload:
            yield (
                f"step {name}: its {'payload' if step.awaits else 'record'} would take the place of the payload field "
                f"{name!r}; "
                'name another key with output="..."'
            )
        yield from _unknown_in_text(f"step {name}: the {'prompt' if step.manual else 'message'}", _text(step), seen)
        yield from _unknown_people(step, seen)
        yield from _unknown_paths(step, seen)
        yield from _timeless_paths(step, seen, models)
        yield from _unknown_parameters(f"step {name}: ", step.parameters, seen)
        if step.compensate:
            yield from _unknown_parameters(f"step {name}: compensate: ", step.compensate.parameters, anywhere)
        yield from _unknown_conditions(step, begun.after(order.before[name] | order.bit[name]))


def cancel_key_problems(triggers: Mapping[str, TriggerSpec], cancel_on: CancelOnSpec | None) -> Iterator[str]:
    """Names in the key of what cancels a run that no payload can hold."""
    for trigger in triggers.values() if cancel_on else ():
        held = _payload_names(trigger)
        for path in paths(cancel_on.key) if cancel_on and held is not None else ():
            if held is not None and path[0] not in held:
                yield (
                    f"cancel_on: the key names {{{'.'.join(path)}}}, and the payload of trigger {trigger.name} has no "
                    f"field {path[0]}; it has {', '.join(sorted(held)) or 'none'}"
                )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """The names that the state can hold once some steps completed; each step is a bit, here as in Precedence."""

    payload: frozenset[str]
    givers: Mapping[str, int]
    vague: int
    completed: int = 0

    def after(self, completed: int) -> _Known:
        return dataclasses.replace(self, completed=completed)

    def __contains__(self, name: str) -> bool:
        return name in self.payload or bool((self.vague | self.givers.get(name, 0)) & self.completed)

    def only_given(self, name: str) -> bool:
        """Whether nothing but the payload gives it."""
        return name in self.payload and not (self.vague | self.givers.get(name, 0)) & self.completed

    def __iter__(self) -> Iterator[str]:
        yield from self.payload.union(name for name, givers in self.givers.items() if givers & self.completed)


def _begun(payload: frozenset[str], outputs: Mapping[int, _Names]) -> _Known:
    """What is known as a run begins."""
    givers, vague = dict[str, int](), 0
    for bit, given in outputs.items():
        vague |= bit if given is None else 0
        for name in given or ():
            givers[name] = givers.get(name, 0) | bit
    return _Known(payload=payload, givers=givers, vague=vague)


def _text(step: StepSpec) -> str | None:
    return step.prompt if step.manual else step.message


def _onward(steps: Mapping[str, StepSpec]) -> Mapping[str, set[str]]:
    """For each step those that may be entered just after it completed."""
    found = {name: set(step.targets) for name, step in steps.items()}
    for name, step in steps.items():
        for other in step.after:
            found[other].add(name)
    return found


def _union(sets: Iterable[_Names]) -> _Names:
    found: frozenset[str] = frozenset()
    for each in sets:
        if each is None:
            return None
        found |= each
    return found


def _payload_names(trigger: TriggerSpec) -> _Names:
    schedule = frozenset({"schedule"}) if trigger.kind == "cron" else frozenset[str]()
    return schedule if trigger.model is None else _union([schedule, _model_names(trigger.model)])


def _model_names(model: type[BaseModel]) -> _Names:
    reshaped = issubclass(model, RootModel) or model.__pydantic_decorators__.model_serializers
    if reshaped or model.model_config.get("extra") == "allow":
        return None
    return frozenset([*model.model_fields, *model.model_computed_fields])


def output_names(step: StepSpec) -> frozenset[str] | None:
    """The keys that a step's output has by its annotation; None where that does not say."""
    if step.output:
        return frozenset({step.output, *step.updates})
    if step.function is None:
        return frozenset()
    try:
        returned = resolved(step.function).get("return", Any)
    except Exception:  # reported where the parameters are read
        return None
    return _union(_returned_names(each) for each in members(returned))


def _returned_names(annotation: object) -> _Names:
    if annotation in (None, type(None), NoReturn):
        return frozenset()
    if not isinstance(annotation, type):
        return None
    if issubclass(annotation, BaseModel):
        return _model_names(annotation)
    if dataclasses.is_dataclass(annotation):
        return frozenset(each.name for each in dataclasses.fields(annotation))
    return frozenset(get_type_hints(annotation)) if hasattr(annotation, "__total__") else None


def _unknown_in_text(place: str, template: str | None, known: _Known) -> Iterator[str]:
    for name in sorted(names(template or "")):
        if name not in known:
            yield f"{place} names {{{name}}}, {_nobody(name, known)}"


def _unknown_parameters(place: str, parameters: Iterable[Parameter], known: _Known) -> Iterator[str]:
    for each in parameters:
        if each.source != "state" or not each.path or each.path[0] in known or not each.required:
            continue
        path = ".".join(each.path)
        taken = f"takes {path!r}" if each.path != (each.name,) else "is bound by its name"
        yield f"{place}parameter {each.name} {taken}, {_nobody(each.path[0], known)}"


def _unknown_people(step: StepSpec, known: _Known) -> Iterator[str]:
    told: list[tuple[str, str | None]] = [("the assignee", step.assignee)]
    told += [("groups=", group) for group in step.groups]
    told += [("the key", step.awaits.key)] if step.awaits else []
    for each in step.escalate:
        told += [("the assignee of an escalation", each.assignee)]
        told += [("groups= of an escalation", group) for group in each.groups]
    for place, template in told:
        for path in paths(template or ""):
            if path[0] not in known:
                yield f"step {step.name}: {place} names {{{'.'.join(path)}}}, {_nobody(path[0], known)}"


def _unknown_paths(step: StepSpec, known: _Known) -> Iterator[str]:
    read: list[tuple[str, Path | None]] = [("within=", step.within_at), ("until=", step.until)]
    read += [(f"form field {field}", path) for field, path in step.form_input.items()]
    for place, path in read:
        if path and path[0] not in known:
            yield f"step {step.name}: {place} takes {'.'.join(path)!r}, {_nobody(path[0], known)}"


def _timeless_paths(step: StepSpec, known: _Known, models: Iterable[type[BaseModel]]) -> Iterator[str]:
    """Times that are taken from a payload field which can hold none."""
    for argument, path in (("within", step.within_at), ("until", step.until)):
        if path is None or not known.only_given(path[0]):
            continue
        held = [each for model in models for each in _types_at(model, path)]
        if held and all(isinstance(each, type) and issubclass(each, _TIMELESS) for each in held):
            types = " | ".join(dict.fromkeys(map(shown, held)))
            yield (
                f"step {step.name}: {argument}= takes {'.'.join(path)!r}, which is {types} in the payload and can hold "
                "neither a time nor a duration; declare it as AwareDatetime, date or timedelta, or name another field"
            )


# What becomes text of another kind in the state, or something that is no time whatever it holds. Numbers are seconds.
_TIMELESS = (str, bytes, bool, Decimal, UUID, Enum, list, tuple, set, frozenset, dict, BaseModel)


def _types_at(model: type[BaseModel], path: Path) -> Iterator[object]:
    """What the field at the path can be, but for None; nothing where that is not known."""
    field = model.model_fields.get(path[0])
    for each in members(field.annotation) if field else ():
        if len(path) == 1:
            yield from () if each in (None, type(None)) else (get_origin(each) or each,)
        elif isinstance(each, type) and issubclass(each, BaseModel):
            yield from _types_at(each, path[1:])
        else:
            yield object


def _unknown_conditions(step: StepSpec, known: _Known) -> Iterator[str]:
    starts = {f'{step.name}.on("{option.name}")': option.routes for option in step.options} or {step.name: step.ok}
    for start, routes in starts.items():
        for condition in (route.condition for route in routes if route.condition):
            if condition.path and condition.path[0] not in known:
                path = ".".join(condition.path)
                yield f'transition {start}.when("{path}", ...): reads {path!r}, {_nobody(condition.path[0], known)}'


def _nobody(name: str, known: _Known) -> str:
    held = ", ".join(sorted(known)) or "nothing"
    return f"but no payload field and no earlier output is called {name!r}; known there: {held}"
