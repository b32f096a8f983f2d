"""A run's steps in order, each with bars on one time line."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo

from markupsafe import Markup

from ...queries.inbox import is_overdue
from ...queries.results import AttemptView, Run, StepRunView, StepView
from ..text.badges import PASSED_BY, UNREACHED, Badge, badge_of_visit
from ..text.language import N_, _, plural
from ..text.times import about, duration, longest_unit, when
from .time_scale import Span, Stretch, TimeScale, time_scale

QUEUED, WAITED = N_("queued for {length}"), N_("waited for {length}")
JOINING, BACKING_OFF = N_("waited for other steps for {length}"), N_("tried again after {length}")
ASKING = N_("asked a person for {length}")
_ENDED = {
    "completed": ("completed", N_("attempt {number} completed after {length}")),
    "failed": ("failed", N_("attempt {number} failed after {length}")),
    "abandoned": ("stuck", N_("attempt {number} abandoned after {length}")),
    "running": ("running", N_("attempt {number} running for {length}")),
}


@dataclass(frozen=True, slots=True)
class VisitPhase:
    """One stretch of time. shape: its colour. idle: nobody worked at it. attempt: its number, 0 for none."""

    start: datetime
    end: datetime
    shape: str
    text: str
    idle: bool = True
    attempt: int = 0

    @property
    def spoken(self) -> Markup:
        """What it was, and for how long."""
        return _(self.text, number=self.attempt, length=duration((self.end - self.start).total_seconds()))


def phases_of(visit: StepRunView, ready: datetime, now: datetime) -> list[VisitPhase]:
    """The visit from when it was made, in order. ready: when what it waits for had ended."""
    found = [*_between(visit.created_at, ready, "unreached", JOINING)]
    cursor = max(visit.created_at, ready)
    for attempt in visit.attempts:
        found += _before(visit, attempt, cursor)
        found.append(_performed(visit, attempt, now))
        cursor = attempt.finished_at or now
    return [*found, *_since(visit, cursor, now)]


def performed(visit: StepRunView) -> tuple[AttemptView, ...]:
    """The attempts of workers."""
    return tuple(attempt for attempt in visit.attempts if attempt.is_performed)


def _before(visit: StepRunView, attempt: AttemptView, since: datetime) -> Iterator[VisitPhase]:
    if attempt != visit.attempts[0]:
        return _between(since, attempt.started_at, "retrying", BACKING_OFF)
    waits = visit.settings.get("kind") == "wait"
    return _between(since, attempt.started_at, *(("waiting", WAITED) if waits else ("pending", QUEUED)))


def _performed(visit: StepRunView, attempt: AttemptView, now: datetime) -> VisitPhase:
    end = attempt.finished_at or now
    if not attempt.is_performed:
        return VisitPhase(attempt.started_at, end, badge_of_visit(visit, now).shape, _asking(visit))
    shape, text = _ENDED.get(attempt.status, _ENDED["running"])
    return VisitPhase(attempt.started_at, end, shape, text, idle=False, attempt=attempt.attempt_number)


def _since(visit: StepRunView, since: datetime, now: datetime) -> Iterator[VisitPhase]:
    """What came after the last attempt, or goes on instead of one."""
    end = visit.finished_at or now
    if visit.decision and (visit.status == "paused" or not _was_decided(visit)):
        yield from _between(since, end, badge_of_visit(visit, now).shape, _asking(visit))
    elif visit.status == "waiting":
        yield from _between(since, end, "unreached", JOINING)
    elif visit.status == "pending" or not visit.attempts:
        due = min(max(visit.due_at or since, since), end)
        shape, text = ("retrying", BACKING_OFF) if visit.attempts else ("waiting", WAITED)
        yield from _between(since, due, shape, text)
        yield from _between(due, end, "pending", QUEUED)


def _was_decided(visit: StepRunView) -> bool:
    return bool(visit.attempts) and not visit.attempts[-1].is_performed


def _asking(visit: StepRunView) -> str:
    return WAITED if visit.decision and visit.decision["kind"] == "event" else ASKING


def _between(start: datetime, end: datetime, shape: str, text: str) -> Iterator[VisitPhase]:
    if end > start:
        yield VisitPhase(start, end, shape, text)


@dataclass(frozen=True, slots=True)
class TimelineBar:
    """One stretch of time, placed on a line that is 100 wide. idle: nobody worked."""

    x: float
    width: float
    shape: str
    idle: bool
    spoken: Markup


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineLine:
    """One row of the rail: a visit, a compensation, or a step that the run has not reached (visit 0).

    moment: where on the line a person decided, None where nobody did.
    """

    step: str
    visit: int
    kind: str
    mark: Badge
    bars: tuple[TimelineBar, ...]
    spoken: Markup
    note: Markup | str
    current: bool = False
    late: bool = False
    moment: float | None = None


@dataclass(frozen=True, slots=True)
class AxisLabel:
    """What stands above the axis. is_optional: it is left out where there is little room."""

    x: float
    text: str
    anchor: str
    is_optional: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTimeline:
    """Every step on one scale. step: how much time is between two marks of the axis. gaps: the parts that are cut out,
    each with its length; hidden: how long all of them are, None where there are none. spoken: the axis in words.
    """

    lines: list[TimelineLine]
    scale: TimeScale
    labels: list[AxisLabel]
    gaps: list[tuple[Stretch, str]]
    step: str
    hidden: str | None
    spoken: Markup


ROOM, ROOM_OF_SECONDS = 16.0, 21.0
"""How much of the line a label needs."""


def step_timeline(run: Run, now: datetime, zone: tzinfo) -> StepTimeline:
    """Every visit and compensation in the order they were made, then the steps that were not reached."""
    step_runs, steps = run.step_runs or (), run.steps or ()
    made = [(each, phases_of(each, _ready(run, each), now)) for each in step_runs]
    scale = _scale(run, made, now)
    reached = {step_run.step for step_run in step_runs}
    lines = [_line(run, step_run, found, scale, now) for step_run, found in made]
    lines += [_unreached(run, step) for step in steps if step.step not in reached]
    hidden = sum((each.idle or timedelta() for each in scale.cuts), timedelta())
    return StepTimeline(
        lines=lines,
        scale=scale,
        labels=_labels(run, scale, zone),
        gaps=[(each, longest_unit((each.idle or each.length).total_seconds())) for each in scale.cuts],
        step=duration(scale.step.total_seconds()),
        hidden=duration(hidden.total_seconds()) if hidden else None,
        spoken=_spoken(run, scale, zone),
    )


def _labels(run: Run, scale: TimeScale, zone: tzinfo) -> list[AxisLabel]:
    """The times at which what is shown begins, as far as they have room, and the end."""
    exactly = scale.step < timedelta(minutes=1)
    room = ROOM_OF_SECONDS if exactly else ROOM
    ended = run.finished_at is not None
    end = when(scale.stretches[-1].end, zone, seconds=exactly) if ended else str(_("now"))
    found = [AxisLabel(0.0, when(scale.stretches[0].start, zone, seconds=exactly), "start", is_optional=False)]
    for stretch in scale.opened[1:]:
        if found[-1].x + room <= stretch.x <= 100 - room - (room if ended else 5):
            text = when(stretch.start, zone, seconds=exactly)
            found.append(AxisLabel(stretch.x, text, "start", is_optional=True))
    return [*found, AxisLabel(100.0, end, "end", is_optional=False)]


def _spoken(run: Run, scale: TimeScale, zone: tzinfo) -> Markup:
    start = when(scale.stretches[0].start, zone)
    end = when(scale.stretches[-1].end, zone) if run.finished_at else _("now")
    whole = _("From {start} to {end}", start=start, end=end)
    if not scale.cuts:
        return whole
    lengths = ", ".join(duration((each.idle or each.length).total_seconds()) for each in scale.cuts)
    gaps = plural(len(scale.cuts), "a gap of {lengths} is cut out", "gaps of {lengths} are cut out", lengths=lengths)
    return Markup("{}; {}").format(whole, gaps)


def _ready(run: Run, visit: StepRunView) -> datetime:
    """When the steps that the visit waits for had ended."""
    parents = next((step.depends_on for step in run.steps or () if step.step == visit.step), ())
    ended = [each.finished_at for each in run.step_runs or () if each.step in parents and each.kind == "step"]
    done = [at for at in ended if at is not None]
    return max([visit.created_at, *done]) if visit.kind == "step" and visit.status != "waiting" else visit.created_at


def _scale(run: Run, made: list[tuple[StepRunView, list[VisitPhase]]], now: datetime) -> TimeScale:
    ends = [stretch.end for _visit, found in made for stretch in found]
    worked = [(each.start, each.end) for _visit, found in made for each in found if not each.idle]
    decided: list[Span] = [(at, at) for visit, _found in made if (at := _decided_at(visit)) is not None]
    return time_scale(run.created_at, max([run.finished_at or now, *ends]), [*worked, *decided])


def _decided_at(visit: StepRunView) -> datetime | None:
    return visit.finished_at if visit.manual else None


def _line(run: Run, visit: StepRunView, found: list[VisitPhase], scale: TimeScale, now: datetime) -> TimelineLine:
    mark, decided_at = badge_of_visit(visit, now), _decided_at(visit)
    going = visit.finished_at is None
    late = now - visit.decide_by if going and visit.decide_by and is_overdue(visit.decide_by, now) else None
    return TimelineLine(
        step=visit.step,
        visit=visit.visit,
        kind=visit.kind,
        mark=mark,
        bars=tuple(_bar(each, scale) for each in found),
        spoken=Markup("{}: {}").format(mark.label, Markup("; ").join(each.spoken for each in found)),
        note=_note(visit, found, late),
        current=run.finished_at is None and going,
        late=late is not None,
        moment=None if decided_at is None else round(scale.place(decided_at), 2),
    )


def _bar(phase: VisitPhase, scale: TimeScale) -> TimelineBar:
    x = scale.place(phase.start)
    return TimelineBar(round(x, 2), round(scale.place(phase.end) - x, 2), phase.shape, phase.idle, phase.spoken)


def _unreached(run: Run, step: StepView) -> TimelineLine:
    mark = PASSED_BY if run.finished_at else UNREACHED
    note = _("cannot be undone") if step.recovery.get("irreversible") else ""
    return TimelineLine(step=step.step, visit=0, kind="step", mark=mark, bars=(), spoken=mark.label, note=note)


def _note(visit: StepRunView, found: list[VisitPhase], late: timedelta | None) -> Markup | str:
    """How long it took from its first attempt on; what has no attempts of its own, how long it lasted."""
    attempts = performed(visit)
    if not found:
        return ""
    waited = visit.settings.get("kind") == "wait" or not attempts
    start = found[0].start if waited else attempts[0].started_at
    length = _length(start, found[-1].end)
    if late is not None:
        return _("{length}, {late} overdue", length=length, late=about(late.total_seconds()))
    if len(attempts) > 1:
        return plural(len(attempts), "{count} attempt, {length}", "{count} attempts, {length}", length=length)
    return _("waited {length}", length=length) if waited else length


def _length(start: datetime, end: datetime) -> str:
    return duration((end - start).total_seconds())
