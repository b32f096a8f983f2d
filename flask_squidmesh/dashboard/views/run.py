"""One run: why it is where it is, what can be done, and everything it did."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from uuid import uuid4

from flask import current_app, request
from markupsafe import Markup
from werkzeug.wrappers import Response

from ...engine.transitions import TERMINAL
from ...queries.audit_log import place_of
from ...queries.awaited_events import awaited_in
from ...queries.inbox import overdue_since
from ...queries.results import AttemptView, DecisionView, Run, StepRunView, StepView
from ...queries.run_snapshot import RunSnapshot
from ...runtime.runtime import current_runtime
from ...storage.summaries import RunSummary
from .. import layout, page_data, redacted_documents
from ..authorization import current_claimant, current_hooks, may, require
from ..available_commands import (
    AvailableCommand,
    AvailableCommands,
    Button,
    buttons_of,
    common_objection,
    decision_at,
    offers,
)
from ..decision_card import DecisionCard, card_of
from ..drawing import graph_layout, step_timeline
from ..endpoints import url_of
from ..event_card import EventCard, cards_of
from ..host_hooks import links
from ..layout import TemplateContext, render
from ..redacted_documents import Document, Documents, ErrorDocument, Part, facts_of, visible
from ..related_table import RelatedTable, related_table
from ..run_history import HistoryPage, history_of
from ..text.badges import PASSED_BY, UNREACHED, Badge, badge_of_decision, badge_of_run, badge_of_status, badge_of_visit
from ..text.evidence_text import grounds
from ..text.explanation_text import ExplanationText, attempt_of, error_text, who_decides
from ..text.language import _
from ..text.people_text import ahead, whose
from ..text.run_text import question_of
from ..text.times import elapsed, stamp
from . import needs_you
from .assignment import Assigning, assigning_of


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectedStep:
    """One visit in full. attempt: the one that was chosen. led_here: the error of the step whose error route led to it.

    state: what the visit saw of the run's data.
    """

    visit: StepRunView
    mark: Badge
    attempt: AttemptView | None
    input: Document | None
    state: Document | None
    output: Document | None
    error: ErrorDocument | None
    led_here: ErrorDocument | None


@dataclass(frozen=True, slots=True, kw_only=True)
class UnreachedStep:
    """A step that the run has not come to."""

    step: StepView
    mark: Badge


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPageRequest:
    """A decision that is open, as a card. number: the how manieth. who: who may approve, and who has. ahead: what
    happens at it by itself. why_not: why the person may take none of the offers. offers: what can be decided, and where
    that leads. card: the form that is sent with it; None where each has a page of its own. assigning: what can be done
    about whose it is.
    """

    number: int
    decision: DecisionView
    question: Markup | str
    mark: Badge
    error: Markup | None
    who: list[Markup]
    due: Markup | None
    ahead: list[Markup]
    why_not: Markup | None
    offers: list[AvailableCommand]
    card: DecisionCard | None
    assigning: list[Assigning]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunView(TemplateContext):
    """What the page of a run shows.

    late: how long a decision has been due. headline, grounds: why it is where it is, and what that rests on.
    is_about_decision: whether that is the one decision that is open. facts: what the run is about, for those who
    decide. decisions: those that are open, each with what can be done about it; awaited: the events that
    it waits for; offers: what a run leaves to do
    that has none; others: what can be done beside; impossible: what cannot, and why. turn, skip: what the addresses
    say where the run is one of many that somebody goes through. shown: the tab that is open at first. rail: the
    steps, in time. chosen, unreached: the visit that is shown in full, or a step that the run has not come to.
    history: what happened. drawing: the graph, where the person chose to see it.
    note_key: that of the form for a note; None where the person may write none.
    """

    run: Run
    title: str
    mark: Badge
    late: Markup | None
    headline: Markup
    grounds: list[Markup]
    is_about_decision: bool
    facts: list[tuple[str, str]]
    decisions: list[RunPageRequest]
    awaited: list[EventCard]
    offers: list[AvailableCommand]
    others: list[AvailableCommand]
    impossible: list[AvailableCommand]
    buttons_of: Callable[[Iterable[AvailableCommand]], list[Button]]
    turn: Mapping[str, str]
    skip: str | None
    shown: str
    rail: step_timeline.StepTimeline
    documents: Documents
    chosen: InspectedStep | None
    unreached: UnreachedStep | None
    payload: Document | None
    context: Document | None
    attempt_of: Callable[[int, int], Markup]
    history: HistoryPage
    mark_of_status: Callable[[str], Badge]
    related: RelatedTable
    links: list[tuple[str, str]]
    start_alike: str | None
    drawing: graph_layout.Drawing | None
    note_key: str | None
    pulse: layout.Pulse | None


_TABS = {"graph": "graph", "events": "history", "history": "history", "data": "data"}


def show(run_id: str) -> Response:
    """The page."""
    return current_app.make_response(render("run.html", _content(page_data.viewable_run(run_id, **_audit_asked()))))


def as_json(run_id: str) -> Response:
    """The run with its history and explanation as JSON, redacted."""
    look = page_data.viewable_run(run_id, whole_audit=True)
    run = look.run
    require("payload", run)
    document = {**run.to_dict(), "explanation": look.explanation.to_dict()}
    return redacted_documents.response(visible(run, document, ()))


def refreshed(run_id: str, version: str) -> tuple[str, bool] | None:
    """The parts that have changed since this version, and whether it was the last time; None where nothing has."""
    glimpse = page_data.viewable_summary(run_id)
    if _version(glimpse.run, glimpse.word) == version:
        return None
    look = page_data.run_with_history(glimpse.run.id, **_audit_asked())
    return render("_pulse_run.html", _content(look), swapped=True), _is_over(look.run)


def _version(run: RunSummary, word: str) -> str:
    """What the page shows, in short; a deadline that has passed shows too."""
    late = overdue_since(run, current_runtime().clock.now()) is not None
    return f"{run.revision}.{word}.{late:d}"


def _content(look: RunSnapshot) -> RunView:
    now, run = current_runtime().clock.now(), look.run
    documents, chosen = Documents(run), _chosen(run)
    teller = ExplanationText(look.explanation, now, layout.zone(), partial(_seen, run), current_claimant().id)
    offered = offers(run, look.explanation, needs_you.after_acting(run))
    asked = {each.step for each in look.decisions}
    beside = [each for step, found in offered.possible.items() if step not in asked for each in found]
    leading_on = [each for each in beside if each.button and each.name != "cancel"] if run.needs and not asked else []
    late_since = overdue_since(run, now)
    return RunView(
        run=run,
        title=run.title,
        mark=badge_of_run(run, look.word),
        late=_("{length} overdue", length=elapsed(late_since, now)) if late_since is not None else None,
        headline=teller.headline,
        grounds=grounds(teller),
        is_about_decision=len(asked) == 1 and look.explanation.step in asked,
        facts=facts_of(run, documents) if asked else [],
        decisions=[_asked(run, number, each, offered, now) for number, each in enumerate(look.decisions, 1)],
        awaited=cards_of(run, awaited_in(look.record.step_runs, now), now),
        offers=leading_on,
        others=[each for each in beside if each not in leading_on],
        impossible=offered.impossible,
        buttons_of=buttons_of,
        turn=needs_you.turn(),
        skip=needs_you.skipping(run),
        shown=_TABS.get(request.args.get("view", ""), "steps"),
        rail=step_timeline.step_timeline(run, now, layout.zone()),
        documents=documents,
        chosen=_inspected(look, chosen, documents, now) if chosen else None,
        unreached=_unreached(run),
        payload=documents.document(redacted_documents.of_run(run, "payload")),
        context=documents.document(redacted_documents.of_run(run, "context")),
        attempt_of=attempt_of,
        history=history_of(look, needs_you.turn()),
        mark_of_status=badge_of_status,
        related=related_table(look),
        links=_links(run),
        start_alike=_start_alike(run),
        drawing=_drawing(look) if "graph" in (request.args.get("view"), request.args.get("drawn")) else None,
        note_key=str(uuid4()) if may("note", run) else None,
        pulse=None if _is_over(run) else _pulse(run, _version(run, look.word), chosen),
    )


def _drawing(look: RunSnapshot) -> graph_layout.Drawing:
    run = look.run

    def address(step: str, visit: StepRunView | None) -> str:
        chosen = {"step": step, "visit": visit.visit if visit else None, **needs_you.turn()}
        return f"{url_of('.run', {'run_id': run.id, **chosen})}#inspector"

    return graph_layout.draw(look.graph(), graph_layout.RunDrawn(run, current_runtime().clock.now(), address))


def _seen(run: Run, value: object, name: str) -> object:
    return visible(run, value, ("explanation", "details", name))


def _asked(run: Run, number: int, decision: DecisionView, offered: AvailableCommands, now: datetime) -> RunPageRequest:
    return RunPageRequest(
        number=number,
        decision=decision,
        question=question_of(decision),
        mark=badge_of_decision(decision.kind),
        error=error_text(visible(run, decision.error, ("last_error",))) if decision.error else None,
        who=[*_whose(decision), *who_decides(decision)],
        due=_("due {time}", time=stamp(decision.decide_by, layout.zone(), now, show="exact"))
        if decision.decide_by
        else None,
        ahead=_ahead(run, decision, now),
        why_not=(why := common_objection(leading := offered.possible.get(decision.step, []))),
        offers=[replace(each, text=each.leads or each.text) for each in leading] if why else leading,
        card=card_of(run, decision, leading, needs_you.after_acting(run)),
        assigning=assigning_of(run, decision),
    )


def _whose(decision: DecisionView) -> list[Markup]:
    said = whose(decision.assignee, decision.groups, current_claimant().id)
    return [said] if said else []


def _ahead(run: Run, decision: DecisionView, now: datetime) -> list[Markup]:
    asked = decision_at(run, decision.step)
    return ahead(asked.get("timers") or (), asked.get("timeout"), layout.zone(), now) if asked else []


def _is_over(run: Run) -> bool:
    return run.status in TERMINAL and run.compensation != "running"


def _audit_asked() -> page_data.AuditShown:
    """Which part of its audit the page shows, all of it among all that happened."""
    return page_data.AuditShown(
        audit_before=place_of(request.args.get("audit", "")), whole_audit=request.args.get("view") == "events"
    )


def _pulse(run: Run, version: str, chosen: StepRunView | None) -> layout.Pulse:
    shown = (
        {"step": chosen.step, "visit": chosen.visit, "kind": chosen.kind} if "step" in request.args and chosen else {}
    )
    paged = {"audit": request.args["audit"]} if "audit" in request.args else {}
    drawn = {"drawn": "graph"} if "graph" in (request.args.get("view"), request.args.get("drawn")) else {}
    told = {**shown, **paged, **drawn, **needs_you.turn()}
    return layout.pulse("run", version, run_id=run.id, **told)


def _chosen(run: Run) -> StepRunView | None:
    """The visit that the address names, else the one the reader will ask about: what is open, failed, or last."""
    step_runs = run.step_runs or ()
    asked = [step_run for step_run in step_runs if _is_asked_for(step_run)]
    unfinished = [step_run for step_run in step_runs if step_run.finished_at is None]
    failed = [step_run for step_run in step_runs if step_run.status == "failed"]
    return next((found[-1] for found in (asked, unfinished, failed, step_runs) if found), None)


def _unreached(run: Run) -> UnreachedStep | None:
    """The step that the address names, where the run has not come to it."""
    reached = {step_run.step for step_run in run.step_runs or ()}
    asked = request.args.get("step")
    found = next((step for step in run.steps or () if step.step == asked and step.step not in reached), None)
    return UnreachedStep(step=found, mark=PASSED_BY if run.finished_at else UNREACHED) if found else None


def _is_asked_for(step_run: StepRunView) -> bool:
    asked = request.args
    named = asked.get("step") == step_run.step and asked.get("kind", "step") == step_run.kind
    return named and asked.get("visit", str(step_run.visit)) == str(step_run.visit)


def _inspected(look: RunSnapshot, visit: StepRunView, documents: Documents, now: datetime) -> InspectedStep:
    run, attempt = look.run, _chosen_attempt(visit)
    return InspectedStep(
        visit=visit,
        mark=badge_of_visit(visit, now),
        attempt=attempt,
        input=documents.document(redacted_documents.of_visit(run, visit, "input")),
        state=documents.document(redacted_documents.state_seen(look, visit)),
        output=documents.document(redacted_documents.of_visit(run, visit, "output")),
        error=documents.failure(_error(run, visit, attempt)),
        led_here=documents.failure(redacted_documents.of_visit(run, visit, "failure")),
    )


def _chosen_attempt(visit: StepRunView) -> AttemptView | None:
    asked = request.args.get("attempt")
    return next((attempt for attempt in visit.attempts if asked == str(attempt.attempt_number)), None)


def _error(run: Run, visit: StepRunView, attempt: AttemptView | None) -> Part:
    """The error of the chosen attempt, else of the visit; one that is tried again has only those of its attempts."""
    failed = [each for each in visit.attempts if each.error] if visit.error is None else []
    last = attempt or next(reversed(failed), None)
    return (
        redacted_documents.of_attempt(run, visit, last.attempt_number)
        if last
        else redacted_documents.of_visit(run, visit, "error")
    )


def _start_alike(run: Run) -> str | None:
    """Where a run like this one is started by hand; None where this one was not, or where the person may not."""
    started = [spec for spec in page_data.specs() if spec.name == run.workflow and run.trigger in spec.triggers]
    if not started or started[0].triggers[run.trigger].kind != "manual" or not may("start", workflow=run.workflow):
        return None
    return url_of(".start", {"name": run.workflow, "trigger": run.trigger, "from": run.id})


def _links(run: Run) -> list[tuple[str, str]]:
    hook = current_hooks().links
    return links(hook, run) if hook else []
