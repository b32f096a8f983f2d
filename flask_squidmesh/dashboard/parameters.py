"""What a request says: the one place where it is looked at before any view reads it.

Whoever writes an address may put anything into it. What no name, id or text of ours can hold is refused here, so that
no database is asked for it; and no parameter of an address becomes a keyword of a call.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from flask import request, url_for
from markupsafe import Markup
from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import BadRequest

from ..workflow.values import DEEPEST, is_storable
from .language import _, in_english

LONGEST_NAME: Final = 200
LONGEST_IN_ADDRESS: Final = 4_000
MOST_DIGITS: Final = 11


class Unreadable(BadRequest):
    """The request holds what cannot be looked up or stored; `reason` says so to the person."""

    def __init__(self, reason: Markup) -> None:
        super().__init__(reason)
        self.reason = reason


class NotJson(ValueError):
    """What was typed is not JSON, or none that is kept; `reason` says so to the person."""

    def __init__(self, reason: Markup) -> None:
        super().__init__(reason)
        self.reason = reason


def check_address() -> None:
    """Refuse an address that holds what is no text. Raises Unreadable."""
    path: Mapping[str, Any] = request.view_args or {}
    _check([*path.values(), *_texts(request.args)])
    if any(len(text) > LONGEST_IN_ADDRESS for text in _texts(request.args)):
        raise Unreadable(_("One of the values in this address is too long."))


def check_form() -> None:
    """Refuse a form that holds what is no text. Raises Unreadable."""
    _check(_texts(request.form))


def whole(text: str | None) -> int | None:
    """The text as a number of 0 and above; None where it is none, or beyond all that is counted here."""
    if text is None or not (text.isascii() and text.isdigit() and len(text) <= MOST_DIGITS):
        return None
    return int(text)


def json_of(text: str) -> Any:
    """What was typed into a field, as JSON data. Raises NotJson."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        said = in_english(error.msg.lower())
        raise NotJson(_("Line {line} is not JSON: {problem}.", problem=said, line=error.lineno)) from error
    except RecursionError as error:
        raise NotJson(_("This is nested too deep; at most {most} levels are kept.", most=DEEPEST)) from error
    except ValueError as error:  # more digits than Python makes a number of
        raise NotJson(_("A number in this has too many digits.")) from error


def address(endpoint: str, path: Mapping[str, Any], query: Mapping[str, Any]) -> str:
    """An address with a query that came from another address: its names are never keywords of `url_for`."""
    kept = [(name, value) for name, value in query.items() if name not in path and value is not None]
    return with_query(url_for(endpoint, **path), urlencode(kept))


def with_query(address: str, query: str) -> str:
    """The address with the query, also where a `url_defaults` of the host's has given it one, whose values it may be
    that come again."""
    parts = urlsplit(address)
    names = dict(parse_qsl(query, keep_blank_values=True))
    before = [(name, value) for name, value in parse_qsl(parts.query, keep_blank_values=True) if name not in names]
    return urlunsplit(parts._replace(query="&".join(filter(None, (urlencode(before), query)))))


def _texts(given: MultiDict[str, str]) -> Iterable[str]:
    for name, values in given.lists():
        yield name
        yield from values


def _check(texts: Iterable[Any]) -> None:
    if not all(is_storable(text) for text in texts if isinstance(text, str)):
        raise Unreadable(_("It holds a character that no text can hold."))
