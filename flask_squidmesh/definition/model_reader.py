"""The pydantic models of payloads and forms, whose data is stored: which can be taken."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import NamedTuple, get_args, get_type_hints

from pydantic import BaseModel, RootModel, SecretBytes, SecretStr
from pydantic.types import Secret


class ModelUse(NamedTuple):
    """What a model is for, in the words of a fault. drawn: whether pages draw fields from its JSON schema."""

    model: str
    field: str
    stored: str
    example: str
    drawn: bool = False


PAYLOAD = ModelUse("the payload's model", "payload field", "payloads are", "Order")
EVENT = ModelUse("the event's model", "event field", "events are", "Settlement")
FORM = ModelUse("form=", "form field", "answers are", "Review", drawn=True)


def read_model(value: object, use: ModelUse, place: str, problems: list[str]) -> type[BaseModel] | None:
    """The model, or None where it is none. `place` is what each problem begins with."""
    if not isinstance(value, type) or not issubclass(value, BaseModel) or issubclass(value, RootModel):
        problems.append(
            f"{place}: {use.model} must be a pydantic BaseModel class with fields, found {value!r}; "
            f"write class {use.example}(BaseModel): ..."
        )
        return None
    if value.model_rebuild(raise_errors=False) is False:
        problems.append(f"{place}: the annotations of {value.__name__} cannot be resolved; import what they name")
        return None
    problems.extend(
        f"{place}: {use.field} {path} is a secret, and {use.stored} stored as they are; "
        "write a reference to the secret instead"
        for path in _secrets(value, "", frozenset())
    )
    if use.drawn:
        problems.extend(f"{place}: {fault}" for fault in _undrawable(value))
    return value


def _undrawable(model: type[BaseModel]) -> Iterator[str]:
    try:
        model.model_json_schema()
    except Exception as error:  # what annotations and hooks of the host's raise
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        yield f"{model.__name__} has no JSON schema to draw a form from ({reason}); give its fields types of JSON"


_SECRETS = (SecretStr, SecretBytes, Secret)


def _secrets(annotation: object, path: str, above: frozenset[object]) -> Iterator[str]:
    """Where an annotation holds a secret, however deep."""
    if isinstance(annotation, type) and issubclass(annotation, _SECRETS):
        yield path
    for each in get_args(annotation):
        yield from _secrets(each, path, above)
    if isinstance(annotation, type) and annotation not in above:
        for name, inner in _fields(annotation).items():
            yield from _secrets(inner, f"{path}.{name}".removeprefix("."), above | {annotation})


def _fields(annotation: type) -> Mapping[str, object]:
    if issubclass(annotation, BaseModel):
        return {name: each.annotation for name, each in annotation.model_fields.items()}
    if dataclasses.is_dataclass(annotation) or hasattr(annotation, "__total__"):
        return get_type_hints(annotation)
    return {}
