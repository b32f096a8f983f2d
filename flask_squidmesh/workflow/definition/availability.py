"""Which names of the state a step can count on, as far as the class tells."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NoReturn, get_type_hints

from pydantic import BaseModel, RootModel

from ..annotations import members, resolved
from ..spec import Condition, Parameter, StepSpec, TriggerSpec
from ..templates import names
from .graph import reachable, successors

# None stands for "anything": a mapping whose keys the class does not tell.
_Names = frozenset[str] | None


def availability_problems(
    triggers: Mapping[str, TriggerSpec], steps: Mapping[str, StepSpec], subject: str | None
) -> Iterator[str]:
    """Names that steps, conditions and texts use although nothing can provide them."""
    payload = _union(_payload_names(trigger) for trigger in triggers.values())
    outputs = {name: _output_names(step) for name, step in steps.items()}
    back = _backwards(steps)
    yield from _unknown_in_text("subject", subject, payload)
    for name, step in steps.items():
        # A loop leads back to the step itself, which then sees what it gave before.
        seen = _union([payload, *(outputs[each] for each in reachable(back, back[name]))])
        yield from _unknown_in_text(f"step {name}: the {'prompt' if step.manual else 'message'}", _text(step), seen)
        yield from _unknown_parameters(f"step {name}: ", step.parameters, seen)
        after = _union([seen, *outputs.values()])
        if step.compensate:
            yield from _unknown_parameters(f"step {name}: compensate: ", step.compensate.parameters, after)
        conditions = [route.condition for route in step.ok if route.condition]
        yield from _unknown_conditions(name, conditions, _union([seen, outputs[name]]))


def _text(step: StepSpec) -> str | None:
    return step.prompt if step.manual else step.message


def _backwards(steps: Mapping[str, StepSpec]) -> Mapping[str, frozenset[str]]:
    """For each step those that may have completed just before it is entered."""
    found = {name: set(step.after) for name, step in steps.items()}
    for name, step in steps.items():
        for target in successors(step):
            found[target].add(name)
    return {name: frozenset(before) for name, before in found.items()}


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


def _output_names(step: StepSpec) -> _Names:
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


def _unknown_in_text(place: str, template: str | None, known: _Names) -> Iterator[str]:
    for name in sorted(names(template or "")):
        if known is not None and name not in known:
            yield f"{place} names {{{name}}}, {_nobody(name, known)}"


def _unknown_parameters(place: str, parameters: Iterable[Parameter], known: _Names) -> Iterator[str]:
    for each in parameters:
        if known is None or each.source != "state" or not each.path or each.path[0] in known or not each.required:
            continue
        path = ".".join(each.path)
        taken = f"takes {path!r}" if each.path != (each.name,) else "is bound by its name"
        yield f"{place}parameter {each.name} {taken}, {_nobody(each.path[0], known)}"


def _unknown_conditions(step: str, conditions: Iterable[Condition], known: _Names) -> Iterator[str]:
    for each in conditions:
        if known is not None and each.path and each.path[0] not in known:
            path = ".".join(each.path)
            yield f'transition {step}.when("{path}", ...): reads {path!r}, {_nobody(each.path[0], known)}'


def _nobody(name: str, known: frozenset[str]) -> str:
    held = ", ".join(sorted(known)) or "nothing"
    return f"but no payload field and no earlier output is called {name!r}; known there: {held}"
