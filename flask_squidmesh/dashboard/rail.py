"""A run's steps in order, each with bars on one time line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from markupsafe import Markup

from ..reading.views import AttemptView, Run, StepRunView, StepView
from .language import N_, _, plural
from .marks import PASSED_BY, UNREACHED, Mark, mark_of_visit
from .times import duration

NARROWEST = 1.0
_ENDINGS = {"completed": "completed", "failed": "failed", "abandoned": "stuck", "running": "running"}
_SPOKEN = {
    "completed": N_("completed"),
    "failed": N_("failed"),
    "abandoned": N_("abandoned"),
    "running": N_("running"),
}


@dataclass(frozen=True, slots=True)
class Bar:
    """One stretch of time, placed on a line that is 100 wide."""

    x: float
    width: float
    shape: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One row of the rail: a visit, a compensation, or a step that the run has not reached (visit 0)."""

    step: str
    visit: int
    kind: str
    mark: Mark
    bars: tuple[Bar, ...]
    spoken: Markup
    note: Markup | str
    current: bool = False


@dataclass(frozen=True, slots=True)
class Span:
    """The time that the line stands for."""

    start: datetime
    end: datetime

    def bar(self, start: datetime, end: datetime, shape: str) -> Bar:
        """The bar of a stretch of time; a short one stays visible."""
        whole = max((self.end - self.start).total_seconds(), 0.001)
        x = min(max((start - self.start).total_seconds() / whole * 100, 0), 100 - NARROWEST)
        width = (end - start).total_seconds() / whole * 100
        return Bar(round(x, 2), round(min(max(width, NARROWEST), 100 - x), 2), shape)


def lines(run: Run, now: datetime) -> list[Line]:
    """Every visit and compensation in the order they were made, then the steps that were not reached."""
    step_runs, steps = run.step_runs or (), run.steps or ()
    span = Span(run.created_at, run.finished_at or now)
    reached = {step_run.step for step_run in step_runs}
    made = [_line(run, step_run, span, now) for step_run in step_runs]
    return made + [_unreached(run, step) for step in steps if step.step not in reached]


def _line(run: Run, step_run: StepRunView, span: Span, now: datetime) -> Line:
    return Line(
        step=step_run.step,
        visit=step_run.visit,
        kind=step_run.kind,
        mark=mark_of_visit(step_run, now),
        bars=tuple(_bars(step_run, span, now)),
        spoken=_spoken(step_run, now),
        note=_note(step_run, now),
        current=run.finished_at is None and step_run.finished_at is None,
    )


def _unreached(run: Run, step: StepView) -> Line:
    mark = PASSED_BY if run.finished_at else UNREACHED
    note = _("cannot be undone") if step.recovery.get("irreversible") else ""
    return Line(step=step.step, visit=0, kind="step", mark=mark, bars=(), spoken=mark.label, note=note)


def _bars(step_run: StepRunView, span: Span, now: datetime) -> Iterator[Bar]:
    for attempt in step_run.attempts:
        yield span.bar(attempt.started_at, attempt.finished_at or now, _ENDINGS.get(attempt.status, "pending"))
    since = _waiting_since(step_run)
    if since is not None:
        yield span.bar(since, step_run.finished_at or now, mark_of_visit(step_run, now).shape)


def _waiting_since(step_run: StepRunView) -> datetime | None:
    """From when a manual step or a wait has lasted; other steps are shown by their attempts alone."""
    if step_run.decision or not step_run.attempts:
        return _last_end(step_run.attempts) or step_run.started_at or step_run.created_at
    return None


def _last_end(attempts: Sequence[AttemptView]) -> datetime | None:
    return attempts[-1].finished_at if attempts else None


def _spoken(step_run: StepRunView, now: datetime) -> Markup:
    if not step_run.attempts:
        return _("{state}, {length}", state=mark_of_visit(step_run, now).label, length=_length(step_run, now))
    return Markup("; ").join(
        _(
            "attempt {number} {status} after {length}",
            number=attempt.attempt_number,
            status=_(_SPOKEN.get(attempt.status, attempt.status)),
            length=duration(((attempt.finished_at or now) - attempt.started_at).total_seconds()),
        )
        for attempt in step_run.attempts
    )


def _note(step_run: StepRunView, now: datetime) -> Markup:
    length = _length(step_run, now)
    if len(step_run.attempts) < 2:
        return Markup(length)
    return plural(len(step_run.attempts), "{count} attempt, {length}", "{count} attempts, {length}", length=length)


def _length(step_run: StepRunView, now: datetime) -> str:
    start = step_run.started_at or step_run.created_at
    return duration(((step_run.finished_at or now) - start).total_seconds())
