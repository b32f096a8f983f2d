"""Events: what came from outside, what became of it, and sending one by hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast
from uuid import uuid4

from flask import abort, current_app, flash, redirect, request, url_for
from pydantic import BaseModel
from werkzeug.wrappers import Response

from ...errors import ConflictError, FilterError, ManualActionError, PayloadError
from ...people import Actor
from ...queries.kept_events import EventPage
from ...runtime.event_sending import EventReceipt
from ...runtime.runtime import configured_runtime, current_runtime
from .. import confirmation, outside_data, payload_form
from ..authorization import may, require, tenant_to_send
from ..endpoints import url_of
from ..layout import TemplateContext, render
from ..text.language import N_, _, in_english, plural

SIZE = 50
HOW: Mapping[str, str] = {"wait": N_("taken by"), "start": N_("started"), "cancel": N_("cancelled")}


class AnyPayload(BaseModel):
    """What an event brings that no workflow names a model for."""

    payload: dict[str, Any] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class EventsPage(TemplateContext):
    """filters: name and key that are asked for. known: those of all events that workflows hear of."""

    page: EventPage
    problem: str | None
    filters: Mapping[str, str | None]
    known: list[str]
    may_send: bool
    how: Mapping[str, str]
    older: str | None
    newest: str
    first_page: bool
    exports: tuple[()] = ()


@dataclass(frozen=True, slots=True)
class SendForm:
    """Somebody who may send events. names: those of the events that workflows hear of."""

    actor: object
    names: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class SendPage(TemplateContext):
    """The form. known: the events to choose from. name: the one that was chosen, None where none is yet.
    given_key: the key that was typed.
    """

    known: list[str]
    name: str | None
    given_key: str
    key_problem: str | None
    fields: list[payload_form.Field]
    problems: list[str]
    form_key: str


def show() -> str:
    """The page."""
    require("list")
    filters = {name: request.args.get(name, "").strip() or None for name in ("name", "key")}
    try:
        page, problem = outside_data.events_page(after=request.args.get("after"), size=SIZE, **filters), None
    except FilterError as error:
        page, problem = EventPage(events=(), next=None), str(error)
    asked = {name: value for name, value in filters.items() if value}
    shown = EventsPage(
        page=page,
        problem=problem,
        filters=filters,
        known=outside_data.heard_events(),
        may_send=may("send_event"),
        how=HOW,
        older=url_of(".events", {**asked, "after": page.next}) if page.next else None,
        newest=url_of(".events", asked),
        first_page=not request.args.get("after"),
    )
    return render("events.html", shown)


def enter() -> SendForm:
    """The events, for somebody who may send one."""
    return SendForm(confirmation.actor_for("send_event"), outside_data.heard_events())


def ask(wanted: SendForm) -> Response:
    """The form."""
    name = _chosen(wanted)
    fields = payload_form.fields(_model(name), current_runtime().hides) if name else []
    return _page(wanted, name, fields)


def send(wanted: SendForm) -> Response:
    """Send the event, or show the form again with what is wrong."""
    name = _chosen(wanted) or abort(404)
    fields = payload_form.fields(_model(name), current_runtime().hides)
    payload = payload_form.read(fields, request.form)
    if not request.form.get("key", "").strip() or any(each.problem for each in fields):
        payload_form.note_missing(fields)
        return _page(wanted, name, fields, status=422)
    sent = _sent(name, payload, wanted.actor, fields)
    if isinstance(sent, list):
        return _page(wanted, name, fields, sent, 422)
    reached = len(sent.runs)
    flash(
        plural(reached, "The event was sent, and 1 run has taken it.", "The event was sent, and {count} have taken it.")
        if reached
        else _("The event was sent; no run has taken it so far."),
        "success",
    )
    return redirect(url_for(".events", name=name, key=sent.key), 303)


def _sent(
    name: str, payload: Mapping[str, Any], actor: object, fields: list[payload_form.Field]
) -> EventReceipt | list[str]:
    """The receipt, or what is wrong and belongs to no field."""
    given = payload if current_runtime().registry.event_model(name) else payload.get("payload") or {}
    try:
        return configured_runtime().events.send(
            name,
            key=request.form["key"].strip(),
            payload=given,
            event_id=request.form.get("form_key") or None,
            tenant=tenant_to_send(),
            actor=cast(Actor, actor),
            noted=True,
        )
    except PayloadError as error:
        missing = dict.fromkeys(error.missing_fields, payload_form.missing())
        unfit = {field: in_english(said) for field, said in error.invalid_types.items()}
        rest = payload_form.note(fields, {**missing, **unfit})
        described = rest or any(each.problem for each in fields)
        return rest if described else [in_english(str(error))]
    except (ConflictError, ManualActionError) as error:
        return [in_english(str(error))]


def _chosen(wanted: SendForm) -> str | None:
    """The event that is asked for, of those that workflows hear of."""
    asked = request.values.get("name")
    if not asked:
        return None
    return asked if asked in wanted.names else abort(404)


def _model(name: str) -> type[BaseModel]:
    return current_runtime().registry.event_model(name) or AnyPayload


def _page(
    wanted: SendForm,
    name: str | None,
    fields: list[payload_form.Field],
    problems: list[str] | None = None,
    status: int = 200,
) -> Response:
    sent = request.method == "POST"
    key = request.values.get("key", "").strip()
    shown = SendPage(
        known=wanted.names,
        name=name,
        given_key=key,
        key_problem=_("Say which; the run that waits says it on its page.") if sent and not key else None,
        fields=fields,
        problems=problems or [],
        form_key=request.form.get("form_key") or str(uuid4()),
    )
    return current_app.make_response((render("send_event.html", shown), status))
