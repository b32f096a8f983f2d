"""No form counts that another site made: the host's own protection where it has one, else a token of ours."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any

from flask import current_app, g, request, session
from itsdangerous import BadData, URLSafeTimedSerializer
from werkzeug.exceptions import BadRequest

from .language import _

FIELD = "squidmesh_csrf"
SESSION_KEY = "_squidmesh_csrf"
LIFETIME_SECONDS = 12 * 3600


class ForeignForm(BadRequest):
    """The form did not come from a page of ours, or it is too old. `description` says which."""


class NoSecretKey(BadRequest):
    """The host has no SECRET_KEY, so that no form can be told from a forged one."""

    code = 500


@dataclass(frozen=True, slots=True)
class Token:
    """The hidden field of a form."""

    field: str
    value: str


def token() -> Token | None:
    """The token for forms of the current person; None where the host has no SECRET_KEY."""
    if not current_app.secret_key:
        return None
    if _host_protection() is not None:
        from flask_wtf.csrf import generate_csrf

        return Token(current_app.config["WTF_CSRF_FIELD_NAME"], generate_csrf())
    if SESSION_KEY not in session:
        session[SESSION_KEY] = secrets.token_urlsafe(16)
    return Token(FIELD, str(_serializer().dumps(session[SESSION_KEY])))


def check() -> None:
    """Refuse the current POST unless it came from a form of ours.

    Raises ForeignForm, NoSecretKey, or Flask-WTF's CSRFError.
    """
    if request.headers.get("Sec-Fetch-Site", "same-origin") != "same-origin":
        raise ForeignForm(_("The form was sent from another site."))
    if not current_app.secret_key:
        raise NoSecretKey()
    protection = _host_protection()
    if protection is None:
        _check_own()
    elif current_app.config["WTF_CSRF_ENABLED"] and not g.get("csrf_valid"):
        protection.protect()


def _check_own() -> None:
    try:
        signed = _serializer().loads(request.form.get(FIELD, ""), max_age=LIFETIME_SECONDS)
    except BadData as error:
        raise ForeignForm(_("The form has no valid token: it is too old, or your session has ended.")) from error
    if not secrets.compare_digest(str(signed), str(session.get(SESSION_KEY, ""))):
        raise ForeignForm(_("The form belongs to another session."))


def _host_protection() -> Any:
    return current_app.extensions.get("csrf")


def _serializer() -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(current_app.secret_key or "", salt="squidmesh-dashboard-form")
