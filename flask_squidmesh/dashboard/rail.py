"""A run's steps in order, each with bars on one time line."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from markupsafe import Markup

from ..reading.views import Run, StepRunView, StepView
from .language import _, plural
from .marks import PASSED_BY, UNREACHED, Mark, mark_of_visit
from .scale import Scale, scale
from .stretches import Stretch, performed, stretches
from .times import duration


@dataclass(frozen=True, slots=True)
class Bar:
    """One stretch of time, placed on a line that is 100 wide. hatched: nobody worked."""

    x: float
    width: float
    shape: str
    hatched: bool
    spoken: Markup


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
class Rail:
    """cut: where the lines are cut because a long idle time is folded. folded: how long that is; None without."""

    lines: list[Line]
    cut: float | None
    folded: str | None


def rail(run: Run, now: datetime) -> Rail:
    """Every visit and compensation in the order they were made, then the steps that were not reached."""
    step_runs, steps = run.step_runs or (), run.steps or ()
    made = [(each, stretches(each, _ready(run, each), now)) for each in step_runs]
    line = _scale(run, [stretch for _visit, found in made for stretch in found], now)
    reached = {step_run.step for step_run in step_runs}
    lines = [_line(run, step_run, found, line, now) for step_run, found in made]
    lines += [_unreached(run, step) for step in steps if step.step not in reached]
    return Rail(lines, line.cut, _length(*line.fold) if line.fold else None)


def _ready(run: Run, visit: StepRunView) -> datetime:
    """When the steps that the visit waits for had ended."""
    parents = next((step.depends_on for step in run.steps or () if step.step == visit.step), ())
    ended = [each.finished_at for each in run.step_runs or () if each.step in parents and each.kind == "step"]
    done = [at for at in ended if at is not None]
    return max([visit.created_at, *done]) if visit.kind == "step" and visit.status != "waiting" else visit.created_at


def _scale(run: Run, found: list[Stretch], now: datetime) -> Scale:
    ends = [stretch.end for stretch in found]
    end = max([run.finished_at or now, *ends])
    return scale(run.created_at, end, [(each.start, each.end) for each in found if not each.idle])


def _line(run: Run, visit: StepRunView, found: list[Stretch], line: Scale, now: datetime) -> Line:
    mark = mark_of_visit(visit, now)
    return Line(
        step=visit.step,
        visit=visit.visit,
        kind=visit.kind,
        mark=mark,
        bars=tuple(Bar(*line.bar(each.start, each.end), each.shape, each.idle, each.spoken) for each in found),
        spoken=Markup("{}: {}").format(mark.label, Markup("; ").join(each.spoken for each in found)),
        note=_note(visit, found),
        current=run.finished_at is None and visit.finished_at is None,
    )


def _unreached(run: Run, step: StepView) -> Line:
    mark = PASSED_BY if run.finished_at else UNREACHED
    note = _("cannot be undone") if step.recovery.get("irreversible") else ""
    return Line(step=step.step, visit=0, kind="step", mark=mark, bars=(), spoken=mark.label, note=note)


def _note(visit: StepRunView, found: list[Stretch]) -> Markup | str:
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
