"""A form made from a payload's JSON Schema, and what was typed into it as a payload."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypedDict, cast

from markupsafe import Markup
from pydantic import BaseModel

from ..definition.values import JsonValue
from .endpoints import NotJson, json_of
from .host_hooks import REDACTED
from .text.language import _

JsonSchema = TypedDict(
    "JsonSchema",
    {
        "$ref": str,
        "$defs": "dict[str, JsonSchema]",
        "properties": "dict[str, JsonSchema]",
        "required": list[str],
        "anyOf": "list[JsonSchema]",
        "allOf": "list[JsonSchema]",
        "type": str,
        "format": str,
        "title": str,
        "description": str,
        "default": JsonValue,
        "const": JsonValue,
        "enum": list[JsonValue],
        "maxLength": int,
    },
    total=False,
)
"""What a form heeds of a schema that pydantic makes of a model."""

Kind = Literal["text", "long", "number", "checkbox", "choice", "date", "datetime-local", "time", "json"]
Form = Mapping[str, str]
Hides = Callable[[str], bool]
PREFIX = "payload."
LONG_TEXT = 200
_INPUTS: Mapping[str, Kind] = {"date": "date", "date-time": "datetime-local", "time": "time"}


@dataclass(slots=True, kw_only=True)
class Field:
    """One field of the payload. value: as text for the form; choices: (text, label) pairs."""

    name: str
    label: str
    kind: Kind
    required: bool
    value: str = ""
    help: str = ""
    step: str = "any"
    choices: list[tuple[str, str]] = field(default_factory=list)
    problem: str | None = None

    @property
    def id(self) -> str:
        """What the form calls it, so that no field of ours is meant."""
        return PREFIX + self.name


def fields(model: type[BaseModel] | None, hides: Hides = lambda name: False) -> list[Field]:
    """The fields of a payload, in order of declaration, with their defaults filled in.

    hides: whether the value under a name must not be seen.
    """
    if model is None:
        return []
    schema = cast(JsonSchema, model.model_json_schema(by_alias=False, mode="validation"))
    definitions, required = schema.get("$defs", {}), set(schema.get("required", ()))
    return [
        _field(name, _resolved(each, definitions), name in required, hides)
        for name, each in schema.get("properties", {}).items()
    ]


def filled_with(given: list[Field], payload: Mapping[str, object]) -> list[Field]:
    """The fields with the values of another run's payload, but for what is hidden there."""
    for each in given:
        if each.name in payload and not _hides(payload[each.name]):
            each.value = _text(payload[each.name], each.kind)
    return given


def read(given: list[Field], form: Form) -> dict[str, JsonValue]:
    """What was typed as a payload, for the model to check. What cannot be read is noted with its field."""
    for each in given:
        each.value = ("true" if each.id in form else "") if each.kind == "checkbox" else form.get(each.id, "")
    return dict(_typed(given))


def note(given: list[Field], problems: Mapping[str, str]) -> list[str]:
    """Note each problem with the field that it begins with; answer those that belong to none."""
    by_name = {each.name: each for each in given}
    rest: list[str] = []
    for path, text in problems.items():
        owner = by_name.get(path.partition(".")[0])
        if owner is None:
            rest.append(Markup("{}: {}").format(path, text))
        elif owner.problem is None:
            owner.problem = text
    return rest


def note_missing(given: list[Field]) -> None:
    """Note what has to be filled in and is not, where the rest cannot be checked yet."""
    for each in given:
        if each.required and not each.value.strip() and each.problem is None:
            each.problem = missing()


def missing() -> Markup:
    """What is said of a field that has to be filled in and is not."""
    return _("This is needed.")


def _typed(given: list[Field]) -> Iterator[tuple[str, JsonValue]]:
    for each in given:
        match each.kind:
            case "checkbox":
                yield each.name, each.value == "true"
            case "json" | "choice" if each.value.strip():
                try:
                    yield each.name, json_of(each.value)
                except NotJson as error:
                    each.problem = error.reason
            case "text" | "long" if each.value.strip():
                yield each.name, each.value
            case "number" | "date" | "datetime-local" | "time" if each.value.strip():
                yield each.name, each.value.strip()


def _field(name: str, schema: JsonSchema, required: bool, hides: Hides) -> Field:
    kind = _kind(schema)
    default = None if _conceals(name, schema.get("default"), hides) else schema.get("default")
    return Field(
        name=name,
        label=str(schema.get("title") or name),
        kind=kind,
        required=required and kind != "checkbox",
        value="" if default is None else _text(default, kind),
        help=str(schema.get("description", "")),
        step="1" if schema.get("type") == "integer" else "any",
        choices=[(json.dumps(each), str(each)) for each in _values(schema)],
    )


def _conceals(name: str, value: object, hides: Hides) -> bool:
    """Whether the value, or a part of it, stands under a name whose values must not be seen."""
    match value:
        case Mapping():
            return hides(name) or any(_conceals(str(key), item, hides) for key, item in value.items())
        case list() | tuple():
            return hides(name) or any(_conceals(name, item, hides) for item in value)
        case _:
            return hides(name)


def _resolved(schema: JsonSchema, definitions: Mapping[str, JsonSchema]) -> JsonSchema:
    """The schema behind references, and behind the "or null" of what may be left out."""
    found = schema.copy()
    while True:
        options = [each for each in found.get("anyOf", found.get("allOf", [])) if each.get("type") != "null"]
        if "$ref" in found:
            target = definitions.get(found.pop("$ref").rpartition("/")[2], JsonSchema())
            found = {**target, **found}
        elif len(options) == 1:
            found.pop("anyOf", None)
            found.pop("allOf", None)
            found = {**options[0], **found}
        else:
            return found


def _values(schema: JsonSchema) -> list[JsonValue]:
    return [schema["const"]] if "const" in schema else list(schema.get("enum", []))


def _kind(schema: JsonSchema) -> Kind:
    if _values(schema):
        return "choice"
    match schema.get("type"):
        case "string":
            long = schema.get("maxLength", 0) > LONG_TEXT
            return _INPUTS.get(str(schema.get("format")), "long" if long else "text")
        case "boolean":
            return "checkbox"
        case "integer" | "number":
            return "number"
    options = {each.get("type") for each in schema.get("anyOf", [])}
    return "text" if options and options <= {"string", "number", "integer"} else "json"


def _text(value: object, kind: Kind) -> str:
    match kind:
        case "checkbox":
            return "true" if value else ""
        case "json":
            return json.dumps(value, indent=2, ensure_ascii=False)
        case "choice":
            return json.dumps(value)
        case _:
            return "" if value is None else str(value)


def _hides(value: object) -> bool:
    """Whether a part of the value must not be seen."""
    match value:
        case Mapping():
            return any(map(_hides, value.values()))
        case list() | tuple():
            return any(map(_hides, value))
        case _:
            return value is REDACTED
