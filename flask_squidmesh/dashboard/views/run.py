"""One run: why it is where it is, what can be done, and everything it did."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from flask import current_app, request, url_for
from markupsafe import Markup
from werkzeug.wrappers import Response

from ...engine.status import TERMINAL
from ...reading.audit import place_of
from ...reading.looking import Look
from ...reading.views import AttemptView, DecisionView, Run, StepRunView, TimelineEvent
from ...runtime.runtime import current_runtime
from ...store.summaries import RunSummary
from .. import data, frame, graph_drawing, json_text, parts, rail, viewing
from ..access import current_hooks, may, require
from ..documents import Document, Documents, Failure, visible
from ..events import started, title_of, told
from ..grounds import grounds
from ..hooks import links
from ..marks import Mark, mark_of, mark_of_decision, mark_of_status, mark_of_visit
from ..offers import Offer, Offers, buttons_of, offers
from ..parts import Part
from ..rendering import render
from ..sentences import Teller, attempt_of, error_text, who_decides
from . import one_by_one


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspected:
    """One visit in full. attempt: the one that was chosen. led_here: the error of the step whose error route led to it.

    state: what the visit saw of the run's data.
    """

    visit: StepRunView
    mark: Mark
    attempt: AttemptView | None
    input: Document | None
    state: Document | None
    output: Document | None
    error: Failure | None
    led_here: Failure | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A decision that is open. who: who may approve, and who has. offers: what can be decided, and where that leads."""

    decision: DecisionView
    mark: Mark
    error: Markup | None
    who: list[Markup]
    due: Markup | None
    offers: list[Offer]


def show(run_id: str) -> Response:
    """The page."""
    return current_app.make_response(render("run.html", **_content(viewing.look(run_id, **_audit_asked()))))


def as_json(run_id: str) -> Response:
    """The run with its history and explanation as JSON, redacted."""
    look = viewing.look(run_id, whole_audit=True)
    run = look.run
    require("payload", run)
    document = {**run.to_dict(), "explanation": look.explanation.to_dict()}
    return json_text.response(visible(run, document, ()))


def refreshed(run_id: str, version: str) -> tuple[str, bool] | None:
    """The parts that have changed since this version, and whether it was the last time; None where nothing has."""
    glimpse = viewing.glimpse(run_id)
    if _version(glimpse.run, glimpse.word) == version:
        return None
    look = data.look(glimpse.run.id, **_audit_asked())
    return render("_pulse_run.html", swapped=True, **_content(look)), _is_over(look.run)


def _version(run: RunSummary, word: str) -> str:
    """What the page shows, in short; a deadline that has passed shows too."""
    late = bool(run.needs and run.needs.due_at and run.needs.due_at <= current_runtime().clock.now())
    return f"{run.revision}.{word}.{late:d}"


def _content(look: Look) -> dict[str, Any]:
    now, run = current_runtime().clock.now(), look.run
    documents, chosen = Documents(run), _chosen(run)
    teller = Teller(look.explanation, now, frame.zone(), partial(_seen, run))
    offered = offers(run, look.explanation, next=one_by_one.after_acting(run))
    asked = {each.step for each in look.decisions}
    return {
        "run": run,
        "title": run.subject or run.workflow,
        "mark": mark_of(look.word),
        "headline": teller.headline,
        "grounds": grounds(teller),
        "decisions": [_asked(run, each, offered, now) for each in look.decisions],
        "offers": [each for step, found in offered.possible.items() if step not in asked for each in found],
        "impossible": offered.impossible,
        "buttons_of": buttons_of,
        "turn": one_by_one.turn(),
        "skip": one_by_one.skipping(run),
        "rail": rail.rail(run, now),
        "documents": documents,
        "chosen": _inspected(look, chosen, documents, now) if chosen else None,
        "payload": documents.document(parts.of_run(run, "payload")),
        "attempts": _attempts(run),
        "attempt_of": attempt_of,
        "audit": [*([] if look.audit.older else [started(run)]), *look.audit.events],
        "audit_older": url_for(".run", run_id=run.id, audit=look.audit.older) if look.audit.older else None,
        "audit_newest": url_for(".run", run_id=run.id) if "audit" in request.args else None,
        "title_of": title_of,
        "mark_of_status": mark_of_status,
        "links": _links(run),
        "start_alike": _start_alike(run),
        "drawing": _drawing(look) if request.args.get("view") == "graph" else None,
        "events": _events(run) if request.args.get("view") == "events" else None,
        "pulse": None if _is_over(run) else _pulse(run, _version(run, look.word), chosen),
    }


def _drawing(look: Look) -> graph_drawing.Drawing:
    return graph_drawing.draw(look.graph(), over=look.run.finished_at is not None)


def _seen(run: Run, value: Any, name: str) -> Any:
    return visible(run, value, ("explanation", "details", name))


def _asked(run: Run, decision: DecisionView, offered: Offers, now: datetime) -> Asked:
    return Asked(
        decision=decision,
        mark=mark_of_decision(decision.kind),
        error=error_text(visible(run, decision.error, ("last_error",))) if decision.error else None,
        who=who_decides(decision),
        due=frame.due(decision.decide_by, now) if decision.decide_by else None,
        offers=offered.possible.get(decision.step, []),
    )


def _is_over(run: Run) -> bool:
    return run.status in TERMINAL and run.compensation != "running"


def _audit_asked() -> dict[str, Any]:
    """Which part of its audit the page shows, all of it among all that happened."""
    return {
        "audit_before": place_of(request.args.get("audit", "")),
        "whole_audit": request.args.get("view") == "events",
    }


def _pulse(run: Run, version: str, chosen: StepRunView | None) -> frame.Pulse:
    shown = (
        {"step": chosen.step, "visit": chosen.visit, "kind": chosen.kind} if "step" in request.args and chosen else {}
    )
    paged = {"audit": request.args["audit"]} if "audit" in request.args else {}
    told = {**shown, **paged, **one_by_one.turn()}
    return frame.pulse("run", version, run_id=run.id, **told)


def _chosen(run: Run) -> StepRunView | None:
    """The visit that the address names, else the one the reader will ask about: what is open, failed, or last."""
    step_runs = run.step_runs or ()
    asked = [step_run for step_run in step_runs if _is_asked_for(step_run)]
    unfinished = [step_run for step_run in step_runs if step_run.finished_at is None]
    failed = [step_run for step_run in step_runs if step_run.status == "failed"]
    return next((found[-1] for found in (asked, unfinished, failed, step_runs) if found), None)


def _is_asked_for(step_run: StepRunView) -> bool:
    asked = request.args
    named = asked.get("step") == step_run.step and asked.get("kind", "step") == step_run.kind
    return named and asked.get("visit", str(step_run.visit)) == str(step_run.visit)


def _inspected(look: Look, visit: StepRunView, documents: Documents, now: datetime) -> Inspected:
    run, attempt = look.run, _chosen_attempt(visit)
    return Inspected(
        visit=visit,
        mark=mark_of_visit(visit, now),
        attempt=attempt,
        input=documents.document(parts.of_visit(run, visit, "input")),
        state=documents.document(parts.state_seen(look, visit)),
        output=documents.document(parts.of_visit(run, visit, "output")),
        error=documents.failure(_error(run, visit, attempt)),
        led_here=documents.failure(parts.of_visit(run, visit, "failure")),
    )


def _chosen_attempt(visit: StepRunView) -> AttemptView | None:
    asked = request.args.get("attempt")
    return next((attempt for attempt in visit.attempts if asked == str(attempt.attempt_number)), None)


def _error(run: Run, visit: StepRunView, attempt: AttemptView | None) -> Part:
    """The error of the chosen attempt, else of the visit; one that is tried again has only those of its attempts."""
    failed = [each for each in visit.attempts if each.error] if visit.error is None else []
    last = attempt or next(reversed(failed), None)
    return parts.of_attempt(run, visit, last.attempt_number) if last else parts.of_visit(run, visit, "error")


def _attempts(run: Run) -> list[tuple[StepRunView, AttemptView, Markup | None]]:
    """Each with the text of its error, in the order they began."""
    found = [
        (step_run, attempt, _text_of(run, parts.of_attempt(run, step_run, attempt.attempt_number)))
        for step_run in run.step_runs or ()
        for attempt in step_run.attempts
    ]
    return sorted(found, key=lambda row: row[1].started_at)


def _events(run: Run) -> list[tuple[TimelineEvent, Markup, Markup | None]]:
    """Everything that happened, each in words and with the text of its error."""
    return [(event, told(event), _text_of(run, _error_of(event, at))) for at, event in enumerate(run.timeline or ())]


def _error_of(event: TimelineEvent, at: int) -> Part:
    return Part("", ("timeline", at, "details", "error"), (event.details or {}).get("error"))


def _text_of(run: Run, error: Part) -> Markup | None:
    return error_text(visible(run, error.value, error.path)) if error.value else None


def _start_alike(run: Run) -> str | None:
    """Where a run like this one is started by hand; None where this one was not, or where the person may not."""
    started = [spec for spec in data.specs() if spec.name == run.workflow and run.trigger in spec.triggers]
    if not started or started[0].triggers[run.trigger].kind != "manual" or not may("start", workflow=run.workflow):
        return None
    like: dict[str, Any] = {"from": run.id}
    return url_for(".start", name=run.workflow, trigger=run.trigger, **like)


def _links(run: Run) -> list[tuple[str, str]]:
    hook = current_hooks().links
    return links(hook, run) if hook else []
