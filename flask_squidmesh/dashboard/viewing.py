"""Runs for whoever may view them: the right is asked before anything is told, existence included."""

from __future__ import annotations

from flask import abort, redirect, request, url_for

from ..errors import RunNotFoundError
from ..reading.looking import Look
from . import data, parameters
from .access import require
from .data import WordedRun

PERMANENT = 308


def look(run_id: str, *, audit_before: int | None = None, whole_audit: bool = False) -> Look:
    """The run with its history; audit_before, whole_audit: see `data.look`. Raises as `glimpse`."""
    with data.at_once():
        return data.look(glimpse(run_id).run.id, audit_before=audit_before, whole_audit=whole_audit)


def glimpse(run_id: str) -> WordedRun:
    """The run in one line.

    Raises Refused where the person may not view it, the same whether or not there is one; RunNotFoundError where they
    might and there is none; and a redirect to the one spelling of its id.
    """
    try:
        found = data.glimpse(run_id)
    except RunNotFoundError:
        require("view")
        raise
    require("view", found.run)
    keep_spelling("run_id", found.run.id)
    return found


def keep_spelling(name: str, id: str) -> None:
    """Lead to the same address with the id in its one spelling, where this one spells it otherwise."""
    values = dict(request.view_args or {})
    if values.get(name, id) == id:
        return
    address = url_for(request.endpoint or "", **{**values, name: id})
    query = request.query_string.decode("latin-1")
    abort(redirect(parameters.with_query(address, query), PERMANENT))
