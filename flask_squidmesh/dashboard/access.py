"""Who may see and do what: the host says, and nothing is open that it did not open."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

from flask import Blueprint, current_app, has_request_context, request
from jinja2 import Environment
from markupsafe import Markup
from werkzeug.exceptions import Forbidden, HTTPException
from werkzeug.wrappers import Response

from ..config import READING_ACTIONS
from ..errors import ConfigurationError
from ..runtime.runtime import current_runtime
from ..store.summaries import RunSummary
from ..workflow.tenants import NO_TENANT, tenant_id
from .language import _
from .rights import name_of_right


@dataclass(frozen=True, slots=True)
class Deny:
    """A refusal with words: `reason` is one sentence that the refused person reads."""

    reason: str

    def __bool__(self) -> bool:
        return False


Authorize = Callable[[str, RunSummary | None, str | None], bool | Deny]
Path = tuple[str | int, ...]


@dataclass(slots=True)
class Hooks:
    """What a host gives to one mount of the dashboard; each may be left out.

    authorize(action, run, permission): whether the person may do it, or a Deny with the reason. run is None for what
    concerns no single run, permission is that of the open decision. actor(): who acts, text or a mapping with an "id"
    and perhaps a "label". redact(path, value, run): the value to show, or REDACTED. links(run): (label, address) pairs
    to show with a run. csp_nonce(): the nonce of the host's own content security policy. tenant(): whose runs are
    started within this request, None or '' for nobody's in particular.
    """

    authorize: Authorize | None = None
    actor: Callable[[], str | Mapping[str, Any]] | None = None
    redact: Callable[[Path, Any, RunSummary], Any] | None = None
    links: Callable[[RunSummary], Iterable[tuple[str, str]]] | None = None
    csp_nonce: Callable[[], str] | None = None
    tenant: Callable[[], str | None] | None = None


class Dashboard(Blueprint):
    """One mount: the hooks that count for it, and an `authorize` of its own if it has one.

    templates: its environment for them, made when the first page is.
    """

    hooks: Hooks
    own_authorize: Authorize | None
    templates: Environment | None = None


class Refused(Forbidden):
    """The person may not do this. `closed` where the host has opened the dashboard to nobody."""

    def __init__(self, action: str, reason: str, *, closed: bool = False) -> None:
        super().__init__(reason)
        self.action, self.reason, self.closed = action, reason, closed


def current_hooks() -> Hooks:
    """The hooks of the mount that answers the current request."""
    mount = cast(Dashboard, current_app.blueprints[request.blueprint or ""])
    return replace(mount.hooks, authorize=mount.own_authorize) if mount.own_authorize else mount.hooks


def is_closed() -> bool:
    """Whether the host has opened the dashboard to nobody."""
    return current_hooks().authorize is None and not current_app.debug


def refusal(action: str, run: RunSummary | None = None, permission: str | None = None) -> Deny | None:
    """Why the person may not do this; None where they may."""
    switched_off = _switched_off(action)
    if switched_off:
        return Deny(switched_off)
    authorize = current_hooks().authorize
    if authorize is None:
        return Deny(_("The dashboard has not been opened to anybody.")) if is_closed() else None
    answer = authorize(action, run, permission)
    return answer if isinstance(answer, Deny) else None if answer is True else Deny(_needed(action, permission))


def may(action: str, run: RunSummary | None = None, permission: str | None = None) -> bool:
    """Whether the person may do this."""
    return refusal(action, run, permission) is None


def require(action: str, run: RunSummary | None = None, permission: str | None = None) -> None:
    """Go on only if the person may do this.

    Raises Refused, which becomes a page with the reason, or the host's log-in for somebody who is not logged in.
    """
    denied = refusal(action, run, permission)
    if denied is not None:
        raise Refused(action, denied.reason, closed=is_closed())


def tenant_by(hooks: Hooks) -> str:
    """Whose runs are started within this request; '' outside one and where the host does not say.

    Raises ConfigurationError where the hook answers what is no tenant.
    """
    if hooks.tenant is None or not has_request_context():
        return NO_TENANT
    given = hooks.tenant()
    try:
        return NO_TENANT if given is None else tenant_id(given)
    except ValueError as unfit:
        raise ConfigurationError(f"The hook mesh.tenant gave what is no tenant: {unfit}") from unfit


def current_actor() -> str | dict[str, Any] | None:
    """Who is recorded with an action: what the host says, else Flask-Login's user, else None."""
    hook = current_hooks().actor
    if hook is not None:
        given = hook()
        return given if isinstance(given, str) else dict(given)
    if _login_manager() is not None:
        from flask_login import current_user

        return str(current_user.get_id()) if current_user.is_authenticated else None
    return "developer" if current_app.debug else None


def shown_actor() -> str | dict[str, Any] | None:
    """Who acts, to show or to note; None where the host cannot say, as of somebody who is not logged in."""
    try:
        return current_actor()
    except Exception:  # the hook is asked about somebody whom it need not know
        return None


def login_instead() -> Response | None:
    """The host's log-in page for a person whom Flask-Login does not know; None where that is not the matter."""
    if _login_manager() is None or is_closed():
        return None
    from flask_login import current_user

    if current_user.is_authenticated:
        return None
    try:
        return current_app.make_response(_login_manager().unauthorized())
    except HTTPException as error:
        return error.get_response()


def _login_manager() -> Any:
    return getattr(current_app, "login_manager", None)


def _switched_off(action: str) -> Markup | None:
    settings = current_runtime().settings.dashboard
    if action in READING_ACTIONS:
        return None
    if settings.read_only:
        return _("This dashboard is read-only.")
    if action in settings.disabled_actions:
        return _("This action is switched off here.")
    return None


def _needed(action: str, permission: str | None) -> str:
    if permission:
        return _("It needs the permission {permission}.", permission=permission)
    return _("You do not have the right “{action}”.", action=name_of_right(action))
