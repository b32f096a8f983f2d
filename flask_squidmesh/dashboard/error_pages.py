"""The pages for what went wrong: each says what happened, and what to do."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from flask import current_app, request
from flask_wtf.csrf import CSRFError
from sqlalchemy.exc import DBAPIError, OperationalError, ProgrammingError, SQLAlchemyError
from werkzeug.exceptions import HTTPException, NotFound, RequestEntityTooLarge
from werkzeug.wrappers import Response

from ..config import READING_ACTIONS
from ..errors import (
    ConfigurationError,
    ConflictError,
    ManualActionError,
    PayloadError,
    RunNotFoundError,
    SchemaError,
    SquidMeshError,
    TransitionError,
    UnknownTriggerError,
    UnknownWorkflowError,
    UnsafeReplayError,
)
from . import authorization, endpoints, page_data, redirects
from .endpoints import ForeignForm, NoForms
from .layout import render
from .text.language import _, in_english

Answer = tuple[str, int] | Response
MISSING_TABLE_OR_COLUMN, QUERY_CANCELLED = ("42P01", "42703"), "57014"
STATUSES: Mapping[type[SquidMeshError], int] = {
    UnknownWorkflowError: 404,
    UnknownTriggerError: 404,
    TransitionError: 409,
    ConflictError: 409,
    UnsafeReplayError: 409,
    PayloadError: 422,
    ManualActionError: 422,
}
logger = logging.getLogger(__name__)


def register(dashboard: authorization.Dashboard) -> None:
    """Have our pages answer for our own addresses; the host's error pages stay as they are."""
    dashboard.register_error_handler(authorization.Refused, refused)
    dashboard.register_error_handler(CSRFError, foreign_form)
    dashboard.register_error_handler(ForeignForm, foreign_form)
    dashboard.register_error_handler(NoForms, no_forms)
    dashboard.register_error_handler(RequestEntityTooLarge, too_large)
    dashboard.register_error_handler(endpoints.Unreadable, unreadable)
    dashboard.register_error_handler(NotFound, no_such_page)
    dashboard.register_error_handler(RunNotFoundError, no_such_run)
    dashboard.register_error_handler(SquidMeshError, not_done)
    dashboard.register_error_handler(ConfigurationError, not_configured)
    dashboard.register_error_handler(SchemaError, no_tables)
    dashboard.register_error_handler(SQLAlchemyError, store_failed)


def refused(error: authorization.Refused) -> Answer:
    """The log-in for somebody unknown, else a page with the reason. An attempt to act is kept in the audit."""
    if error.closed:
        return _page("closed.html", 403, _("This dashboard is closed"))
    if request.method == "POST":
        _keep(error)
    sees = error.action in READING_ACTIONS
    heading = _("You may not see this") if sees else _("You may not do this")
    shown = {"reason": error.reason, "lacks_right": error.lacks_right, "run_id": None if sees else error.run_id}
    return authorization.login_instead() or _page("refused.html", 403, heading, **shown)


def foreign_form(error: ForeignForm | CSRFError) -> Answer:
    """The log-in for somebody unknown, whose session has perhaps ended, else a page with the reason."""
    reason = error.description if isinstance(error, ForeignForm) else in_english(error.description or "")
    return authorization.login_instead() or _page(
        "foreign_form.html", 400, _("This form was not accepted"), reason=reason
    )


def too_large(_error: RequestEntityTooLarge) -> Answer:
    return _page("too_large.html", 413, _("This is too large"))


def no_forms(_error: NoForms) -> Answer:
    return _page("no_forms.html", 500, _("This app takes no forms"))


def unreadable(error: endpoints.Unreadable) -> Answer:
    return _page("unreadable.html", 400, _("This request could not be read"), reason=error.reason)


def not_done(error: SquidMeshError) -> Answer:
    """What no view has an answer of its own for: a filter that makes no sense, a workflow that is not there."""
    status = next((number for kind, number in STATUSES.items() if isinstance(error, kind)), 400)
    return _page("unreadable.html", status, _("This request could not be carried out"), reason=in_english(str(error)))


def no_such_page(_error: NotFound) -> Answer:
    return _page("not_found.html", 404, _("There is no such page"))


def no_such_run(error: RunNotFoundError) -> Answer:
    return _page("not_found.html", 404, _("There is no such run"), run_id=error.run_id)


def not_configured(error: ConfigurationError) -> Answer:
    return _page("not_configured.html", 500, _("Squid Mesh is not configured"), problems=error.problems)


def no_tables(error: SchemaError) -> Answer:
    return _page("no_tables.html", 500, _("The tables are missing or old"), message=str(error))


def store_failed(error: SQLAlchemyError) -> Answer:
    """A failure that means missing tables says so; any other is logged, because its text may hold values."""
    if isinstance(error, (OperationalError, ProgrammingError)) and _means_missing_tables(error):
        return _page("no_tables.html", 500, _("The tables are missing or old"), message=None)
    if _sqlstate(error) == QUERY_CANCELLED:
        return _page("too_slow.html", 503, _("This takes too long"))
    logger.error("the run store did not answer", exc_info=error)
    sent = request.method == "POST"
    return _page("store_failed.html", 503, _("The database did not answer"), sent=sent)


def _sqlstate(error: SQLAlchemyError) -> str | None:
    return getattr(getattr(error, "orig", None), "sqlstate", None)


def _means_missing_tables(error: DBAPIError) -> bool:
    return _sqlstate(error) in MISSING_TABLE_OR_COLUMN or str(error.orig).startswith("no such ")


def _keep(error: authorization.Refused) -> None:
    """Keep what somebody with a name tried by a form of ours; the refusal stands whether or not it could be kept."""
    actor = authorization.shown_actor()
    if actor is None or not _is_ours():
        return
    try:
        page_data.record_refusal(error.run_id, error.action, actor, error.reason)
    except Exception:
        logger.exception("a refused attempt could not be kept in the audit")


def _is_ours() -> bool:
    try:
        endpoints.check_sent_form()
    except HTTPException:
        return False
    return True


def _page(template: str, status: int, heading: str, **values: object) -> Answer:
    shown = {"heading": heading, "debug": current_app.debug, "address": _address(), **values}
    return render(template, **shown), status


def _address() -> str:
    """The page again: as it was asked for, or the one that has the form."""
    if redirects.is_no_page():
        return redirects.page_that_asked()
    return request.script_root + request.full_path.rstrip("?")
