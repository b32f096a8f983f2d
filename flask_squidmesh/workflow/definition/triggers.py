"""The triggers of a workflow."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, get_args, get_type_hints

from pydantic import BaseModel, RootModel, SecretBytes, SecretStr
from pydantic.types import Secret

from ..annotations import shown
from ..elements import Cron, Manual, Trigger
from ..schedule import check, zone
from ..spec import TriggerSpec

_IDEMPOTENCY = ("return_existing", "skip", "none")
_SECRETS = (SecretStr, SecretBytes, Secret)


def read_triggers(triggers: Mapping[str, Trigger], problems: list[str]) -> dict[str, TriggerSpec]:
    """The checked triggers, in order of declaration."""
    if not triggers:
        problems.append("it has no trigger; write for instance start = Manual(Order)")
    found = {name: _read(name, each, problems) for name, each in triggers.items()}
    problems.extend(_conflicts(found))
    return found


def _read(name: str, trigger: Trigger, problems: list[str]) -> TriggerSpec:
    model = _model(name, trigger, problems)
    if not isinstance(trigger, Cron):
        return TriggerSpec(name=name, kind="manual", model=model)
    problems.extend(f"trigger {name}: the cron expression {fault}" for fault in check(trigger.expression))
    try:
        zone(trigger.timezone)
    except ValueError as error:
        problems.append(f'trigger {name}: {error}; write one like timezone="Europe/Berlin"')
    if trigger.idempotency not in _IDEMPOTENCY:
        problems.append(
            f"trigger {name}: idempotency={trigger.idempotency!r} is unknown; write one of {', '.join(_IDEMPOTENCY)}"
        )
    problems.extend(_required(name, model))
    return TriggerSpec(
        name=name,
        kind="cron",
        model=model,
        expression=trigger.expression,
        timezone=trigger.timezone,
        idempotency=trigger.idempotency,
    )


def _model(name: str, trigger: Trigger, problems: list[str]) -> type[BaseModel] | None:
    model = trigger.model if isinstance(trigger, (Manual, Cron)) else None
    if model is None:
        return None
    if not isinstance(model, type) or not issubclass(model, BaseModel) or issubclass(model, RootModel):
        problems.append(
            f"trigger {name}: the payload's model must be a pydantic BaseModel class with fields, found {model!r}; "
            "write class Order(BaseModel): ..."
        )
        return None
    if model.model_rebuild(raise_errors=False) is False:
        problems.append(
            f"trigger {name}: the annotations of {model.__name__} cannot be resolved; import what they name"
        )
        return None
    problems.extend(
        f"trigger {name}: payload field {path} is a secret, and payloads are stored as they are; "
        "write a reference to the secret instead"
        for path in _secrets(model, "", frozenset())
    )
    return model


def _required(name: str, model: type[BaseModel] | None) -> Iterator[str]:
    for field, info in (model.model_fields if model else {}).items():
        if info.is_required():
            yield (
                f"trigger {name}: a cron trigger starts with its model's defaults, but field {field} has none; "
                f"write {field}: {shown(info.annotation)} = ..."
            )


def _conflicts(triggers: Mapping[str, TriggerSpec]) -> Iterator[str]:
    first: dict[str, tuple[str, Any]] = {}
    for trigger in triggers.values():
        for field, info in (trigger.model.model_fields if trigger.model else {}).items():
            other, annotation = first.setdefault(field, (trigger.name, info.annotation))
            if annotation != info.annotation:
                yield (
                    f"payload field {field}: is {shown(annotation)} in trigger {other} and {shown(info.annotation)} "
                    f"in trigger {trigger.name}; give both the same type or different names"
                )


def _secrets(annotation: Any, path: str, above: frozenset[Any]) -> Iterator[str]:
    """Where an annotation holds a secret, however deep."""
    if isinstance(annotation, type) and issubclass(annotation, _SECRETS):
        yield path
    for each in get_args(annotation):
        yield from _secrets(each, path, above)
    if isinstance(annotation, type) and annotation not in above:
        for name, inner in _fields(annotation).items():
            yield from _secrets(inner, f"{path}.{name}".removeprefix("."), above | {annotation})


def _fields(annotation: type) -> Mapping[str, Any]:
    if issubclass(annotation, BaseModel):
        return {name: each.annotation for name, each in annotation.model_fields.items()}
    if dataclasses.is_dataclass(annotation) or hasattr(annotation, "__total__"):
        return get_type_hints(annotation)
    return {}
