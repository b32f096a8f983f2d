"""Payloads: what a run is started with, and whether a model comes back from what is stored of it as it went."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, date, datetime, tzinfo
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from pydantic import AliasChoices, AliasPath, BaseModel, ValidationError
from pydantic_core import ErrorDetails
from pydantic_core import to_json as json_bytes

from ..clock import SystemClock
from ..errors import PayloadError
from .binding import members
from .cron import zone
from .spec import TriggerSpec
from .values import JsonObject, JsonValue, ValueNotJsonError, fault, kind, located, sentence, to_json

CHANGED: Final = (
    "it does not come back from the database as it is, because the model validates, serialises or excludes it in a way "
    "that cannot be undone, or does not say its type; have the field keep its value, or declare it as the plain value "
    "that is to be stored"
)

Place = tuple[int | str, ...]


class _Taken(NamedTuple):
    """What takes data. what: the data, where: what it is for, as errors call them."""

    what: str
    where: str
    model: type[BaseModel] | None
    timezone: str | None = None


def _taken_by(trigger: TriggerSpec) -> _Taken:
    return _Taken("The payload", f"trigger {trigger.name}", trigger.model, trigger.timezone)


def changes_when_read(model: type[BaseModel], instance: BaseModel, stored: JsonObject) -> dict[str, str]:
    """What is wrong with each field that is not the same when the model is made anew from what is stored of it.

    model: by which it is read, the class of the instance or one above it. Values are not quoted, for they may be
    secrets. What is private to the model is no data, and may differ.
    """
    computed = model.model_computed_fields
    given = {name: value for name, value in stored.items() if name not in computed} if computed else stored
    try:
        again = model.model_validate_json(json_bytes(given), by_alias=True, by_name=True)
    except ValidationError as error:
        return _refused(error)
    kind_of: Any = type(instance)
    if kind_of.__eq__ is BaseModel.__eq__ and again == instance:
        return {}
    found = [(place, gone) for place, gone in _differences(_data(instance), _data(again), ()) if place]
    return {str(first): _said(rest, fault(gone) or CHANGED) for (first, *rest), gone in reversed(found)}


def _said(place: Sequence[int | str], text: str) -> str:
    return f"{located(tuple(place))}: {text}" if place else text


def _refused(error: ValidationError) -> dict[str, str]:
    """What the model says against its own data, by field."""
    errors = error.errors(include_url=False, include_context=False)
    return {str((*each["loc"], "payload")[0]): f"{sentence(each, skip=1)}, as {CHANGED}" for each in errors}


def _data(model: BaseModel) -> dict[str, object]:
    """What the model holds: its fields, and what it takes besides."""
    return {**{name: getattr(model, name) for name in type(model).model_fields}, **(model.model_extra or {})}


def _differences(gone: object, back: object, place: Place) -> Iterator[tuple[Place, object]]:
    """The innermost places at which the two are not the same, and what went from there."""
    if isinstance(gone, BaseModel) and type(gone) is type(back):
        gone, back = _data(gone), _data(back)
    if isinstance(gone, Mapping) and isinstance(back, Mapping):
        if gone.keys() != back.keys() and place:
            yield place, gone
            return
        for name in {**gone, **back}:
            yield from _differences(gone.get(name, _ABSENT), back.get(name, _ABSENT), (*place, name))
    elif isinstance(gone, list | tuple) and isinstance(back, list | tuple) and len(gone) == len(back):
        for number, (one, other) in enumerate(zip(gone, back, strict=True)):
            yield from _differences(one, other, (*place, number))
    elif not _same(gone, back):
        yield place, gone


def _same(gone: object, back: object) -> bool:
    """Whether two values are the same; those of a class that cannot compare are when they have the same in them."""
    if type(gone) is type(back) and gone.__eq__(back) is NotImplemented and hasattr(gone, "__dict__"):
        return bool(vars(gone) == vars(back))
    return bool(gone == back)


_ABSENT: Final = object()


_WHOLE = "payload"
_scheduled: ContextVar[tuple[datetime, tzinfo] | None] = ContextVar("squidmesh_scheduled", default=None)


def scheduled_day() -> date:
    """The day of the cron trigger's window, in the trigger's time zone; without a window, today there.

    For payload models: `day: date = Field(default_factory=scheduled_day)`.
    """
    moment, place = _scheduled.get() or (SystemClock().now(), UTC)
    return moment.astimezone(place).date()


def validate(
    trigger: TriggerSpec, payload: object, *, window: datetime | None = None, now: datetime | None = None
) -> dict[str, JsonValue]:
    """The payload as JSON data, defaults filled in.

    payload: a mapping, an instance of the trigger's model, or None for an empty one. window: the cron window that
    `scheduled_day` names; now: the time for it where there is no window. Raises PayloadError.
    """
    taken = _taken_by(trigger)
    if trigger.model is None:
        _refuse(taken, unknown=sorted(map(str, _mapping(taken, payload))))
        return {}
    return _validated(taken, trigger.model, payload, window or now)


def _validated(taken: _Taken, model: type[BaseModel], payload: object, moment: datetime | None) -> dict[str, JsonValue]:
    found = _mapping(taken, payload)
    unknown = sorted(_unknown(model, found, ""))
    with _schedule(taken, moment):
        try:
            instance = payload if isinstance(payload, model) else _build(model, found)
        except ValidationError as error:
            _refuse(taken, unknown=unknown, error=error)
            raise
        _refuse(taken, unknown=unknown)
        stored = _resolved(taken, instance)
        if changed := changes_when_read(model, instance, stored):
            _refuse(taken, unknown=[], changed=changed)
    return stored


class EventPayload(NamedTuple):
    """What an event brings, as JSON data. said: without what factories filled in, to tell repeats by."""

    stored: JsonObject
    said: JsonObject


def validate_event(event: str, model: type[BaseModel] | None, payload: object, now: datetime) -> EventPayload:
    """The payload of an event, defaults filled in.

    model: the one that is registered for the event; None where any mapping will do. Raises PayloadError.
    """
    taken = _Taken("The payload", f"event {event}", model)
    if model is not None:
        stored = _validated(taken, model, payload, now)
        return EventPayload(stored, _without_generated(taken, model, payload, stored))
    if payload is not None and not isinstance(payload, BaseModel | Mapping):
        text = f"must be a mapping or a model, found {kind(payload)}"
        raise PayloadError(f"The payload of event {event} {text}.", invalid_types={_WHOLE: text})
    try:
        plain = to_json({} if payload is None else payload)
    except ValueNotJsonError as error:
        raise PayloadError(
            f"The payload of event {event} cannot be stored: {error}", invalid_types={_WHOLE: str(error)}
        ) from error
    assert isinstance(plain, dict), "a mapping is one in JSON"
    return EventPayload(plain, plain)


def why_unfit(model: type[BaseModel] | None, stored: JsonObject) -> str | None:
    """Why what is stored of an event does not fit the model; None where it does."""
    if model is None:
        return None
    given = {key: value for key, value in stored.items() if key not in model.model_computed_fields}
    try:
        model.model_validate_json(json.dumps(given), by_alias=True, by_name=True)
    except ValidationError as error:
        return "; ".join(sentence(each) for each in error.errors(include_url=False, include_context=False))
    except Exception as raised:  # validators are the host's, and raise what they like
        return f"reading it raised {type(raised).__name__}"
    return None


def validate_answer(
    where: str, model: type[BaseModel] | None, answer: object, values: JsonObject = MappingProxyType({})
) -> dict[str, JsonValue]:
    """What a person filled into a form, as JSON data, with what its fields began with where they left it.

    where: what the form is for, as errors call it. model: None where there is no form. answer: a mapping, an instance
    of the model, or None for nothing. Raises PayloadError.
    """
    taken = _Taken("The answer", where, model)
    found = _mapping(taken, answer)
    if model is None:
        _refuse(taken, unknown=sorted(map(str, found)))
        return {}
    if isinstance(answer, model):
        found = {name: getattr(answer, name) for name in answer.model_fields_set}
    unknown = sorted(_unknown(model, found, ""))
    try:
        given = {name: to_json(value) for name, value in found.items() if isinstance(name, str)}
    except ValueNotJsonError as error:
        raise PayloadError(f"The answer does not fit {where}: {error}", invalid_types={_WHOLE: str(error)}) from error
    names = _names(model)
    answered = {names.get(name, name) for name in given}
    kept = {name: value for name, value in values.items() if name not in answered and name in model.model_fields}
    try:
        instance = model.model_validate_json(json.dumps({**kept, **given}), by_alias=True, by_name=True)
    except ValidationError as error:
        _refuse(taken, unknown=unknown, error=error)
        raise
    except Exception as raised:  # validators are the host's, and raise what they like
        text = f"reading it raised {type(raised).__name__}"
        raise PayloadError(f"The answer does not fit {where}: {text}.", invalid_types={_WHOLE: text}) from raised
    _refuse(taken, unknown=unknown)
    return _resolved(taken, instance)


def validate_again(
    trigger: TriggerSpec, stored: JsonObject, *, window: datetime | None = None, now: datetime | None = None
) -> dict[str, JsonValue]:
    """A stored payload for another run, with defaults for what the model has gained since.

    What is stored stays as it is. window, now: as for `validate`. Raises PayloadError where the model, as it is now,
    does not take the payload.
    """
    model, taken = trigger.model, _taken_by(trigger)
    if model is None:
        return dict(stored)
    given = {key: value for key, value in stored.items() if key not in model.model_computed_fields}
    try:
        with _schedule(taken, window or now):
            instance = model.model_validate_json(json.dumps(given), by_alias=True, by_name=True)
        return {**_resolved(taken, instance), **stored}
    except ValidationError as error:
        _refuse(taken, unknown=[], error=error)
        raise
    except PayloadError:
        raise
    except Exception as raised:  # validators are the host's, and raise what they like
        text = f"reading it raised {type(raised).__name__}"
        message = f"The payload does not fit trigger {trigger.name}: {text}."
        raise PayloadError(message, invalid_types={_WHOLE: text}) from raised


def without_generated(trigger: TriggerSpec, payload: object, resolved: JsonObject) -> dict[str, JsonValue]:
    """A resolved payload without what factories filled in, which differs from one start to the next."""
    if trigger.model is None:
        return dict(resolved)
    return _without_generated(_taken_by(trigger), trigger.model, payload, resolved)


def _without_generated(
    taken: _Taken, model: type[BaseModel], payload: object, resolved: JsonObject
) -> dict[str, JsonValue]:
    if isinstance(payload, model):
        given = payload.model_fields_set
    else:
        names = _names(model)
        given = {names[key] for key in _mapping(taken, payload) if key in names}
    made = {name for name, each in model.model_fields.items() if each.default_factory is not None}
    left_out = made - given | model.model_computed_fields.keys()
    return {key: value for key, value in resolved.items() if key not in left_out}


def _mapping(taken: _Taken, payload: object) -> Mapping[Any, object]:
    if payload is None:
        return {}
    if isinstance(payload, BaseModel):
        return {} if taken.model and isinstance(payload, taken.model) else payload.model_dump()
    if isinstance(payload, Mapping):
        return payload
    text = f"must be a mapping or an instance of {taken.model.__name__}" if taken.model else "must be empty"
    raise PayloadError(f"{taken.what} of {taken.where} {text}, found {kind(payload)}.", invalid_types={_WHOLE: text})


def _build(model: type[BaseModel], payload: Mapping[object, object]) -> BaseModel:
    named = {key: value for key, value in payload.items() if isinstance(key, str)}
    return model.model_validate(named, by_alias=True, by_name=True)


@contextmanager
def _schedule(taken: _Taken, moment: datetime | None) -> Iterator[None]:
    place = zone(taken.timezone) if taken.timezone else UTC
    token = _scheduled.set((moment or SystemClock().now(), place))
    try:
        yield
    finally:
        _scheduled.reset(token)


def _unknown(model: type[BaseModel], payload: Mapping[object, object], prefix: str) -> Iterator[str]:
    """Keys that no field takes, also inside nested models; none where a model says itself what it does with extras."""
    names = _names(model)
    for key, value in payload.items():
        if key not in names and (model.model_config.get("extra") is None or not isinstance(key, str)):
            yield f"{prefix}{key}"
        elif key in names and isinstance(value, Mapping):
            inner = _nested(model.model_fields[names[key]].annotation)
            yield from _unknown(inner, value, f"{prefix}{key}.") if inner else ()


def _names(model: type[BaseModel]) -> dict[str, str]:
    """The keys a model accepts, each with the field it fills."""
    fields = model.model_fields
    aliases = {alias: name for name, each in fields.items() for alias in _aliases(each.validation_alias)}
    return {**aliases, **{name: name for name in fields}}


def _aliases(alias: str | AliasPath | AliasChoices | None) -> Iterator[str]:
    if isinstance(alias, AliasChoices):
        for choice in alias.choices:
            yield from _aliases(choice)
    elif isinstance(alias, AliasPath):
        yield str(alias.path[0])
    elif alias is not None:
        yield alias


def _nested(annotation: object) -> type[BaseModel] | None:
    models = [each for each in members(annotation) if isinstance(each, type) and issubclass(each, BaseModel)]
    return models[0] if len(models) == 1 else None


def _refuse(
    taken: _Taken,
    *,
    unknown: list[str],
    error: ValidationError | None = None,
    changed: Mapping[str, str] = MappingProxyType({}),
) -> None:
    missing, invalid = _sorted_out(taken, error, unknown) if error and taken.model else ([], dict(changed))
    if not (missing or unknown or invalid):
        return
    clauses = [f"missing {', '.join(missing)}"] if missing else []
    clauses += [f"unknown {', '.join(unknown)}"] if unknown else []
    clauses += [f"{name}: {text}" for name, text in invalid.items()]
    raise PayloadError(
        f"{taken.what} does not fit {taken.where}, which takes {_expected(taken)}: {'; '.join(clauses)}.",
        missing_fields=missing,
        unknown_fields=unknown,
        invalid_types=invalid,
    )


def _expected(taken: _Taken) -> str:
    return ", ".join(taken.model.model_fields) if taken.model else f"no {taken.what.split()[-1]}"


def _sorted_out(taken: _Taken, error: ValidationError, unknown: list[str]) -> tuple[list[str], dict[str, str]]:
    assert taken.model is not None
    names = _names(taken.model)
    missing: set[str] = set()
    invalid: dict[str, list[str]] = {}
    for each in error.errors(include_url=False, include_context=False):
        name = names.get(str(each["loc"][0]), str(each["loc"][0])) if each["loc"] else _WHOLE
        if each["type"] == "missing" and len(each["loc"]) == 1:
            missing.add(name)
        elif each["type"] == "extra_forbidden":
            unknown[:] = sorted({*unknown, _dotted(each)})
        else:
            invalid.setdefault(name, []).append(sentence(each, skip=1))
    ordered = [name for name in taken.model.model_fields if name in missing]
    return ordered, {name: "; ".join(texts) for name, texts in invalid.items()}


def _dotted(error: ErrorDetails) -> str:
    return ".".join(map(str, error["loc"]))


def _resolved(taken: _Taken, instance: BaseModel) -> dict[str, JsonValue]:
    try:
        plain = to_json(instance)
    except ValueNotJsonError as error:
        name, rest = _field_of(error.path)
        text = f"{rest}: {error.reason}" if rest else error.reason
        raise PayloadError(
            f"{taken.what} does not fit {taken.where}: {name}: {text}.", invalid_types={name or _WHOLE: text}
        ) from error
    assert isinstance(plain, dict), "a model is a mapping in JSON"
    return plain


def _field_of(path: str) -> tuple[str, str]:
    """The field that a path such as items[0].price begins with, and where in it the path leads."""
    end = next((at for at, character in enumerate(path) if at and character in ".["), len(path))
    return path[:end], path[end:].removeprefix(".")
