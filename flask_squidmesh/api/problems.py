"""What went wrong, as RFC 9457 has it: application/problem+json, with the fields of our errors."""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from flask import Blueprint, current_app, got_request_exception, request
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.exceptions import HTTPException, default_exceptions
from werkzeug.wrappers import Response

from ..dashboard import page_data
from ..dashboard.authorization import Refused, shown_actor
from ..dashboard.error_pages import STATUSES
from ..engine.command_table import COMMANDS
from ..errors import (
    ConfigurationError,
    ConflictError,
    FilterError,
    ManualActionError,
    PayloadError,
    RunNotFoundError,
    SchemaError,
    SquidMeshError,
    TransitionError,
    UnsafeReplayError,
)
from ..storage.summaries import plain

MIMETYPE: Final = "application/problem+json"
FIELDS: Final[Mapping[type[SquidMeshError], Mapping[str, str]]] = {
    PayloadError: {name: name for name in ("missing_fields", "unknown_fields", "invalid_types")},
    ConflictError: {"current": "current"},
    TransitionError: {"run_status": "status", "allowed": "allowed"},
    UnsafeReplayError: {"steps": "steps"},
    ManualActionError: {"field": "field"},
    FilterError: {"name": "name"},
    RunNotFoundError: {"run_id": "run_id"},
}
"""What a problem tells beside its text: its member, and the field of the error. The problem has a status of its own."""

logger = logging.getLogger("flask_squidmesh")


class BodyError(SquidMeshError):
    """The body of a request cannot be read. status: what is answered."""

    def __init__(self, status: int, message: str) -> None:
        self.status = status
        super().__init__(message)


def register(api: Blueprint) -> None:
    """Answer for our own addresses, whatever the host answers for the others."""
    for code in default_exceptions:
        api.register_error_handler(code, _refused_by_http)
    api.register_error_handler(Refused, _refused)
    api.register_error_handler(SquidMeshError, _failed_with_our_error)
    api.register_error_handler(SQLAlchemyError, _store_failed)
    api.register_error_handler(Exception, _failed)


def problem(status: int, title: str, detail: str, kind: str = "about:blank", **members: object) -> Response:
    """The answer that says what went wrong. kind: a URI for this sort of problem. members: its fields beside these."""
    said = {"type": kind, "title": title, "status": status, "detail": detail, **members}
    answer = current_app.response_class(json.dumps(plain(said)), status, mimetype=MIMETYPE)
    if status == HTTPStatus.UNAUTHORIZED:
        answer.headers["WWW-Authenticate"] = "Bearer"
    return answer


def nobody() -> Response:
    """The answer to a request of which nobody knows whose it is."""
    return problem(401, "Unauthorized", "The request does not say whose it is, or not so that the app knows them.")


def status_of(error: SquidMeshError) -> int:
    """What is answered where this was raised."""
    if isinstance(error, BodyError):
        return error.status
    if isinstance(error, ManualActionError) and error.field == "actor":
        return 403
    if isinstance(error, RunNotFoundError):
        return 404
    return next((status for kind, status in STATUSES.items() if isinstance(error, kind)), 400)


def _failed(error: Exception) -> Response:
    """What nobody has thought of: the host's developer is told, whoever asked is not."""
    current_app.log_exception(sys.exc_info())
    got_request_exception.send(current_app._get_current_object(), exception=error)  # type: ignore[attr-defined]
    return problem(500, "Internal Server Error", "Something went wrong here. Nothing is known of what was done.")


def _failed_with_our_error(error: SquidMeshError) -> Response:
    if isinstance(error, ConfigurationError | SchemaError):
        logger.error("squidmesh: the API cannot answer: %s", error)
        return problem(500, "Internal Server Error", "The app is not set up. `flask squidmesh check` says why.")
    status = status_of(error)
    if status == HTTPStatus.FORBIDDEN and isinstance(error, ManualActionError):
        _keep((request.view_args or {}).get("run_id"), _right_here(), str(error))
    members = {
        name: getattr(error, source)
        for kind, named in FIELDS.items()
        if isinstance(error, kind)
        for name, source in named.items()
    }
    return problem(status, HTTPStatus(status).phrase, str(error), _kind(error), error=type(error).__name__, **members)


def _right_here() -> str:
    """What is asked for at this address, as `authorize` knows it."""
    endpoint = (request.endpoint or "").rpartition(".")[2]
    return COMMANDS[endpoint].action if endpoint in COMMANDS else endpoint


def _kind(error: SquidMeshError) -> str:
    words = re.findall(r"[A-Z][a-z]*", type(error).__name__.removesuffix("Error"))
    return f"urn:squidmesh:{'-'.join(words).lower()}"


def _refused(error: Refused) -> Response:
    """An attempt to act is kept in the audit."""
    if request.method == "POST":
        _keep(error.run_id, error.action, error.reason)
    return problem(403, "Forbidden", str(error.reason), "urn:squidmesh:refused", right=error.action)


def _refused_by_http(error: HTTPException) -> Response:
    """What werkzeug and the host's hooks raise; where one leads elsewhere, it does so without a page."""
    if isinstance(error, Refused):
        return _refused(error)
    status = error.code or getattr(error.response, "status_code", None) or 500
    if 300 <= status < 400 and error.response is not None:
        return Response("", status, {"Location": error.response.headers["Location"]})
    said = problem(status, error.name, error.description or error.name)
    for name, value in error.get_headers():
        if name not in ("Content-Type", "Content-Length"):
            said.headers[name] = value
    return said


def _store_failed(error: SQLAlchemyError) -> Response:
    """Its text may hold values, and is for the log alone."""
    logger.error("the run store did not answer", exc_info=error)
    said = problem(503, "Service Unavailable", "The database did not answer. Nothing is known of what was done.")
    said.headers["Retry-After"] = "5"
    return said


def _keep(run_id: str | None, action: str, reason: str) -> None:
    """Keep what somebody tried; the refusal stands whether or not it could be kept."""
    actor = shown_actor()
    if actor is None:
        return
    try:
        page_data.record_refusal(run_id, action, actor, reason)
    except Exception:
        logger.exception("a refused attempt could not be kept in the audit")
