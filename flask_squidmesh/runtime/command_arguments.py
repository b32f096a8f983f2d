"""Who calls, and what they say: checked before anything is looked up."""

from __future__ import annotations

from collections.abc import Mapping

from ..definition import values
from ..definition.state_expressions import LONGEST_ID
from ..definition.tenants import tenant_id
from ..definition.values import JsonObject, JsonValue
from ..engine.facts import Decider
from ..errors import ConflictError, ManualActionError
from ..people import Person, normal, recorded

LONGEST_KEY = 200
LONGEST_COMMENT = 10_000


def decider_of(actor: object, comment: object, metadata: object, *, actor_required: bool, most: int) -> Decider:
    """Who acts and what they say; most: bytes of JSON. Raises ManualActionError naming the first that does not fit."""
    if actor is None and actor_required:
        raise ManualActionError("actor", "actor is required: pass who decides, as text, a mapping or a Person.")
    return Decider(actor=actor_of(actor, most), comment=comment_of(comment), metadata=_metadata(metadata, most))


def actor_of(actor: object, most: int) -> JsonValue:
    """The actor as it is recorded, None where nobody is named; most: bytes of JSON. Raises ManualActionError."""
    said = recorded(actor)
    if said is None:
        return None
    if not isinstance(said, str | Mapping) or not said:
        raise ManualActionError(
            "actor", f"actor must be text, a mapping that is not empty, or a Person, not {_kind(actor)}."
        )
    kept = _stored("actor", said)
    _check_size("actor", kept, most)
    id = kept.get("id") if isinstance(kept, Mapping) else None
    nameless = id == "" or (id is None and isinstance(actor, Person))
    if nameless or isinstance(id, bool) or not isinstance(id, str | int | None):
        raise ManualActionError("actor", f"actor needs an id that is text or a whole number, not {_kind(id)}.")
    return kept


def assignee_of(to: object, name: str = "to") -> str | None:
    """The id of the person whose a wait becomes, None for nobody's. Raises ManualActionError."""
    if to is None:
        return None
    id = to.id if isinstance(to, Person) else to
    if not isinstance(id, str) or not normal(id):
        raise ManualActionError(name, f"{name} must be the id of a person, or None for nobody, not {_kind(to)}.")
    if len(normal(id)) > LONGEST_ID:
        raise ManualActionError(name, f"{name} has {len(id):,} characters; an id has {LONGEST_ID} at most.")
    return str(_stored(name, normal(id)))


def comment_of(comment: object, name: str = "comment") -> str | None:
    """What is said in words. Raises ManualActionError."""
    if comment is None:
        return None
    if not (isinstance(comment, str) and comment.strip()):
        raise ManualActionError(name, f"{name} must be text that is not blank, or left out, not {_kind(comment)}.")
    if len(comment) > LONGEST_COMMENT:
        raise ManualActionError(name, f"{name} has {len(comment):,} characters; say it in {LONGEST_COMMENT:,} at most.")
    return str(_stored(name, comment))


def output_of(output: object, most: int) -> JsonObject:
    """What an interrupted step would have returned; most: bytes of JSON. Raises ManualActionError."""
    try:
        kept = values.step_output(output)
        _check_size("output", kept, most)
        return kept
    except values.ValueNotJsonError as unfit:
        raise ManualActionError("output", f"output must be what the step could have returned. {unfit}") from unfit


def key_of(key: object) -> str | None:
    """An idempotency key. Raises ConflictError."""
    if key is None:
        return None
    if not isinstance(key, str) or not key.strip() or len(key) > LONGEST_KEY or _unfit(key):
        raise ConflictError(
            f"An idempotency key is text of 1 to {LONGEST_KEY} characters that is not blank. Pass such a text."
        )
    return key


def tenant_of(tenant: object) -> str:
    """The id of a tenant, '' for none. Raises ManualActionError."""
    try:
        return tenant_id(tenant)
    except ValueError as unfit:
        raise ManualActionError("tenant", str(unfit)) from unfit


def _metadata(metadata: object, most: int) -> JsonObject | None:
    if metadata is None:
        return None
    if not isinstance(metadata, Mapping):
        raise ManualActionError("metadata", f"metadata must be a mapping, or left out, not {_kind(metadata)}.")
    kept = _stored("metadata", metadata)
    assert isinstance(kept, Mapping)
    _check_size("metadata", kept, most)
    return kept


def _stored(name: str, said: object) -> JsonValue:
    try:
        return values.to_json(said)
    except values.ValueNotJsonError as unfit:
        raise ManualActionError(name, f"{name} cannot be stored. {unfit}") from unfit


def _check_size(name: str, said: object, most: int) -> None:
    size = values.size_of(said)
    if size > most:
        raise ManualActionError(
            name,
            f"{name} is {size} bytes of JSON; SQUIDMESH_MAX_PAYLOAD_BYTES allows {most}. "
            "Store the data elsewhere and pass a reference to it.",
        )


def _unfit(said: object) -> str | None:
    try:
        values.to_json(said)
    except values.ValueNotJsonError as unfit:
        return str(unfit)
    return None


def _kind(value: object) -> str:
    return "an empty one" if value in ("", {}) else f"a {type(value).__name__}"
