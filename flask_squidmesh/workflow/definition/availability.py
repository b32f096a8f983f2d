"""Which names of the state a step can count on, as far as the class tells."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NoReturn, get_type_hints

from pydantic import BaseModel, RootModel

from ..annotations import members, resolved
from ..precedence import precedence
from ..spec import Condition, Parameter, StepSpec, TriggerSpec
from ..templates import names

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
    anywhere = begun.after(sum(order.bit.values()))
    yield from _unknown_in_text("subject", subject, begun)
    for name, step in steps.items():
        # A loop leads back to the step itself, which then sees what it gave before.
        seen = begun.after(order.before[name])
        if step.kind == "approval" and step.output == name and name in payload:
            yield (
                f"step {name}: its record would take the place of the payload field {name!r}; "
                'name another key with output="..."'
            )
        yield from _unknown_in_text(f"step {name}: the {'prompt' if step.manual else 'message'}", _text(step), seen)
        yield from _unknown_parameters(f"step {name}: ", step.parameters, seen)
        if step.compensate:
            yield from _unknown_parameters(f"step {name}: compensate: ", step.compensate.parameters, anywhere)
        conditions = [route.condition for route in step.ok if route.condition]
        yield from _unknown_conditions(name, conditions, begun.after(order.before[name] | order.bit[name]))


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
        return frozenset({step.output})
    if step.function is None:
        return frozenset()
    try:
        returned = resolved(step.function).get("return", Any)
    except Exception:  # reported where the parameters are read
        return None
    return _union(_returned_names(each) for each in members(returned))


def _returned_names(annotation: Any) -> _Names:
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


def _unknown_conditions(step: str, conditions: Iterable[Condition], known: _Known) -> Iterator[str]:
    for each in conditions:
        if each.path and each.path[0] not in known:
            path = ".".join(each.path)
            yield f'transition {step}.when("{path}", ...): reads {path!r}, {_nobody(each.path[0], known)}'


def _nobody(name: str, known: _Known) -> str:
    held = ", ".join(sorted(known)) or "nothing"
    return f"but no payload field and no earlier output is called {name!r}; known there: {held}"
