"""What a request of a program says: its body, its query and its headers, each read in one place."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final, Literal, NoReturn, TypeVar, cast
from urllib.parse import quote, unquote

from flask import request
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from ..dashboard.endpoints import whole
from ..definition.values import DEEPEST, JsonObject, is_storable
from ..engine.command_table import Name
from ..errors import FilterError, PayloadError, given
from ..runtime.command_arguments import LONGEST_KEY
from .problems import BodyError

JSON: Final = "application/json"
_IN_TOKENS: Final = "#,.-_~"
Arguments = TypeVar("Arguments", bound=BaseModel)


class EventBody(BaseModel):
    """An event that is sent."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    name: Name = Field(description="Which event, as workflows wait for it.")
    key: Name | int = Field(description="Whose event: what runs wait for it by.")
    payload: dict[str, JsonValue] | None = Field(None, description="What it brings.")
    event_id: Name | None = Field(None, description="The sender's own name for it: the same one again does nothing.")


def json_body() -> JsonObject:
    """The body as a JSON object; an empty one where there is none. Raises BodyError, RequestEntityTooLarge."""
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise BodyError(415, "The body is compressed or encoded. Send it as it is.")
    raw = request.get_data(cache=False)
    if not raw:
        return {}
    if request.mimetype != JSON or request.mimetype_params.get("charset", "utf-8").lower() not in ("utf-8", "utf8"):
        raise BodyError(415, f"The body is {given(request.content_type or 'of no kind')}. Send {JSON} in UTF-8.")
    found = _parsed(raw)
    if not isinstance(found, dict):
        raise BodyError(400, "The body is JSON, but no object. Send an object, such as {}.")
    return found


def _parsed(raw: bytes) -> object:
    try:
        found = json.loads(raw.decode("utf-8"), parse_constant=_no_number)
    except UnicodeDecodeError as error:
        raise BodyError(400, f"The body is not UTF-8: byte {error.start} of it is wrong.") from error
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise BodyError(400, f"The body is not JSON: {place}: {error.msg}.") from error
    except RecursionError as error:
        raise _too_deep() from error
    except ValueError as error:
        raise BodyError(400, "A number in the body is none of JSON, or has too many digits.") from error
    _check_depth(found)
    return found


def _check_depth(found: object) -> None:
    """Raise BodyError where what was sent is deeper than what is kept; one that can be kept stands one level lower."""
    level: list[object] = [found]
    for _ in range(DEEPEST + 1):
        level = [inner for each in level for inner in _children(each)]
        if not level:
            return
    raise _too_deep()


def _children(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _too_deep() -> BodyError:
    return BodyError(400, f"The body is nested too deep; at most {DEEPEST} levels are kept.")


def _no_number(name: str) -> NoReturn:
    raise ValueError(name)


def arguments(kind: type[Arguments]) -> Arguments:
    """The body as what an address takes. Raises BodyError, and PayloadError naming everything that does not fit."""
    body = json_body()
    try:
        return kind.model_validate(body)
    except ValidationError as error:
        raise _unfit(kind, error) from error


def _unfit(kind: type[BaseModel], error: ValidationError) -> PayloadError:
    missing, unknown, invalid = [], [], dict[str, str]()
    for each in error.errors(include_url=False, include_context=False, include_input=False):
        name = str((*each["loc"], "body")[0])
        if each["type"] == "missing":
            missing.append(name)
        elif each["type"] == "extra_forbidden":
            unknown.append(name)
        else:
            invalid[name] = each["msg"]
    said = [f"missing {', '.join(missing)}"] if missing else []
    said += [f"unknown {', '.join(map(given, sorted(unknown)))}"] if unknown else []
    said += [f"{name}: {text}" for name, text in invalid.items()]
    message = f"The body does not fit; it takes {', '.join(kind.model_fields)}: {'; '.join(said)}."
    return PayloadError(message, missing_fields=missing, unknown_fields=sorted(unknown), invalid_types=invalid)


def check_query(*known: str) -> None:
    """Refuse what the address asks for and nobody answers. Raises FilterError."""
    unknown = sorted(set(request.args) - set(known))
    if unknown:
        raise FilterError(
            unknown[0], f"There is no parameter {given(unknown[0])}. There are: {', '.join(known) or 'none'}."
        )


def several(name: str) -> list[str] | None:
    """The values that a parameter is given with; None for none."""
    return request.args.getlist(name) or None


def count(name: str, otherwise: int, most: int) -> int:
    """A parameter that is a whole number from 1 on. Raises FilterError."""
    text = request.args.get(name)
    if text is None:
        return otherwise
    found = whole(text)
    if not found or found > most:
        raise FilterError(name, f"{name}={given(text)} was given; expected a number from 1 to {most}.")
    return found


def flag(name: str) -> bool:
    """A parameter that is true or false. Raises FilterError."""
    text = request.args.get(name, "false")
    if text not in ("true", "false"):
        raise FilterError(name, f"{name}={given(text)} was given; expected true or false.")
    return text == "true"


Choice = TypeVar("Choice", bound=str)


def choice(name: str, among: Sequence[Choice], otherwise: Choice) -> Choice:
    """A parameter that is one of several words. Raises FilterError."""
    text = request.args.get(name, otherwise)
    if text not in among:
        raise FilterError(name, f"{name}={given(text)} was given; expected one of {', '.join(among)}.")
    return cast(Choice, text)


def moment(name: str) -> datetime | None:
    """A parameter that is a time with its offset from UTC. Raises FilterError."""
    text = request.args.get(name)
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text.replace(" ", "+"))
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise FilterError(name, f"{name}={given(text)} was given; expected a time such as 2026-11-20T08:00:00Z.")
    return found


def key() -> str | None:
    """The header Idempotency-Key. Raises BodyError for one that cannot be kept."""
    said = request.headers.get("Idempotency-Key")
    if said is not None and not (said.strip() and len(said) <= LONGEST_KEY and is_storable(said)):
        raise BodyError(400, f"Idempotency-Key takes 1 to {LONGEST_KEY} characters that are not blank.")
    return said


def tag_of(token: str) -> str:
    """The decision token as an ETag has it."""
    return f'"{quote(token, safe=_IN_TOKENS)}"'


def expected() -> str | None:
    """The decision token in the header If-Match; None where anything will do. Raises BodyError."""
    if "If-Match" not in request.headers or request.if_match.star_tag:
        return None
    tags = list(request.if_match.as_set())
    if len(tags) != 1:
        raise BodyError(400, 'If-Match takes one ETag that GET of the run has answered, such as "review#1".')
    return unquote(tags[0])


Where = Literal["path", "query", "header"]


def parameter(name: str, where: Where, schema: dict[str, Any], description: str, *, required: bool = False) -> Any:
    """A parameter as OpenAPI tells of it."""
    several = {"style": "form", "explode": True} if schema.get("type") == "array" else {}
    return {"name": name, "in": where, "required": required, "schema": schema, "description": description, **several}
