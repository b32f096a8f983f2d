"""What happened to a run, as one list: what people did and noted, what each attempt came to, how the run ended.

A page of it is as long as its part of the audit: what no person did stands on the page whose time it falls into.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from flask import request, url_for
from markupsafe import Markup

from ..queries.audit_log import AuditWindow
from ..queries.results import AttemptView, Run, StepRunView, TimelineEvent
from ..queries.run_snapshot import RunSnapshot
from .drawing.step_timeline import performed
from .endpoints import url_of
from .redacted_documents import visible
from .text.audit_text import told
from .text.explanation_text import error_text
from .text.notice_words import NOTICES, told_to

_Visit = tuple[str, str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryEntry:
    """One thing that happened. what: in words. undoing: whether that was to undo a step. attempt: of a worker, which
    ended then. said: a comment, or the text of an error. address: where more is told of it."""

    event: TimelineEvent
    what: Markup
    undoing: bool
    attempt: AttemptView | None
    said: str | Markup | None
    address: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryPage:
    """One page of what happened, in order. whole: whether it is all of it, each small step too. older, newest: the
    addresses of other pages; None where there is none."""

    entries: list[HistoryEntry]
    whole: bool
    older: str | None
    newest: str | None


def history_of(look: RunSnapshot, turn: Mapping[str, str]) -> HistoryPage:
    """The page that the address asks for. turn: what addresses say where the run is one of many."""
    run, whole = look.run, request.args.get("view") == "events"
    visits = {_visit_of(visit): visit for visit in run.step_runs or ()}
    entries = [
        _entry(run, at, event, visits, turn)
        for at, event in enumerate(run.timeline or ())
        if whole or (_is_telling(event, visits) and _is_on(look.audit, run, event))
    ]
    older = look.audit.older
    return HistoryPage(
        entries=entries,
        whole=whole,
        older=url_for(".run", run_id=run.id, audit=older) if older else None,
        newest=url_for(".run", run_id=run.id) if "audit" in request.args else None,
    )


def _visit_of(place: TimelineEvent | StepRunView) -> _Visit:
    return place.kind or "step", place.step or "", place.visit or 0


def _is_telling(event: TimelineEvent, visits: Mapping[_Visit, StepRunView]) -> bool:
    """Not that an attempt began which has ended, and not that a step was come to at which more is told; nor that
    somebody did not have to be told."""
    if event.type == "notice_dropped":
        return False
    visit = visits.get(_visit_of(event))
    if visit is None or event.type not in ("entered", "attempt_started"):
        return True
    if event.type == "entered":
        return not performed(visit) and visit.decision is None
    return not any(attempt.attempt_number == event.attempt and attempt.finished_at for attempt in performed(visit))


def _is_on(audit: AuditWindow, run: Run, event: TimelineEvent) -> bool:
    """Whether it belongs with this part of the audit: behind what the part before ends with."""
    if event.type == "started":
        return audit.since is None
    is_end = (event.type, event.at, event.actor, event.visit) == (run.status, run.finished_at, None, None)
    if event.kind is None and not is_end and event.type not in NOTICES:
        return True
    until: datetime | None = audit.events[-1].at if audit.events and "audit" in request.args else None
    return (audit.since is None or event.at >= audit.since) and (until is None or event.at < until)


def _entry(
    run: Run, at: int, event: TimelineEvent, visits: Mapping[_Visit, StepRunView], turn: Mapping[str, str]
) -> HistoryEntry:
    visit = visits.get(_visit_of(event))
    number = event.attempt
    attempt = next((each for each in performed(visit) if each.attempt_number == number), None) if visit else None
    error = visible(run, (event.details or {}).get("error"), ("timeline", at, "details", "error"))
    return HistoryEntry(
        event=event,
        what=told_to(event) if event.type in NOTICES else told(event),
        undoing=event.kind == "compensation" and event.type != "compensation_planned",
        attempt=attempt if event.type != "attempt_started" else None,
        said=event.comment or (error_text(error) if error else None),
        address=_address(run, visit, attempt, turn) if visit and attempt else None,
    )


def _address(run: Run, visit: StepRunView, attempt: AttemptView, turn: Mapping[str, str]) -> str:
    kind = visit.kind if visit.kind != "step" else None
    place = {"step": visit.step, "visit": visit.visit, "kind": kind, "attempt": attempt.attempt_number}
    return url_of(".run", {"run_id": run.id, **place, **turn}) + "#inspector"
