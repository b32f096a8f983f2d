"""One action on many runs: which runs it would take and which not, asking, and how far it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from urllib.parse import quote
from uuid import uuid4

from flask import abort, flash, redirect, request, url_for
from markupsafe import Markup
from werkzeug.wrappers import Response

from ...engine.command_rules import NextAction
from ...engine.command_table import BY_ACTION
from ...engine.kept_decisions import WAITS, DecisionKept
from ...engine.waits import option_of
from ...errors import ConflictError, FilterError, ManualActionError, TransitionError
from ...people import Person, identity
from ...queries.run_list import RunCommands
from ...runtime import bulk_jobs
from ...runtime.runtime import configured_runtime, current_runtime
from ...storage.summaries import read_id
from .. import confirmation, layout, list_address, page_data
from ..authorization import current_claimant, current_scope, may, own_objection, refusal, require, shown_actor
from ..available_commands import COMMANDS, claimant_for, may_not_take, not_theirs
from ..endpoints import url_of
from ..layout import TemplateContext, render
from ..list_address import FilterBar
from ..text.badges import Badge
from ..text.command_text import option_label, why_not
from ..text.language import N_, _, in_english, plural

SLICE_SECONDS, SHOWN, LISTED = 2.0, 20, 30
JOB_BADGES: Mapping[str, Badge] = {
    "pending": Badge("pending", N_("Waiting its turn")),
    "running": Badge("running", N_("Under way")),
    "completed": Badge("completed", N_("Finished")),
    "cancelled": Badge("cancelled", N_("Stopped")),
}
OF_WAITS: Mapping[str, str] = {"take": N_("Take"), "assign": N_("Hand on")}
MANY_KEYS = ("word", "workflow", "q", "since", "step", "error", "outcome", "needs")


@dataclass(frozen=True, slots=True)
class BulkAction:
    """What is to be done. option: what is taken at decisions. to: whose waits become."""

    name: str
    option: str | None = None
    to: str | None = None

    @property
    def label(self) -> Markup:
        """What stands on its button."""
        if self.name in OF_WAITS:
            return _(OF_WAITS[self.name])
        return option_label(self.option) if self.option is not None else COMMANDS[self.name].label

    @property
    def title(self) -> Markup:
        """The same with whom it is for."""
        return _("Hand on to {person}", person=self.to) if self.name == "assign" and self.to else self.label

    @property
    def changes_whose(self) -> bool:
        """Whether it changes whose waits are, and nothing else."""
        return self.name in OF_WAITS

    def is_meant_by(self, possible: NextAction) -> bool:
        """Whether this is it, where it is possible."""
        return possible.action == self.name and (self.option is None or possible.option == self.option)

    def steps_in(self, judged: RunCommands) -> list[str | None]:
        """The steps of the run at which it can be done now."""
        if self.changes_whose:
            return [step for step, decision in judged.decisions.items() if decision["kind"] in WAITS]
        return [each.step for each in judged.next_actions if self.is_meant_by(each)]


@dataclass(frozen=True, slots=True)
class BulkEligibility:
    """Whether the action takes one run, and at which step. why: why not."""

    judged: RunCommands
    why: Markup | None
    step: str | None = None


@dataclass(frozen=True, slots=True)
class BulkProgress:
    """A job, and what somebody who may go on with it wants. verb: "continue" or "stop"."""

    job: bulk_jobs.BulkJobState
    verb: str
    actor: object


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkPreview(TemplateContext):
    """Which runs an action would take. question, attempt: the same, as the page and its comment field know it. items:
    the runs with what the page shows of them, for the form. more: whether there are more than one action may take.
    people: who is offered where it asks whose waits become.
    """

    question: confirmation.Confirmation
    attempt: confirmation.Confirmation
    action: BulkAction
    taken: list[RunCommands]
    taken_more: int
    left_out: list[BulkEligibility]
    left_out_more: int
    items: str
    key: str
    more: bool
    people: list[Person]
    form: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkJobPage(TemplateContext):
    """How far a job is. hidden: how many of its runs the person may not view. may_act: whether they may go on."""

    job: bulk_jobs.BulkJobState
    going: bool
    label: Markup
    failed: list[bulk_jobs.BulkItem]
    done: list[bulk_jobs.BulkItem]
    hidden: int
    may_act: bool
    pulse: layout.Pulse | None


def enter() -> None:
    """Somebody who may act on many runs."""
    require("bulk")
    require("list")


def ask(_about: None) -> Response | str:
    """Choose the action, and see which runs it takes."""
    return _asked(_preview)


def begin(_about: None) -> Response | str:
    """Begin with the runs that the page showed."""
    return _asked(lambda action, found, _more: _begin(action, found))


def _asked(go_on: Callable[[BulkAction, list[RunCommands], bool], Response]) -> Response | str:
    try:
        run_ids, more = _chosen()
    except FilterError as error:
        return render("bulk_none.html", problem=str(error))
    found = page_data.judged(run_ids)
    if not found:
        return render("bulk_none.html", problem=None)
    to = request.form.get("to", "").strip() or None
    action = BulkAction(request.values.get("action", ""), request.values.get("option") or None, to)
    if action.name not in bulk_jobs.FOR_MANY or (action.name == "decide") != (action.option is not None):
        return render("bulk_choose.html", choices=_choices(found), total=len(found), more=more)
    return go_on(action, found, more)


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkJobsPage(TemplateContext):
    """The actions on many runs. jobs: each with what it does, and its mark. older: the address of the next page."""

    jobs: list[tuple[bulk_jobs.BulkJobSummary, Markup, Badge]]
    newest: str
    first_page: bool
    older: str | None


def show_all() -> str:
    """The actions on many runs that the person began; of everybody, with the right `bulk_any`."""
    require("bulk")
    require("list")
    before = request.args.get("before")
    found = page_data.bulk_jobs_before(before, LISTED + 1)
    mine = [job for job in found[:LISTED] if _is_mine(job) or may("bulk_any")]
    more = len(found) > LISTED
    page = BulkJobsPage(
        jobs=[(job, BulkAction(job.action, job.option, job.to).title, JOB_BADGES[job.status]) for job in mine],
        newest=url_for(".bulk_jobs"),
        first_page=before is None,
        older=url_for(".bulk_jobs", before=found[LISTED - 1].id) if more else None,
    )
    return render("bulk_jobs.html", page)


def show(job_id: str) -> str:
    """How far it is."""
    require("list")
    return render("bulk_job.html", _content(_job(job_id)))


def refreshed(job_id: str, version: str) -> tuple[str, bool] | None:
    """The parts that have changed since this version, and whether it was the last time; None where nothing has."""
    require("list")
    job = _job(job_id)
    if _version(job) == version:
        return None
    return render("_pulse_bulk.html", _content(job), swapped=True), job.status not in bulk_jobs.OPEN


def enter_job(job_id: str, verb: str) -> BulkProgress:
    """The job, for somebody who may go on with it or stop it."""
    actor = confirmation.actor_for("bulk")
    return BulkProgress(_job(job_id), verb, actor) if verb in ("continue", "stop") else abort(404)


def go_on(going: BulkProgress) -> Response:
    """Work at it now, or leave the rest undone."""
    job = going.job
    if going.verb == "continue":
        configured_runtime().bulk.go_on(job.id, SLICE_SECONDS, own_objection if _is_mine(job) else None)
    else:
        try:
            configured_runtime().bulk.cancel(job.id, actor=going.actor)
        except TransitionError:
            flash(_("It has ended already; nothing was done."), "error")
    return redirect(url_for(".bulk_job", job_id=job.id), 303)


def _chosen() -> tuple[list[str], bool]:
    """The ids of the ticked runs, or of all that match, up to the limit; and whether there are more of them."""
    most = current_runtime().settings.dashboard.bulk_limit
    given = request.values.getlist("run")
    if given:
        known = dict.fromkeys(id for id in map(read_id, given) if id is not None)
        return list(known)[:most], len(known) > most
    filters = FilterBar.of(request.values, ())
    if not any(request.values.get(key) for key in MANY_KEYS):
        return [], False
    return page_data.matching(list_address.selection(filters), most)


def _choices(found: list[RunCommands]) -> list[tuple[str, Markup, int]]:
    """The actions, each with how many of the runs it would take."""
    options = dict.fromkeys(act.option for each in found for act in each.next_actions if act.action == "decide")
    chosen = [BulkAction("decide", option) for option in options if option is not None]
    chosen += [BulkAction(name) for name in bulk_jobs.FOR_MANY if name != "decide"]
    counted = [(action, sum(_verdict(action, each).why is None for each in found)) for action in chosen]
    return [(_with_action(action), action.label, count) for action, count in counted if count]


def _with_action(action: BulkAction) -> str:
    option = {"option": action.option} if action.option is not None else {}
    kept = {key: request.values.getlist(key) for key in (*MANY_KEYS, "run") if request.values.get(key)}
    return url_of(".bulk", {"action": action.name, **option, **kept})


def _verdict(action: BulkAction, judged: RunCommands) -> BulkEligibility:
    meant = [each for each in judged.next_actions if action.is_meant_by(each)]
    steps = action.steps_in(judged)
    decision = judged.decisions.get(steps[0] or "") if steps else None
    permission = decision.get("permission") if decision else None
    option = meant[0].option if meant else action.option
    denied = refusal(action.name, judged.run, permission, step=steps[0] if steps else None, option=option)
    if denied is not None:
        return BulkEligibility(judged, Markup.escape(denied.reason))
    if not steps:
        refused = next((each for each in judged.refusals if each.action == action.name), None)
        otherwise = _("nothing waits for people there now") if action.changes_whose else _("not possible now")
        return BulkEligibility(judged, why_not(refused) if refused else otherwise)
    if len(steps) > 1:
        return BulkEligibility(judged, _("several decisions are open; decide them one by one"))
    return BulkEligibility(judged, _objection(action, judged, decision, steps[0]), steps[0])


def _objection(
    action: BulkAction, judged: RunCommands, decision: DecisionKept | None, step: str | None
) -> Markup | None:
    """Why the person may not take the decision, or why it is none for many."""
    theirs = not_theirs(judged.run, decision, step) if BY_ACTION[action.name].asks_whose else None
    if action.changes_whose:
        is_mine = action.name == "take" and decision and decision.get("assignee") == current_claimant().id
        return theirs or (_("it is yours already") if is_mine else None)
    if theirs or (objection := may_not_take(judged.run, action.name, action.option, decision)):
        return theirs or objection
    kept = option_of(decision, action.option or action.name) if decision and BY_ACTION[action.name].answers else None
    required = kept["form"].get("required") if kept and "form" in kept else None
    if decision and isinstance(required, list) and not (decision.get("values") or {}).keys() >= set(required):
        return _("it has a form to fill in; decide it on its own page")
    return None


def _preview(
    action: BulkAction,
    found: list[RunCommands],
    more: bool,
    status: int = 200,
    question: confirmation.Confirmation | None = None,
) -> Response:
    verdicts = [_verdict(action, each) for each in found]
    taken = [each.judged for each in verdicts if each.why is None]
    left_out = [each for each in verdicts if each.why is not None]
    question = question or _question(action, len(taken))
    preview = BulkPreview(
        question=question,
        attempt=question,
        action=action,
        taken=taken[:SHOWN],
        taken_more=max(len(taken) - SHOWN, 0),
        left_out=left_out[:SHOWN],
        left_out_more=max(len(left_out) - SHOWN, 0),
        items=" ".join(f"{each.judged.run.id}~{_shown(action, each)}" for each in verdicts if each.why is None),
        key=request.form.get("key") or str(uuid4()),
        more=more,
        people=page_data.people_to_choose() if action.name == "assign" else [],
        form=request.form,
    )
    return Response(render("bulk_preview.html", preview), status, mimetype="text/html")


def _shown(action: BulkAction, verdict: BulkEligibility) -> str:
    """What the page shows of a run that the action takes, which has to hold when the form is sent."""
    token = verdict.judged.token
    return f"{token}~{quote(_holder(verdict) or '', safe='')}" if action.changes_whose else token


def _holder(verdict: BulkEligibility) -> str | None:
    """Whose the wait is now."""
    decision = verdict.judged.decisions.get(verdict.step or "")
    return decision.get("assignee") if decision else None


def _question(action: BulkAction, count: int) -> confirmation.Confirmation:
    label = action.label
    sentence = plural(count, "It is done with 1 run.", "It is done with {count} runs, one after another.")
    button = plural(count, "{action} for 1 run", "{action} for {count} runs", action=label)
    if action.name == "take":
        sentence, button = _becoming(count, "yours"), plural(count, "Take 1 task", "Take {count} tasks")
    if action.name == "assign":
        sentence, button = _becoming(count, "theirs"), plural(count, "Hand on 1 task", "Hand on {count} tasks")
    return confirmation.Confirmation(
        right=action.name,
        heading=_("{action}: many runs", action=label),
        sentence=sentence,
        button=button,
        back=url_for(".runs"),
        tone=COMMANDS[action.name].tone or "go" if action.name in COMMANDS else "go",
    )


def _becoming(count: int, whose: str) -> Markup:
    if whose == "yours":
        return plural(count, "What waits in 1 run becomes yours.", "What waits in {count} runs becomes yours.")
    return plural(count, "What waits in 1 run becomes theirs.", "What waits in {count} runs becomes theirs.")


def _begin(action: BulkAction, found: list[RunCommands]) -> Response:
    """Begin with the runs that the page showed and that are as they were, as far as the person may."""
    actor = confirmation.actor_for("bulk")
    key, sent = request.form.get("key"), request.form.get("items", "")
    told = [action.option, action.to, sent]
    before = page_data.bulk_job(key) if key else None
    shown = dict(_items(sent))
    verdicts = [_verdict(action, each) for each in found]
    allowed = [each for each in verdicts if each.why is None and shown.get(each.judged.run.id) == _shown(action, each)]
    question = _question(action, len(shown))
    comment = confirmation.comment_for(question)
    if action.name == "assign" and action.to is None:
        question.problems["to"] = _("Say who, by their id.")
    if question.problems:
        return _preview(action, found, more=False, status=422, question=question)
    if before is not None and _is_mine(before) and before.asked == bulk_jobs.asked_for(action.name, told, comment):
        return _at_work(before.id)
    if not allowed:
        flash(_("None of these runs takes it any more; nothing was done."), "error")
        return redirect(url_for(".runs"), 303)
    items = [_item(action, each) for each in allowed]
    try:
        job_id = configured_runtime().bulk.begin(
            action.name,
            items,
            scope=current_scope(),
            actor=actor,
            comment=comment,
            job_id=key,
            mount=request.blueprint,
            groups=current_claimant().groups,
            asked=told,
            option=action.option,
            to=action.to,
        )
    except ConflictError:
        flash(_("Somebody was faster; nothing was done."), "error")
        return redirect(url_for(".runs"), 303)
    except ManualActionError as error:
        question.problems[error.field] = in_english(str(error))
        return _preview(action, found, more=False, status=422, question=question)
    left = len(shown) - len(allowed)
    if left:
        flash(plural(left, "1 run was left as it is: it has changed.", "{count} runs were left as they are."), "error")
    return _at_work(job_id)


def _item(action: BulkAction, taken: BulkEligibility) -> bulk_jobs.BulkItem:
    """The run with what is done there, and whether the person may answer what is others'."""
    run, decision = taken.judged.run, taken.judged.decisions.get(taken.step or "")
    permission = decision.get("permission") if decision else None
    return bulk_jobs.BulkItem(
        run_id=run.id,
        token=taken.judged.token,
        step=taken.step,
        trusted=BY_ACTION[action.name].asks_whose and claimant_for(run, decision, taken.step, permission) is None,
        before=_holder(taken) if action.changes_whose else None,
    )


def _at_work(job_id: str) -> Response:
    configured_runtime().bulk.go_on(job_id, SLICE_SECONDS, own_objection)
    flash(_("It has begun; here you see how far it is."), "success")
    return redirect(url_for(".bulk_job", job_id=job_id), 303)


def _items(text: str) -> Iterator[tuple[str, str]]:
    for item in text.split():
        run_id, separator, token = item.partition("~")
        if separator:
            yield run_id, token


def _job(job_id: str) -> bulk_jobs.BulkJobState:
    """The job, for its owner and for whoever has the right `bulk_any`; for others there is none."""
    job = page_data.bulk_job(job_id)
    if job is None or not (_is_mine(job) or may("bulk_any")):
        abort(404)
    page_data.keep_spelling("job_id", job.id)
    return job


def _is_mine(job: bulk_jobs.BulkJobState | bulk_jobs.BulkJobSummary) -> bool:
    actor = shown_actor()
    return actor is not None and identity(actor) == identity(job.actor)


def _version(job: bulk_jobs.BulkJobState) -> str:
    return f"{job.status}.{job.left}"


def _content(job: bulk_jobs.BulkJobState) -> BulkJobPage:
    going = job.status in bulk_jobs.OPEN
    tried = [item for item in job.items if item.done is not None]
    hidden = page_data.refused_among(id for item in tried for id in (item.run_id, item.became))
    shown = [
        replace(item, became=None if item.became in hidden else item.became)
        for item in tried
        if item.run_id not in hidden
    ]
    return BulkJobPage(
        job=job,
        going=going,
        label=BulkAction(job.action, job.option, job.to).title,
        failed=[item for item in shown if item.done is False],
        done=[item for item in shown if item.done],
        hidden=len(tried) - len(shown),
        may_act=may("bulk"),
        pulse=layout.pulse("bulk", _version(job), job_id=job.id) if going else None,
    )
