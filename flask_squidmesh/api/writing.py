"""What programs may do: start runs, and every command of the table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import abort, request
from werkzeug.wrappers import Response

from ..dashboard import outside_data, page_data
from ..dashboard.authorization import (
    Refused,
    current_actor,
    current_claimant,
    current_scope,
    may,
    require,
    tenant_for,
    tenant_to_send,
)
from ..dashboard.available_commands import COMMANDS, claimant_for, permission_at, undecided_by
from ..dashboard.command_attempt import attempt_at, require_right
from ..dashboard.endpoints import memory
from ..definition.tenants import tenant_id
from ..definition.values import fingerprint
from ..engine.command_table import (
    AssignArguments,
    Command,
    CommandArguments,
    NoteArguments,
    ReplayArguments,
    StepArguments,
)
from ..engine.kept_decisions import WAITS
from ..errors import FilterError, ManualActionError, UnknownTriggerError, given
from ..people import identity
from ..queries.run_snapshot import RunSnapshot
from ..runtime.runtime import configured_runtime
from ..storage.summaries import RunSummary
from . import request_parts
from .request_parts import EventBody
from .run_documents import answer, headers_of, run_document, summary_document

NOBODY = "Nobody would be recorded as having done it."
Keywords = dict[str, Any]


def start(name: str) -> Response:
    """Start a run, now or later. The body is the payload."""
    request_parts.check_query("trigger", "tenant", "at")
    memory().tenant = _tenant_named()
    spec = page_data.spec_named(name)
    require("start", workflow=spec.name if spec else name)
    if spec is None:
        abort(404)
    actor, key, trigger = current_actor(), request_parts.key(), request.args.get("trigger")
    manual = [each.name for each in spec.triggers.values() if each.kind == "manual"]
    if trigger is not None and trigger not in manual:
        raise UnknownTriggerError(f"Workflow {spec.name} has no manual trigger {given(trigger)}; it has: {manual}.")
    if not manual:
        raise UnknownTriggerError(f"Workflow {spec.name} has no manual trigger; its schedule starts it.")
    started = configured_runtime().starter.start(
        spec.name,
        request_parts.json_body(),
        trigger=trigger or manual[0],
        idempotency_key=_own(key, actor),
        actor=actor,
        tenant=tenant_for(spec.name),
        at=request_parts.moment("at"),
    )
    run = page_data.run_with_history(started.run_id).run
    return answer(run_document(run), 201 if started.new else 200, headers_of(run))


def send_event() -> Response:
    """Send an event to the runs that wait for it."""
    request_parts.check_query("tenant")
    memory().tenant = _tenant_named()
    require("send_event")
    tenant, actor, key = tenant_to_send(), current_actor(), request_parts.key()
    told = request_parts.arguments(EventBody)
    if current_scope().workflows is not None and told.name not in outside_data.heard_events():
        raise Refused("send_event", "The event would reach runs that you may not know of.")
    receipt = configured_runtime().events.send(
        told.name,
        key=told.key,
        payload=told.payload,
        event_id=told.event_id or _own(key, actor),
        tenant=tenant,
        actor=actor,
        noted=True,
    )
    hidden = page_data.refused_among(receipt.runs)
    document = {**receipt.to_dict(), "runs": [id for id in receipt.runs if id not in hidden]}
    return answer(document, 200 if receipt.repeated else 202)


def _own(key: str | None, actor: object) -> str | None:
    """The key as that of this person."""
    return f"api:{fingerprint([key, identity(actor) or actor])}" if key else None


def _tenant_named() -> str | None:
    text = request.args.get("tenant")
    try:
        return None if text is None else tenant_id(text)
    except ValueError as error:
        raise FilterError("tenant", f"tenant={given(text)} was given: {error}") from error


def does(command: Command) -> Callable[[str], Response]:
    """What the address of a command does."""

    def act(run_id: str) -> Response:
        request_parts.check_query()
        look = page_data.viewable_run(run_id)
        told = request_parts.arguments(command.arguments)
        keywords = _PREPARED.get(type(told), _for_command)(command, look, told)
        after: RunSummary = configured_runtime().commands.carry_out(
            command,
            look.run.id,
            scope=current_scope(),
            actor=current_actor(),
            idempotency_key=request_parts.key(),
            **{**told.given(), **keywords},
        )
        return answer(summary_document(after))

    act.__doc__ = command.does
    return act


def _for_command(command: Command, look: RunSnapshot, told: CommandArguments) -> Keywords:
    """What the call is told beside what was sent, for somebody who may do it. Raises Refused.

    The right is asked for what was looked at, so it is to that alone that it is done, where nothing else is expected.
    """
    step = told.step if isinstance(told, StepArguments) else None
    attempt = attempt_at(look, COMMANDS[command.action], step, getattr(told, "option", None))
    confirmed = isinstance(told, ReplayArguments) and told.allow_irreversible
    require_right(attempt, "replay_irreversible" if confirmed else command.action)
    _check_actor(command.action)
    if attempt.comment_required and getattr(told, "comment", None) is None:
        raise ManualActionError("comment", f"{command.name}: it takes a comment that says why.")
    seen = look.run.decision if command.expects == "open" else None
    keywords: Keywords = {"expected": request_parts.expected() or seen}
    if command.answers:
        permission = permission_at(look.run, attempt.step)
        keywords["claimant"] = claimant_for(look.run, attempt.decision, attempt.step, permission)
    if isinstance(told, ReplayArguments):
        keywords["undecided"] = undecided_by(look.run)
    return keywords


def _for_assigning(command: Command, look: RunSnapshot, told: CommandArguments) -> Keywords:
    """Taking what is nobody's and giving back what is one's own is one right, everything else another."""
    assert isinstance(told, AssignArguments)
    open_there = [each for each in look.decisions if each.kind in WAITS and told.step in (None, each.step)]
    decision = open_there[0] if open_there else None
    permission, step = decision.permission if decision else None, decision.step if decision else told.step
    right = command.own_action if told.to in (None, current_claimant().id) else None
    require(right or command.action, look.run, permission, step=step)
    _check_actor(right or command.action)
    trusted = may(command.action, look.run, permission, step=step)
    return {"claimant": None if trusted else current_claimant(), "expected": request_parts.expected()}


def _for_note(command: Command, look: RunSnapshot, told: CommandArguments) -> Keywords:
    assert isinstance(told, NoteArguments)
    require("note", look.run)
    _check_actor("note")
    return {}


def _check_actor(right: str) -> None:
    if current_actor() is None:
        raise Refused(right, NOBODY)


_PREPARED: dict[type[CommandArguments], Callable[[Command, RunSnapshot, CommandArguments], Keywords]] = {
    AssignArguments: _for_assigning,
    NoteArguments: _for_note,
}
