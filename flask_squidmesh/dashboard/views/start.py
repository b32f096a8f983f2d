"""Starting a run by hand: a form made from the payload's schema."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import uuid4

from flask import abort, current_app, flash, redirect, request, url_for
from werkzeug.wrappers import Response

from ...definition.spec import TriggerSpec, WorkflowSpec
from ...definition.values import fingerprint
from ...errors import ConflictError, ManualActionError, PayloadError, RunNotFoundError
from ...people import identity
from ...runtime.runtime import configured_runtime, current_runtime
from .. import confirmation, page_data, payload_form
from ..authorization import may, tenant_for
from ..layout import render
from ..redacted_documents import visible
from ..text.language import _, in_english


@dataclass(frozen=True, slots=True)
class StartForm:
    """A workflow that somebody may start."""

    spec: WorkflowSpec
    actor: object


def enter(name: str) -> StartForm:
    """The workflow, for somebody who may start it."""
    spec = page_data.spec_named(name)
    actor = confirmation.actor_for("start", workflow=spec.name if spec else name)
    return StartForm(spec, actor) if spec else abort(404)


def show(wanted: StartForm) -> Response:
    """The form."""
    spec = wanted.spec
    trigger = _trigger(spec)
    fields = payload_form.fields(trigger.model, current_runtime().hides)
    return _page(spec, trigger, payload_form.filled_with(fields, _like(spec)))


def start(wanted: StartForm) -> Response:
    """Start the run, or show the form again with what is wrong."""
    spec = wanted.spec
    trigger = _trigger(spec)
    fields = payload_form.fields(trigger.model, current_runtime().hides)
    payload = payload_form.read(fields, request.form)
    if any(each.problem for each in fields):
        payload_form.note_missing(fields)
        return _page(spec, trigger, fields, status=422)
    problems = _started(spec, trigger, payload, wanted.actor, fields)
    if isinstance(problems, str):
        flash(_("The run was started."), "success")
        return redirect(url_for(".run", run_id=problems), 303)
    return _page(spec, trigger, fields, problems, 422)


def _started(
    spec: WorkflowSpec,
    trigger: TriggerSpec,
    payload: Mapping[str, object],
    actor: object,
    fields: list[payload_form.Field],
) -> str | list[str]:
    """The id of the run, or what is wrong and belongs to no field."""
    given_key = request.form.get("key")
    key = f"form:{fingerprint([given_key, identity(actor)])}" if given_key else None
    given = payload if trigger.model else None
    try:
        return (
            configured_runtime()
            .starter.start(
                spec.name,
                given,
                trigger=trigger.name,
                idempotency_key=key,
                actor=actor,
                tenant=tenant_for(spec.name),
            )
            .run_id
        )
    except PayloadError as error:
        missing = dict.fromkeys(error.missing_fields, payload_form.missing())
        unfit = {name: in_english(said) for name, said in error.invalid_types.items()}
        rest = payload_form.note(fields, {**missing, **unfit})
        described = rest or any(each.problem for each in fields)
        return rest if described else [in_english(str(error))]
    except (ConflictError, ManualActionError) as error:
        return [in_english(str(error))]


def _trigger(spec: WorkflowSpec) -> TriggerSpec:
    """The manual trigger that is asked for, else the first."""
    manual = [each for each in spec.triggers.values() if each.kind == "manual"]
    asked = request.values.get("trigger")
    found = [each for each in manual if asked in (None, each.name)]
    return found[0] if found else abort(404)


def _like(spec: WorkflowSpec) -> dict[str, object]:
    """The payload of the run to start one like, as far as the person may see it."""
    like = request.args.get("from")
    if not like:
        return {}
    try:
        run = page_data.viewable_run(like).run
    except RunNotFoundError:
        return {}
    if run.workflow != spec.name or not may("payload", run):
        return {}
    seen = visible(run, run.payload, ("payload",))
    shown = seen if isinstance(seen, Mapping) else {}
    return {name: value for name, value in shown.items() if value == run.payload[name]}


def _page(
    spec: WorkflowSpec,
    trigger: TriggerSpec,
    fields: list[payload_form.Field],
    problems: list[str] | None = None,
    status: int = 200,
) -> Response:
    others = [each for each in spec.triggers.values() if each.kind == "manual" and each.name != trigger.name]
    page = render(
        "start.html",
        spec=spec,
        trigger=trigger,
        fields=fields,
        problems=problems or [],
        others=others,
        key=request.form.get("key") or str(uuid4()),
    )
    return current_app.make_response((page, status))
