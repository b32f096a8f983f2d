"""People who act: who is the same person, and how they are written down."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who acts, as `@mesh.actor` may name them and as every call with `actor=` takes them.

    id: what tells them apart from everybody else, as text; it is compared without white space at its ends and in
    Unicode's form NFC. label: the name that people read. groups: what they belong to, for hooks; it is not recorded.
    """

    id: str
    label: str
    groups: tuple[str, ...] = ()


Actor = str | Mapping[str, object] | Person


def normal(text: str) -> str:
    """The text in the one form in which people are told apart."""
    return unicodedata.normalize("NFC", text).strip()


def recorded(actor: object) -> object:
    """The actor as it is written down: a Person as a mapping, and text and ids in their one form; others unchanged."""
    match actor:
        case Person():
            return {"id": recorded(actor.id), "label": actor.label}
        case str():
            return normal(actor)
        case Mapping() if isinstance(actor.get("id"), str):
            return {**actor, "id": normal(actor["id"])}
        case _:
            return actor


def identity(actor: object) -> str | None:
    """What tells people apart: the text, or a mapping's "id", else all of the mapping. None for nobody."""
    if isinstance(actor, Mapping):
        return normal(str(actor["id"])) if has_id(actor) else json.dumps(actor, sort_keys=True)
    return None if actor is None else normal(str(actor))


def has_id(actor: object) -> bool:
    """Whether the actor is told apart from everybody else: text is, and a mapping with an "id"."""
    return actor.get("id") is not None if isinstance(actor, Mapping) else actor is not None
