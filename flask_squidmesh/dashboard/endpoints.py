"""The one entrance of every address: what the request says, who may enter, and whether the form is ours.

Whoever writes an address may put anything into it. What no name, id or text of ours can hold is refused here, so that
no database is asked for it; and no parameter of an address becomes a keyword of a call.

What acts is reached by POST alone, behind `enter`, which asks for the right before the form is read, and behind the
form token. In order: size, address, right, text of the form, form token, then what the view does. Whether what the page
showed is still open is asked last, by the decision token under the run's lock, in `runtime/command_transaction.py`.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from io import BytesIO
from typing import IO, TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from flask import current_app, g, request, session, url_for
from flask.sessions import NullSession
from itsdangerous import BadData, URLSafeTimedSerializer
from markupsafe import Markup
from werkzeug.datastructures import FileStorage, MultiDict
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge
from werkzeug.formparser import FormDataParser

from ..definition.values import DEEPEST, JsonValue, is_storable
from ..runtime.runtime import current_runtime
from .text.language import _, in_english

if TYPE_CHECKING:
    import sqlalchemy as sa
    from flask.typing import ResponseReturnValue
    from flask_wtf.csrf import CSRFProtect

    from ..queries.frame_counts import FrameCounts
    from ..storage.scope import Scope
    from .host_hooks import Deny

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
    _check([*(request.view_args or {}).values(), *_texts(request.args)])
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


def json_of(text: str) -> JsonValue:
    """What was typed into a field, as JSON data. Raises NotJson."""
    try:
        found: JsonValue = json.loads(text)
    except json.JSONDecodeError as error:
        said = in_english(error.msg.lower())
        raise NotJson(_("Line {line} is not JSON: {problem}.", problem=said, line=error.lineno)) from error
    except RecursionError as error:
        raise NotJson(_("This is nested too deep; at most {most} levels are kept.", most=DEEPEST)) from error
    except ValueError as error:  # more digits than Python makes a number of
        raise NotJson(_("A number in this has too many digits.")) from error
    return found


def url_of(endpoint: str, values: Mapping[str, Any]) -> str:
    """The address of a page of ours. values: what it says, none of which is an option of `url_for`."""
    return url_for(endpoint, **values)


def address(endpoint: str, path: Mapping[str, object], query: Mapping[str, object]) -> str:
    """An address with a query that came from another address: its names are never keywords of `url_for`."""
    kept = [(name, value) for name, value in query.items() if name not in path and value is not None]
    return with_query(url_of(endpoint, path), urlencode(kept))


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


def _check(texts: Iterable[object]) -> None:
    if not all(is_storable(text) for text in texts if isinstance(text, str)):
        raise Unreadable(_("It holds a character that no text can hold."))


FIELD = "squidmesh_csrf"
SESSION_KEY = "_squidmesh_csrf"
LIFETIME_SECONDS = 12 * 3600


class ForeignForm(BadRequest):
    """The form did not come from a page of ours, or it is too old. `description` says which."""


class NoForms(BadRequest):
    """No form can be told from a forged one in this app. `description` says what it lacks."""

    code = 500


@dataclass(frozen=True, slots=True)
class FormToken:
    """The hidden field of a form."""

    field: str
    value: str


def token() -> FormToken | None:
    """The token for forms of the current person; None where there can be no forms."""
    if no_forms():
        return None
    if _host_protection() is not None:
        from flask_wtf.csrf import generate_csrf

        return FormToken(current_app.config["WTF_CSRF_FIELD_NAME"], generate_csrf())
    if SESSION_KEY not in session:
        session[SESSION_KEY] = secrets.token_urlsafe(16)
    return FormToken(FIELD, str(_serializer().dumps(session[SESSION_KEY])))


def no_forms() -> Markup | None:
    """What the app lacks for forms that can be told from forged ones; None where it lacks nothing."""
    if not current_app.secret_key:
        return _(
            "Actions need a SECRET_KEY in the app's configuration, so that a form can be told from a forged one. "
            "Reading works without."
        )
    if isinstance(session, NullSession):
        return _(
            "Actions need a session, so that a form can be told from a forged one, and the app's session interface "
            "gives none for this request. Reading works without."
        )
    return None


def check_form_token() -> None:
    """Refuse the current POST unless it came from a form of ours.

    Raises ForeignForm, NoForms, or Flask-WTF's CSRFError.
    """
    if request.headers.get("Sec-Fetch-Site", "same-origin") != "same-origin":
        raise ForeignForm(_("The form was sent from another site."))
    if lacking := no_forms():
        raise NoForms(lacking)
    protection = _host_protection()
    if protection is None:
        _check_own()
    elif current_app.config["WTF_CSRF_ENABLED"] and not g.get("csrf_valid"):
        protection.protect()


def _check_own() -> None:
    try:
        signed = _serializer().loads(request.form.get(FIELD, ""), max_age=LIFETIME_SECONDS)
    except BadData as error:
        raise ForeignForm(
            _("The page with the form was open for too long, or your session has ended since.")
        ) from error
    if not secrets.compare_digest(str(signed), str(session.get(SESSION_KEY, ""))):
        raise ForeignForm(_("You have signed in again since the page with the form was opened."))


def _host_protection() -> CSRFProtect | None:
    found: CSRFProtect | None = current_app.extensions.get("csrf")
    return found


def _serializer() -> URLSafeTimedSerializer:
    """Signs with the SECRET_KEY; what a former one signed counts for as long as it is named as a fallback."""
    keys = [*(current_app.config.get("SECRET_KEY_FALLBACKS") or ()), current_app.secret_key or ""]
    return URLSafeTimedSerializer(keys, salt="squidmesh-dashboard-form")


About = TypeVar("About")
URLENCODED: Final = "application/x-www-form-urlencoded"
_PLAIN_FIELDS: Final = 1_000
_PLAIN_BYTES: Final = 100_000
_ESCAPED: Final = 4  # a form spends up to three characters on a byte
_BYTES_A_RUN: Final = 200


class Address(Protocol):
    """One address of the dashboard."""

    @property
    def rule(self) -> str:
        """As Flask knows it, below the prefix."""

    @property
    def endpoint(self) -> str:
        """Its name for `url_for`."""

    @property
    def methods(self) -> list[str]:
        """The methods that it takes; HEAD goes with GET, OPTIONS is answered by Flask."""

    def answer(self, **values: str) -> ResponseReturnValue:
        """The view."""


@dataclass(frozen=True, slots=True)
class Page:
    """An address that only shows. show: asks for the right, and makes the page."""

    rule: str
    endpoint: str
    show: Callable[..., ResponseReturnValue]

    @property
    def methods(self) -> list[str]:
        """What it takes."""
        return ["GET"]

    def answer(self, **values: str) -> ResponseReturnValue:
        """The page."""
        return self.show(**values)


@dataclass(frozen=True, slots=True)
class Form(Generic[About]):
    """An address that acts. enter: asks for the right from the address alone, before the form is read, and finds what
    it is about. send: acts. show: the page that asks; None where the form stands on another page.
    """

    rule: str
    endpoint: str
    enter: Callable[..., About]
    send: Callable[[About], ResponseReturnValue]
    show: Callable[[About], ResponseReturnValue] | None = None

    @property
    def methods(self) -> list[str]:
        """What it takes."""
        return ["GET", "POST"] if self.show else ["POST"]

    def answer(self, **values: str) -> ResponseReturnValue:
        """The page that asks, or for a POST with a form of ours what it came to."""
        about = self.enter(**values)
        if self.show and request.method != "POST":
            return self.show(about)
        check_sent_form()
        return self.send(about)


def check_sent_form() -> None:
    """Refuse a form that is unreadable, or no form of ours.

    Raises RequestEntityTooLarge, Unreadable, and what `check_form_token` does.
    """
    check_form()
    check_form_token()


class FewFields(FormDataParser):
    """Takes no form apart that has more fields than one of ours can have; werkzeug limits those in parts alone."""

    def parse(
        self,
        stream: IO[bytes],
        mimetype: str,
        content_length: int | None,
        options: dict[str, str] | None = None,
    ) -> tuple[IO[bytes], MultiDict[str, str], MultiDict[str, FileStorage]]:
        """The form. Raises RequestEntityTooLarge."""
        if mimetype == URLENCODED:
            body = stream.read()
            if body.count(b"&") >= _most_fields():
                raise RequestEntityTooLarge
            stream = BytesIO(body)
        return super().parse(stream, mimetype, content_length, options)


def limit_body(_endpoint: str | None, _values: dict[str, Any] | None) -> None:
    """Have nobody, the host's own handlers included, read more of a body than a form of ours can have."""
    most = _most_bytes()
    given = request.max_content_length
    with suppress(AttributeError):  # Flask 3.0 takes it from the app's settings alone
        request.max_content_length = most if given is None else min(given, most)
    request.form_data_parser_class = FewFields
    request.max_form_memory_size = most
    request.max_form_parts = _most_fields()


def refuse_large() -> None:
    """Refuse a body that says itself that it is too large, before anything is asked. Raises RequestEntityTooLarge."""
    if (request.content_length or 0) > _most_bytes():
        raise RequestEntityTooLarge


def _most_bytes() -> int:
    settings = current_runtime().settings
    return _PLAIN_BYTES + _ESCAPED * settings.max_payload_bytes + _BYTES_A_RUN * settings.dashboard.bulk_limit


def _most_fields() -> int:
    return _PLAIN_FIELDS + current_runtime().settings.dashboard.bulk_limit


_PLACE = "squidmesh.memory"


@dataclass(slots=True)
class RequestMemory:
    """What has been found out for one request.

    caller, caller_groups: as whom a program acts, as recorded, and their groups. tenant: whose run it says that it
    starts. scope: which runs the person may know of. views: whether they may view a run, by its id. counts: what every
    page tells. is_uncounted: whether that cannot be told. connection: over which all is read. next_change: when words
    on the page will not be right any more. nonce: of the host's policy. host_names: what the host's templates may use.
    """

    caller: object = None
    caller_groups: frozenset[str] = frozenset()
    tenant: str | None = None
    scope: Scope | None = None
    views: dict[str, Deny | None] = field(default_factory=dict)
    counts: FrameCounts | None = None
    is_uncounted: bool = False
    connection: sa.Connection | None = None
    next_change: datetime | None = None
    nonce: str | None = None
    has_nonce: bool = False
    host_names: Mapping[str, object] | None = None


def memory() -> RequestMemory:
    """What has been found out for this request.

    Flask's `g` would not do: requests that are made within one app context, as tests of hosts make them, share it,
    whoever they are of.
    """
    kept: RequestMemory = request.environ.setdefault(_PLACE, RequestMemory())
    return kept
