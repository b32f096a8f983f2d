"""No form counts that another site made: the host's own protection where it has one, else a token of ours."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any

from flask import current_app, g, request, session
from flask.sessions import NullSession
from itsdangerous import BadData, URLSafeTimedSerializer
from markupsafe import Markup
from werkzeug.exceptions import BadRequest

from .language import _

FIELD = "squidmesh_csrf"
SESSION_KEY = "_squidmesh_csrf"
LIFETIME_SECONDS = 12 * 3600


class ForeignForm(BadRequest):
    """The form did not come from a page of ours, or it is too old. `description` says which."""


class NoForms(BadRequest):
    """No form can be told from a forged one in this app. `description` says what it lacks."""

    code = 500


@dataclass(frozen=True, slots=True)
class Token:
    """The hidden field of a form."""

    field: str
    value: str


def token() -> Token | None:
    """The token for forms of the current person; None where there can be no forms."""
    if no_forms():
        return None
    if _host_protection() is not None:
        from flask_wtf.csrf import generate_csrf

        return Token(current_app.config["WTF_CSRF_FIELD_NAME"], generate_csrf())
    if SESSION_KEY not in session:
        session[SESSION_KEY] = secrets.token_urlsafe(16)
    return Token(FIELD, str(_serializer().dumps(session[SESSION_KEY])))


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


def check() -> None:
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


def _host_protection() -> Any:
    return current_app.extensions.get("csrf")


def _serializer() -> URLSafeTimedSerializer:
    """Signs with the SECRET_KEY; what a former one signed counts for as long as it is named as a fallback."""
    keys = [*(current_app.config.get("SECRET_KEY_FALLBACKS") or ()), current_app.secret_key or ""]
    return URLSafeTimedSerializer(keys, salt="squidmesh-dashboard-form")
