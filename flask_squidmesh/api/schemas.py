"""JSON schemas of what the API answers, made from the annotations of the very classes whose values it sends."""

from __future__ import annotations

import types
from collections.abc import Collection, Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime
from functools import cache
from typing import Any, Final, Literal, NotRequired, Required, Union, get_args, get_origin, get_type_hints, is_typeddict

from ..engine.command_effects import Details
from ..engine.command_rules import NextAction, Refusal

Schema = dict[str, Any]
ANY: Final[Schema] = {}
OBJECT: Final[Schema] = {"type": "object", "additionalProperties": True}
_PLAIN: Final[Mapping[object, Schema]] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    datetime: {"type": "string", "format": "date-time"},
    type(None): {"type": "null"},
}
_ACTION: Final[Schema] = {
    "type": "object",
    "required": ["call", "action", "step", "leads_to"],
    "properties": {
        "call": {"type": "string"},
        "action": {"type": "string"},
        "step": {"type": ["string", "null"]},
        "option": {"type": "string"},
        "leads_to": OBJECT,
    },
}
_REFUSAL: Final[Schema] = {
    "type": "object",
    "required": ["call", "action", "reason", "details"],
    "properties": {**{name: {"type": "string"} for name in ("call", "action", "reason")}, "details": OBJECT},
}
_OWN: Final[Mapping[object, Schema]] = {NextAction: _ACTION, Refusal: _REFUSAL}


class Schemas:
    """The schemas of classes, each under its name, as one comes upon them."""

    def __init__(self) -> None:
        self.components: dict[str, Schema] = {}

    def of(self, annotation: Any) -> Schema:
        """The schema of what is annotated so."""
        if annotation in _OWN:
            return self._kept(annotation.__name__, _OWN[annotation])
        if annotation in _PLAIN:
            return dict(_PLAIN[annotation])
        if is_typeddict(annotation) or is_dataclass(annotation):
            return OBJECT if _is_details(annotation) else self._record(annotation)
        return self._generic(get_origin(annotation), get_args(annotation))

    def _generic(self, origin: Any, given: tuple[Any, ...]) -> Schema:
        if origin in (Union, types.UnionType):
            return _either([self.of(each) for each in given])
        if origin in (Required, NotRequired):
            return self.of(given[0])
        if origin is Literal:
            return {"type": "string", "enum": list(given)}
        if isinstance(origin, type) and issubclass(origin, Mapping):
            return OBJECT
        if isinstance(origin, type) and issubclass(origin, Collection):
            return {"type": "array", "items": self.of(given[0])}
        return ANY

    def _record(self, kind: Any) -> Schema:
        name = kind.__name__
        if name not in self.components:
            self.components[name] = {}  # stands for itself while its members are looked at
            hints = get_type_hints(kind, localns={"JsonValue": Any}, include_extras=True)
            named = [each.name for each in fields(kind)] if is_dataclass(kind) else list(hints)
            always = [each for each in named if is_dataclass(kind) or _is_required(kind, each, hints[each])]
            self.components[name] = {
                "type": "object",
                "description": _sentence(kind),
                "required": always,
                "properties": {each: self.of(hints[each]) for each in named},
            }
        return _reference(name)

    def _kept(self, name: str, schema: Schema) -> Schema:
        self.components.setdefault(name, schema)
        return _reference(name)


def _is_required(kind: Any, name: str, annotation: Any) -> bool:
    """Whether every mapping of this kind has the key; what is written as text, Python does not look into."""
    said = get_origin(annotation)
    return said is Required or (said is not NotRequired and name in kind.__required_keys__)


def nullable(schema: Schema) -> Schema:
    """The same or null."""
    return _either([schema, {"type": "null"}])


def _reference(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _either(schemas: list[Schema]) -> Schema:
    """One of them; without members where one of them takes anything."""
    return ANY if ANY in schemas else {"anyOf": schemas}


def _is_details(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, Details)


@cache
def _sentence(kind: type) -> str:
    """The first paragraph of what the class says of itself."""
    return " ".join((kind.__doc__ or "").partition("\n\n")[0].split())
