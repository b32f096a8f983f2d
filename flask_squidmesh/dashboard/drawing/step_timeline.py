"""A run's steps in order, each with bars on one time line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from markupsafe import Markup

from ...queries.results import AttemptView, Run, StepRunView, StepView
from ..text.badges import PASSED_BY, UNREACHED, Badge, badge_of_visit
from ..text.language import N_, _, plural
from ..text.times import duration

NARROWEST = 1.0
FOLDED = 12.0
CUT = 1.6
LONG = 0.8
Times = tuple[datetime, datetime]


@dataclass(frozen=True, slots=True)
class Scale:
    """start, end: what the line stands for. fold: the time that takes up FOLDED of it, however long it was."""

    start: datetime
    end: datetime
    fold: Times | None = None

    def place(self, at: datetime) -> float:
        """How far to the right a time is."""
        at = min(max(at, self.start), self.end)
        if self.fold is None:
            return 100 * _share(at - self.start, self.end - self.start)
        begin, end = self.fold
        folded = min(max(at - begin, timedelta()), end - begin)
        shown = 100 - FOLDED
        open_time = self.end - self.start - (end - begin)
        return shown * _share(at - self.start - folded, open_time) + FOLDED * _share(folded, end - begin)

    def bar(self, start: datetime, end: datetime) -> tuple[float, float]:
        """Where the bar of a stretch of time begins, and how wide it is; a short one stays visible."""
        x = min(self.place(start), 100 - NARROWEST)
        return round(x, 2), round(min(max(self.place(end) - x, NARROWEST), 100 - x), 2)

    @property
    def cut(self) -> float | None:
        """Where the line is cut to show that it is folded; None where it is not."""
        return round(self.place(self.fold[0]) + (FOLDED - CUT) / 2, 2) if self.fold else None


def scale(start: datetime, end: datetime, worked: Iterable[Times]) -> Scale:
    """The line from start to end; the longest time between what was worked is folded where it is most of the line."""
    times = sorted((max(begun, start), min(ended, end)) for begun, ended in worked)
    if not times:
        return Scale(start, end)
    known, reached = [(start, start)], start
    for begun, ended in times:
        reached = max(reached, ended)
        known.append((begun, reached))
    gaps = [(before[1], after[0]) for before, after in pairwise([*known, (end, end)])]
    longest = max(gaps, key=lambda gap: gap[1] - gap[0])
    return Scale(start, end, longest if longest[1] - longest[0] > LONG * (end - start) else None)


def _share(part: timedelta, whole: timedelta) -> float:
    return part / whole if whole > timedelta() else 0.0


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
    """The attempts of workers; what a person decided is kept as an attempt too."""
    return tuple(attempt for attempt in visit.attempts if attempt.worker is not None)


def _before(visit: StepRunView, attempt: AttemptView, since: datetime) -> Iterator[VisitPhase]:
    if attempt != visit.attempts[0]:
        return _between(since, attempt.started_at, "retrying", BACKING_OFF)
    waits = visit.settings.get("kind") == "wait"
    return _between(since, attempt.started_at, *(("waiting", WAITED) if waits else ("pending", QUEUED)))


def _performed(visit: StepRunView, attempt: AttemptView, now: datetime) -> VisitPhase:
    end = attempt.finished_at or now
    if attempt.worker is None:
        return VisitPhase(attempt.started_at, end, badge_of_visit(visit, now).shape, ASKING)
    shape, text = _ENDED.get(attempt.status, _ENDED["running"])
    return VisitPhase(attempt.started_at, end, shape, text, idle=False, attempt=attempt.attempt_number)


def _since(visit: StepRunView, since: datetime, now: datetime) -> Iterator[VisitPhase]:
    """What came after the last attempt, or goes on instead of one."""
    end = visit.finished_at or now
    if visit.decision and (visit.status == "paused" or not _was_decided(visit)):
        yield from _between(since, end, badge_of_visit(visit, now).shape, ASKING)
    elif visit.status == "waiting":
        yield from _between(since, end, "unreached", JOINING)
    elif visit.status == "pending" or not visit.attempts:
        due = min(max(visit.due_at or since, since), end)
        shape, text = ("retrying", BACKING_OFF) if visit.attempts else ("waiting", WAITED)
        yield from _between(since, due, shape, text)
        yield from _between(due, end, "pending", QUEUED)


def _was_decided(visit: StepRunView) -> bool:
    return bool(visit.attempts) and visit.attempts[-1].worker is None


def _between(start: datetime, end: datetime, shape: str, text: str) -> Iterator[VisitPhase]:
    if end > start:
        yield VisitPhase(start, end, shape, text)


@dataclass(frozen=True, slots=True)
class TimelineBar:
    """One stretch of time, placed on a line that is 100 wide. hatched: nobody worked."""

    x: float
    width: float
    shape: str
    hatched: bool
    spoken: Markup


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineLine:
    """One row of the rail: a visit, a compensation, or a step that the run has not reached (visit 0)."""

    step: str
    visit: int
    kind: str
    mark: Badge
    bars: tuple[TimelineBar, ...]
    spoken: Markup
    note: Markup | str
    current: bool = False


@dataclass(frozen=True, slots=True)
class StepTimeline:
    """cut: where the lines are cut because a long idle time is folded. folded: how long that is; None without."""

    lines: list[TimelineLine]
    cut: float | None
    folded: str | None


def step_timeline(run: Run, now: datetime) -> StepTimeline:
    """Every visit and compensation in the order they were made, then the steps that were not reached."""
    step_runs, steps = run.step_runs or (), run.steps or ()
    made = [(each, phases_of(each, _ready(run, each), now)) for each in step_runs]
    line = _scale(run, [stretch for _visit, found in made for stretch in found], now)
    reached = {step_run.step for step_run in step_runs}
    lines = [_line(run, step_run, found, line, now) for step_run, found in made]
    lines += [_unreached(run, step) for step in steps if step.step not in reached]
    return StepTimeline(lines, line.cut, _length(*line.fold) if line.fold else None)


def _ready(run: Run, visit: StepRunView) -> datetime:
    """When the steps that the visit waits for had ended."""
    parents = next((step.depends_on for step in run.steps or () if step.step == visit.step), ())
    ended = [each.finished_at for each in run.step_runs or () if each.step in parents and each.kind == "step"]
    done = [at for at in ended if at is not None]
    return max([visit.created_at, *done]) if visit.kind == "step" and visit.status != "waiting" else visit.created_at


def _scale(run: Run, found: list[VisitPhase], now: datetime) -> Scale:
    ends = [stretch.end for stretch in found]
    end = max([run.finished_at or now, *ends])
    return scale(run.created_at, end, [(each.start, each.end) for each in found if not each.idle])


def _line(run: Run, visit: StepRunView, found: list[VisitPhase], line: Scale, now: datetime) -> TimelineLine:
    mark = badge_of_visit(visit, now)
    return TimelineLine(
        step=visit.step,
        visit=visit.visit,
        kind=visit.kind,
        mark=mark,
        bars=tuple(TimelineBar(*line.bar(each.start, each.end), each.shape, each.idle, each.spoken) for each in found),
        spoken=Markup("{}: {}").format(mark.label, Markup("; ").join(each.spoken for each in found)),
        note=_note(visit, found),
        current=run.finished_at is None and visit.finished_at is None,
    )


def _unreached(run: Run, step: StepView) -> TimelineLine:
    mark = PASSED_BY if run.finished_at else UNREACHED
    note = _("cannot be undone") if step.recovery.get("irreversible") else ""
    return TimelineLine(step=step.step, visit=0, kind="step", mark=mark, bars=(), spoken=mark.label, note=note)


def _note(visit: StepRunView, found: list[VisitPhase]) -> Markup | str:
    """How long it took from its first attempt on; what has no attempts of its own, how long it lasted."""
    attempts = performed(visit)
    if not found:
        return ""
    waited = visit.settings.get("kind") == "wait" or not attempts
    start = found[0].start if waited else attempts[0].started_at
    length = _length(start, found[-1].end)
    if len(attempts) > 1:
        return plural(len(attempts), "{count} attempt, {length}", "{count} attempts, {length}", length=length)
    return _("waited {length}", length=length) if waited else length


def _length(start: datetime, end: datetime) -> str:
    return duration((end - start).total_seconds())
