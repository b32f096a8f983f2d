"""Schedules: when each is due, what it last did and left out, and running or pausing it by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from uuid import uuid4

from cronsim import CronSim
from flask import abort, flash, redirect, request, url_for
from markupsafe import Markup
from werkzeug.wrappers import Response

from ...definition.cron import interval, next_due
from ...engine.windows import LeftOutWindows
from ...errors import ConflictError, ManualActionError, TransitionError, UnknownTriggerError, UnknownWorkflowError
from ...runtime.runtime import configured_runtime, current_runtime
from ...runtime.schedule_commands import ScheduleCommands
from ...runtime.scheduler import ScheduleView
from ...storage.summaries import read_id
from .. import confirmation, layout, page_data
from ..authorization import may, require
from ..available_commands import Button
from ..layout import Pulse, TemplateContext, render
from ..text.language import N_, _, code, current_language, in_english
from ..text.schedule_text import LEFT_OUT, POLICIES

SHOWN = 3


@dataclass(frozen=True, slots=True)
class ScheduleRow:
    """One schedule. words: the expression in English, None for readers of other languages and for an interval.

    policies: what it does with windows that overlap or passed, unless that is the ordinary thing. left_out: windows
    that were not started, each with the reason.
    """

    schedule: ScheduleView
    title: str
    words: str | None
    following: list[datetime]
    buttons: list[Button]
    policies: list[Markup]
    left_out: list[tuple[LeftOutWindows, Markup]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleVerb:
    """Something a person does with a schedule. repeats: done once more each time it is asked for."""

    right: str
    call: Callable[..., str | None]
    text: str
    sentence: str
    done: str
    tone: str = ""
    repeats: bool = False


DEEDS = {
    "run": ScheduleVerb(
        right="schedule_run",
        call=ScheduleCommands.run_now,
        text=N_("Run now"),
        sentence=N_("{trigger} of {workflow} starts one more run now. Its next time stays as it is."),
        done=N_("This is the run that was started."),
        tone="go",
        repeats=True,
    ),
    "pause": ScheduleVerb(
        right="schedule_pause",
        call=ScheduleCommands.pause,
        text=N_("Pause"),
        sentence=N_("{trigger} of {workflow} starts nothing until somebody resumes it; runs in progress go on."),
        done=N_("The schedule is paused."),
    ),
    "resume": ScheduleVerb(
        right="schedule_pause",
        call=ScheduleCommands.resume,
        text=N_("Resume"),
        sentence=N_("{trigger} of {workflow} starts runs again, from its next time on; what passed is left out."),
        done=N_("The schedule is on again."),
        tone="go",
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulesPage(TemplateContext):
    """All of them."""

    part: str = "squidmesh/_schedules.html"
    rows: list[ScheduleRow]
    pulse: Pulse


def show() -> str:
    """The page."""
    require("list")
    return render("schedules.html", _content(page_data.schedules_now()))


def refreshed(version: str) -> str | None:
    """The parts of the page that have changed since this version, None where nothing has."""
    require("list")
    found = page_data.schedules_now()
    if layout.version(found) == version:
        return None
    return render("_pulse_fresh.html", _content(found), swapped=True)


def _content(found: list[ScheduleView]) -> SchedulesPage:
    now = current_runtime().clock.now()
    return SchedulesPage(
        rows=[_row(each, now) for each in found], pulse=layout.pulse("schedules", layout.version(found))
    )


@dataclass(frozen=True, slots=True)
class ScheduleRequest:
    """What somebody who may do it wants done with which schedule."""

    deed: ScheduleVerb
    workflow: str
    trigger: str
    actor: object


def enter(workflow: str, trigger: str, verb: str) -> ScheduleRequest:
    """What is to be done, for somebody who may do it."""
    deed = DEEDS.get(verb)
    if deed is None:
        abort(404)
    spec = page_data.spec_named(workflow)
    actor = confirmation.actor_for(deed.right, workflow=spec.name if spec else workflow)
    if spec is None or not page_data.has_schedule(spec, trigger):
        abort(404)
    return ScheduleRequest(deed, spec.name, trigger, actor)


def ask(asked: ScheduleRequest) -> Response:
    """The page that asks."""
    return confirmation.page(_question(asked))


def act(asked: ScheduleRequest) -> Response:
    """Do it."""
    deed, question = asked.deed, _question(asked)
    comment = confirmation.comment_for(question)
    if question.problems:
        return confirmation.page(question, 422)
    once = {"key": question.key} if deed.repeats else {}
    try:
        commands = configured_runtime().schedule_commands
        run_id = deed.call(commands, asked.workflow, asked.trigger, actor=asked.actor, comment=comment, **once)
    except (UnknownWorkflowError, UnknownTriggerError):
        abort(404)
    except ManualActionError as error:
        question.problems[error.field] = in_english(str(error))
        return confirmation.page(question, 422)
    except (ConflictError, TransitionError):
        flash(_("Somebody was faster; nothing was done."), "error")
        return redirect(url_for(".schedules"), 303)
    flash(_(deed.done), "success")
    return redirect(url_for(".run", run_id=run_id) if run_id else url_for(".schedules"), 303)


def _question(asked: ScheduleRequest) -> confirmation.Confirmation:
    deed, given = asked.deed, request.form.get("key") if request.method == "POST" else None
    return confirmation.Confirmation(
        right=deed.right,
        heading=Markup("{}: {}").format(_(deed.text), asked.trigger),
        sentence=_(deed.sentence, trigger=code(asked.trigger), workflow=code(asked.workflow)),
        button=_(deed.text),
        back=url_for(".schedules"),
        tone=deed.tone,
        key=(read_id(given) or str(uuid4())) if deed.repeats else None,
    )


def _row(schedule: ScheduleView, now: datetime) -> ScheduleRow:
    return ScheduleRow(
        schedule=schedule,
        title=schedule.trigger.replace("_", " ").capitalize(),
        words=_words(schedule.expression, now),
        following=_following(schedule, now),
        buttons=[
            _button(schedule, verb) for verb in _verbs(schedule) if may(DEEDS[verb].right, workflow=schedule.workflow)
        ],
        policies=[
            _(POLICIES[each])
            for each in (("overlap", schedule.overlap), ("catch_up", schedule.catch_up))
            if each in POLICIES
        ],
        left_out=[(each, _(LEFT_OUT[each.reason])) for each in schedule.left_out],
    )


def _words(expression: str, now: datetime) -> str | None:
    if current_language() != "en" or interval(expression) is not None:
        return None
    return CronSim(expression, now).explain()


def _following(schedule: ScheduleView, now: datetime) -> list[datetime]:
    """The next times it is due; none while it is paused."""
    times: list[datetime] = []
    while schedule.paused_at is None and len(times) < SHOWN:
        times.append(next_due(schedule.expression, schedule.timezone, times[-1] if times else now))
    return times


def _verbs(schedule: ScheduleView) -> tuple[str, ...]:
    return ("run", "resume" if schedule.paused_at else "pause")


def _button(schedule: ScheduleView, verb: str) -> Button:
    address = url_for(".schedule", workflow=schedule.workflow, trigger=schedule.trigger, verb=verb)
    return Button(_(DEEDS[verb].text).striptags(), address, DEEDS[verb].tone if verb != "run" else "", "")
