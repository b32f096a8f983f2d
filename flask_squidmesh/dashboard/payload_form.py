"""A form made from a JSON Schema, of a payload or of an answer, and what was typed into it as JSON data."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, TypedDict, cast

from markupsafe import Markup
from pydantic import BaseModel
from werkzeug.datastructures import MultiDict

from ..definition.values import JsonValue
from .endpoints import NotJson, json_of
from .host_hooks import REDACTED
from .text.language import N_, _, number, plural

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
        "items": "JsonSchema",
        "minimum": float,
        "maximum": float,
        "exclusiveMinimum": float,
        "exclusiveMaximum": float,
        "minLength": int,
        "maxLength": int,
        "minItems": int,
        "maxItems": int,
    },
    total=False,
)
"""What a form heeds of a schema that pydantic makes of a model."""

Kind = Literal[
    "text",
    "long",
    "number",
    "decimal",
    "checkbox",
    "choice",
    "choices",
    "lines",
    "date",
    "datetime-local",
    "time",
    "json",
]
Form = MultiDict[str, str]
Hides = Callable[[str], bool]
PREFIX = "payload."
LONG_TEXT = 200
_INPUTS: Mapping[str, Kind] = {"date": "date", "date-time": "datetime-local", "time": "time"}


@dataclass(frozen=True, slots=True)
class FieldChange:
    """What the value was before, as text, and who changed it when, where that is known."""

    before: str
    now: str
    who: str | None
    when: datetime | None


@dataclass(slots=True, kw_only=True)
class Field:
    """One field. value: as text for the form, chosen: those of a field that takes several; choices: (text, label)
    pairs. limits: what it takes, in words. numbers: whether what is typed into each line is a number. prefix: what its
    name in the form begins with. concealed: whether it begins with a value that the person may not see.
    """

    name: str
    label: str
    kind: Kind
    required: bool
    value: str = ""
    help: str = ""
    limits: str = ""
    step: str = "any"
    choices: list[tuple[str, str]] = field(default_factory=list)
    chosen: list[str] = field(default_factory=list)
    numbers: bool = False
    prefix: str = PREFIX
    concealed: bool = False
    change: FieldChange | None = None
    problem: str | None = None

    @property
    def id(self) -> str:
        """What the form calls it, so that no field of ours is meant."""
        return self.prefix + self.name

    @property
    def is_blank(self) -> bool:
        """Whether nothing is filled in."""
        return not self.chosen if self.kind == "choices" else not self.value.strip()


def fields(model: type[BaseModel] | None, hides: Hides = lambda name: False) -> list[Field]:
    """The fields of a payload, in order of declaration, with their defaults filled in.

    hides: whether the value under a name must not be seen.
    """
    if model is None:
        return []
    return fields_of(cast(JsonSchema, model.model_json_schema(by_alias=False, mode="validation")), hides)


def fields_of(schema: JsonSchema, hides: Hides = lambda name: False, prefix: str = PREFIX) -> list[Field]:
    """The same for a schema. prefix: what the names of the fields in the form begin with."""
    definitions, required = schema.get("$defs", {}), set(schema.get("required", ()))
    found = []
    for name, each in schema.get("properties", {}).items():
        resolved = _resolved(each, definitions)
        drawn = _field(name, resolved, _resolved(resolved.get("items", {}), definitions), name in required, hides)
        drawn.label = str(each.get("title") or name.replace("_", " ").capitalize())
        drawn.prefix = prefix
        found.append(drawn)
    return found


def filled_with(given: list[Field], payload: Mapping[str, object]) -> list[Field]:
    """The fields with the values of another run's payload, but for what is hidden there."""
    for each in given:
        if each.name in payload and not is_hidden(payload[each.name]):
            fill(each, payload[each.name])
    return given


def fill(given: Field, value: object) -> None:
    """Fill the field in with a value; one that its kind cannot show becomes JSON, or text."""
    if given.kind == "choices":
        if isinstance(value, list | tuple):
            given.chosen = [json.dumps(each) for each in value]
    elif given.kind == "lines" and not _is_lines(value):
        given.kind, given.value = "json", _text(value, "json")
    elif given.kind == "datetime-local" and isinstance(value, str) and _ZONE.search(value):
        given.kind, given.value = "text", value
    else:
        given.value = _text(value, given.kind)


def _is_lines(value: object) -> bool:
    """Whether each item stands in a line of its own."""
    items = value if isinstance(value, list | tuple) else [None]
    return all(isinstance(item, str | int | float) and "\n" not in str(item) for item in items)


def read(given: list[Field], form: Form) -> dict[str, JsonValue]:
    """What was typed as a payload, for the model to check. What cannot be read is noted with its field."""
    for each in given:
        each.value = ("true" if each.id in form else "") if each.kind == "checkbox" else form.get(each.id, "")
        each.chosen = form.getlist(each.id) if each.kind == "choices" else []
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
        if each.required and each.is_blank and each.problem is None:
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
            case "choices":
                yield each.name, [json_of(text) for text in each.chosen]
            case "lines" if each.value.strip():
                yield each.name, [_line(text.strip(), each) for text in each.value.splitlines() if text.strip()]
            case "text" | "long" if each.value.strip():
                yield each.name, each.value
            case "number" | "decimal" | "date" | "datetime-local" | "time" if each.value.strip():
                yield each.name, each.value.strip()


def _line(text: str, of: Field) -> JsonValue:
    if not of.numbers:
        return text
    try:
        return json_of(text)
    except NotJson:
        return text  # the model says what is wrong with it


def _field(name: str, schema: JsonSchema, items: JsonSchema, required: bool, hides: Hides) -> Field:
    kind = _kind(schema, items)
    default = None if _conceals(name, schema.get("default"), hides) else schema.get("default")
    drawn = Field(
        name=name,
        label=name,
        kind=kind,
        required=required and kind != "checkbox",
        help=str(schema.get("description", "")),
        limits=_limits(schema),
        step="1" if schema.get("type") == "integer" else "any",
        choices=[(json.dumps(each), str(each)) for each in _values(items if kind == "choices" else schema)],
        numbers=items.get("type") in ("integer", "number"),
    )
    if default is not None:
        fill(drawn, default)
    return drawn


def _limits(schema: JsonSchema) -> str:
    """Between what numbers, or how long, a value has to be, in words."""
    numeric = next((each for each in (schema, *schema.get("anyOf", ())) if each.get("type") in _NUMBERS), None)
    if numeric is not None:
        return ", ".join(_(text, number=_plain(numeric[key])) for key, text in _BOUNDS if key in numeric)
    return ", ".join(_sizes(schema))


def _sizes(schema: JsonSchema) -> Iterator[str]:
    """A text that has to be there, with a length of 1 and more, needs no words for that."""
    if (least := schema.get("minLength", 0)) > 1:
        yield plural(least, "at least 1 character", "at least {count} characters")
    if (most := schema.get("maxLength")) is not None:
        yield plural(most, "up to 1 character", "up to {count} characters")
    if least := schema.get("minItems", 0):
        yield plural(least, "at least 1 entry", "at least {count} entries")
    if (most := schema.get("maxItems")) is not None:
        yield plural(most, "up to 1 entry", "up to {count} entries")


def _plain(value: float) -> str:
    whole = float(value).is_integer()
    return number(value) if whole else number(value, len(repr(float(value)).partition(".")[2]))


_NUMBERS = ("integer", "number")
_BOUNDS: Sequence[tuple[str, str]] = (
    ("minimum", N_("at least {number}")),
    ("exclusiveMinimum", N_("more than {number}")),
    ("maximum", N_("up to {number}")),
    ("exclusiveMaximum", N_("less than {number}")),
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


_ZONE = re.compile(r"(Z|[+-]\d\d:?\d\d)$")


def _values(schema: JsonSchema) -> list[JsonValue]:
    return [schema["const"]] if "const" in schema else list(schema.get("enum", []))


def _kind(schema: JsonSchema, items: JsonSchema) -> Kind:
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
        case "array" if _values(items):
            return "choices"
        case "array" if items.get("type") in ("string", *_NUMBERS):
            return "lines"
    options = {each.get("type") for each in schema.get("anyOf", [])}
    if options == {"number", "string"}:
        return "decimal"
    return "text" if options and options <= {"string", "number", "integer"} else "json"


def _text(value: object, kind: Kind) -> str:
    match kind:
        case "checkbox":
            return "true" if value else ""
        case "json":
            return json.dumps(value, indent=2, ensure_ascii=False)
        case "choice":
            return json.dumps(value)
        case "lines" if isinstance(value, list | tuple):
            return "\n".join(str(each) for each in value)
        case _:
            return "" if value is None else str(value)


def is_hidden(value: object) -> bool:
    """Whether a part of the value must not be seen."""
    match value:
        case Mapping():
            return any(map(is_hidden, value.values()))
        case list() | tuple():
            return any(map(is_hidden, value))
        case _:
            return value is REDACTED
