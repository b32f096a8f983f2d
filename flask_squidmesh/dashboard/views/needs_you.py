"""Needs you: what people are asked, what went wrong, and going through either one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from flask import redirect, request, url_for
from markupsafe import Markup
from werkzeug.wrappers import Response

from ...errors import FilterError
from ...queries import open_waits, trouble
from ...queries.inbox import is_overdue
from ...queries.open_waits import SOON, WHOSE, WaitPage
from ...queries.results import AuditEventView, Count, DecisionView, InboxItem
from ...queries.trouble import TroubleGroup, TroublePage
from ...runtime.runtime import current_runtime
from ...storage.summaries import RunSummary
from .. import layout, page_data
from ..authorization import may, require_tasks
from ..available_commands import COMMANDS, Button, inbox_buttons
from ..endpoints import LONGEST_NAME, url_of, whole
from ..layout import Pulse, Tab, TemplateContext, render
from ..redacted_documents import visible
from ..text import times
from ..text.badges import Badge, badge_of, badge_of_decision
from ..text.explanation_text import error_text, who_decides
from ..text.inbox_text import leads, question
from ..text.language import N_, _, plural
from ..text.people_text import whose

WORDS: Mapping[str, str] = {
    "decision": "decision",
    "resume": "paused",
    "interrupted": "stuck",
    "incident": "incident",
    "stuck": "stuck",
    "failed": "failed",
    "compensation_failed": "failed",
}
MOST = 30
MOST_PASSED = 10  # pages of which the person may view nothing
PROBLEMS: Final = "problems"
LABELS: Mapping[str, str] = {
    "mine": N_("Mine"),
    "groups": N_("My groups"),
    "others": N_("Others"),
    PROBLEMS: N_("Problems"),
}
ASKING: Final = ("decision", "resume")
WAITS: Mapping[str, Sequence[str]] = {"decision": ("approval", "decision"), "paused": ("pause",)}
"""What a wait is of, by the word that the list is narrowed to."""
GROUP_COMMANDS: Mapping[str, Sequence[str]] = {
    "failed": ("replay", "acknowledge"),
    "compensation_failed": ("retry_compensation", "replay", "acknowledge"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What the list is narrowed to. word: one of the operator words, None for all. after: the cursor of the page."""

    tab: str
    word: str | None
    workflow: str | None
    after: str | None = None

    @property
    def kinds(self) -> Sequence[str]:
        """What is listed: kinds of waits, or of problems."""
        if self.tab != PROBLEMS:
            return open_waits.KINDS if self.word is None else WAITS.get(self.word, ())
        return [kind for kind, word in WORDS.items() if kind not in ASKING and self.word in (None, word)]

    @property
    def query(self) -> dict[str, str]:
        """What an address says of it."""
        said = {"tab": self.tab, "word": self.word, "workflow": self.workflow}
        return {name: value for name, value in said.items() if value}


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One run that needs a person, or one of the decisions that are open in it. when: how long it is until it is due or
    how long it has stood so; moment: the same as a time. part: of the list, by when it is due. leads: where each
    answer leads.
    """

    run: RunSummary
    title: str
    workflow: str
    step: str | None
    address: str
    mark: Badge
    why: Markup
    leads: Markup | None
    who: list[Markup]
    when: Markup
    moment: Markup
    part: str
    buttons: list[Button]


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupCard:
    """Runs that failed the same way. buttons: what acts on all of them."""

    group: TroubleGroup
    title: Markup
    mark: Badge
    error: Markup
    address: str
    buttons: list[Button]


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSection:
    """Cards under one heading. count: how many there are on all pages, None where that is not told."""

    heading: Markup
    count: int | None
    cards: Sequence[Card]
    overdue: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class NeedsPage(TemplateContext):
    """choice: what is listed. lead: what there is, in a sentence. kinds: what it can be narrowed to: words with their
    names and counts, where they are counted. one_by_one: the address that leads through all of it. place: which of the
    list this page shows. last_decision, in_progress: what is told where nothing needs anybody. undelivered: how much
    nobody could be told, where that is listed.
    """

    choice: Choice
    lead: Markup
    tabs: list[Tab]
    kinds: list[tuple[str, Markup, int | None]]
    workflows: list[tuple[str, str]]
    groups: list[GroupCard]
    parts: list[TaskSection]
    one_by_one: str | None
    place: Markup | None
    first: str | None
    older: str | None
    last_decision: AuditEventView | None
    in_progress: Markup | None
    undelivered: int
    pulse: Pulse


def show() -> str:
    """The page."""
    require_tasks()
    return render("inbox.html", _content())


def refreshed(version: str) -> str | None:
    """The parts of the page that have changed since this version, None where nothing has."""
    require_tasks()
    choice = _choice()
    if _version(choice, _read(choice)) == version:
        return None
    return render("_pulse_inbox.html", _content(), swapped=True)


def _tabs() -> Sequence[str]:
    """The lists that the person may see: their own and those of their groups, and all where they may list runs."""
    return ("mine", "groups") if require_tasks() else (*WHOSE, PROBLEMS)


def _choice() -> Choice:
    """What the address asks for; where it does not say, the list in which there is something."""
    word = request.args.get("word") if request.args.get("word") in WORDS.values() else None
    tab = request.args.get("tab", "")
    return Choice(
        tab=tab if tab in _tabs() else _fullest(word),
        word=word,
        workflow=request.args.get("workflow", "")[:LONGEST_NAME] or None,
        after=request.args.get("after") or None,
    )


def _fullest(word: str | None) -> str:
    """The first list that has something of the word."""
    counts, tabs = _counts(), _tabs()
    fitting = [tab for tab in tabs if word is None or (tab == PROBLEMS) == (word not in WAITS)]
    return next((tab for tab in fitting if counts[tab]), (fitting or tabs)[0])


def _counts() -> dict[str, int]:
    counted = page_data.counts_for_frame()
    return {PROBLEMS: counted.wrong} | dict(counted.waits)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What was read for a page, without what the runs ask."""

    asked: WaitPage | None = None
    trouble: TroublePage | None = None
    groups: Sequence[TroubleGroup] = ()

    @property
    def places(self) -> Sequence[tuple[RunSummary, str]]:
        """The runs one by one, each with the cursor behind it."""
        if self.asked:
            return [(row.run, open_waits.cursor_behind(row)) for row in self.asked.items]
        return [(item.run, trouble.cursor_behind(item)) for item in self.trouble.items] if self.trouble else ()

    @property
    def next(self) -> str | None:
        """The cursor of the next page."""
        return self.asked.next if self.asked else self.trouble.next if self.trouble else None


def _read(choice: Choice) -> Found:
    """One query, or two for what went wrong. What is no cursor stands for the first page."""
    with page_data.at_once():
        try:
            return _read_from(choice)
        except FilterError:
            return _read_from(replace(choice, after=None))


def _read_from(choice: Choice) -> Found:
    for tab in WHOSE:
        if choice.tab == tab:
            return Found(asked=page_data.wait_page(tab, choice.kinds, choice.workflow, MOST, choice.after))
    groups = page_data.trouble_groups_of(choice.kinds, choice.workflow) if choice.after is None else ()
    return Found(trouble=page_data.trouble_page(choice.kinds, choice.workflow, MOST, choice.after), groups=groups)


def _version(choice: Choice, found: Found) -> str:
    """What the page shows, in short: equal for as long as it shows the same, as every change of a run counts as one."""
    wrong = found.trouble.items if found.trouble else ()
    items = [(item.run.id, item.run.revision, item.kind, item.since, item.overdue, item.stuck) for item in wrong]
    waits = [(row.id, row.run.revision, row.assignee) for row in found.asked.items] if found.asked else []
    groups = [(group.fingerprint, group.kind, group.count, group.last_since) for group in found.groups]
    asked = found.asked
    totals = (asked.overdue, asked.soon, asked.later) if asked else ()
    return layout.version(items, waits, groups, totals, found.next, _counts())


def _content() -> NeedsPage:
    now = current_runtime().clock.now()
    with page_data.at_once():
        choice = _choice()
        found = _read(choice)
        items = page_data.asked_in(found.asked.items) if found.asked else _told(found)
        is_empty = not items and not found.groups
        last_decision = page_data.last_decision() if is_empty else None
        in_progress = _in_progress() if is_empty else None
        counts = _counts()
    cards = [_card(item, each, choice, now) for item in items for each in item.decisions or (None,)]
    return NeedsPage(
        choice=choice,
        lead=_lead(choice, found, counts),
        tabs=[Tab(_(LABELS[tab]), _address(tab), tab == choice.tab, Count(value=counts[tab])) for tab in _tabs()],
        kinds=_kinds(choice),
        workflows=page_data.workflows(),
        groups=[_group(each) for each in found.groups],
        parts=list(_parts(found, cards)),
        one_by_one=url_of(".next", _among(choice)) if len(found.places) > 1 else None,
        place=_place(items),
        first=url_of(".inbox", choice.query) if choice.after else None,
        older=_older(choice, found),
        last_decision=last_decision,
        in_progress=in_progress,
        undelivered=_undelivered(choice),
        pulse=layout.pulse("inbox", _version(choice, found), **_asked_for(choice), after=choice.after),
    )


def _undelivered(choice: Choice) -> int:
    """How much nobody could be told, where that is listed."""
    is_listed = choice.tab == PROBLEMS and choice.word is None and choice.workflow is None
    return page_data.counts_for_frame().undelivered.value if is_listed else 0


def _asked_for(choice: Choice) -> dict[str, str]:
    """What the poll says of the list: of a tab that nobody has chosen nothing, so that another one may come up."""
    return {name: value for name, value in choice.query.items() if name != "tab" or "tab" in request.args}


def _told(found: Found) -> Sequence[InboxItem]:
    return page_data.with_what_is_asked(found.trouble.items) if found.trouble else ()


def _address(tab: str) -> str:
    return url_for(".inbox", tab=tab)


def _lead(choice: Choice, found: Found, counts: Mapping[str, int]) -> Markup:
    if choice.tab == PROBLEMS:
        wrong = page_data.counts_for_frame().wrong_runs
        if not wrong:
            return _("No run went wrong.")
        return plural(
            wrong,
            "1 run went wrong and waits for somebody to look after it.",
            "{count} runs went wrong and wait for somebody to look after them.",
        )
    waiting = _waiting(choice.tab, counts[choice.tab])
    late = found.asked.overdue if found.asked else 0
    if not late:
        return Markup("{}.").format(waiting)
    overdue = plural(late, "1 of them is overdue", "{count} of them are overdue")
    return Markup("{}, {}.").format(waiting, overdue)


def _waiting(tab: str, count: int) -> Markup:
    match tab:
        case "mine":
            return plural(count, "1 decision is yours", "{count} decisions are yours")
        case "groups":
            return plural(
                count,
                "1 decision is for your groups or for everybody",
                "{count} decisions are for your groups or for everybody",
            )
        case _:
            return plural(count, "1 decision is somebody else’s", "{count} decisions are somebody else’s")


def _kinds(choice: Choice) -> list[tuple[str, Markup, int | None]]:
    """What the list can be narrowed to; how much there is of each is not counted by whose it is."""
    if choice.tab != PROBLEMS:
        return [(word, badge_of(word).label, None) for word in WAITS]
    counted = page_data.counts_for_frame().needs
    words = dict.fromkeys(word for kind, word in WORDS.items() if kind not in ASKING)
    numbers = {word: sum(counted[kind].value for kind in WORDS if WORDS[kind] == word) for word in words}
    found = [(word, number) for word, number in numbers.items() if number or word == choice.word]
    return [(word, badge_of(word).label, number) for word, number in found]


def _parts(found: Found, cards: Sequence[Card]) -> Iterator[TaskSection]:
    if found.asked is None:
        if cards:
            heading = _("One by one") if found.groups else _("Longest waiting first")
            yield TaskSection(heading=heading, count=None, cards=cards)
        return
    by_due: dict[str, list[Card]] = {"overdue": [], "soon": [], "later": []}
    for card in cards:
        by_due[card.part].append(card)
    totals = {"overdue": found.asked.overdue, "soon": found.asked.soon, "later": found.asked.later}
    for name, heading in (
        ("overdue", _("Overdue")),
        ("soon", _("Due within a day")),
        ("later", _("Later, or at no set time")),
    ):
        if by_due[name]:
            yield TaskSection(heading=heading, count=totals[name], cards=by_due[name], overdue=name == "overdue")


def _card(item: InboxItem, decision: DecisionView | None, choice: Choice, now: datetime) -> Card:
    run = item.run
    due_at = decision.decide_by if decision else item.due_at
    since = decision.asked_at if decision else item.since
    when, moment, part = _when(due_at, since, choice, now)
    return Card(
        run=run,
        title=run.title,
        workflow=page_data.title_of_workflow(run.workflow),
        step=decision.step if decision else None,
        address=url_for(".run", run_id=run.id),
        mark=badge_of_decision(decision.kind) if decision else badge_of(WORDS[item.kind]),
        why=question(item, decision, now, lambda value, path: visible(run, value, path)),
        leads=leads(item, decision),
        who=_who(decision) if decision else [],
        when=when,
        moment=moment,
        part=part,
        buttons=_plain(inbox_buttons(item, decision, back=url_of(".inbox", choice.query))),
    )


def _who(decision: DecisionView) -> list[Markup]:
    """Whose it is, and who may not."""
    owner = whose(decision.assignee, decision.groups, page_data.reader().id)
    return [*([owner] if owner else []), *who_decides(decision)]


def _when(due_at: datetime | None, since: datetime, choice: Choice, now: datetime) -> tuple[Markup, Markup, str]:
    """How long, the same as a time, and the part of the list."""
    zone = layout.zone()
    if due_at and is_overdue(due_at, now):
        late = _("{length} overdue", length=times.elapsed(due_at, now))
        return late, _("since {time}", time=times.moment(due_at, zone, now, today="")), "overdue"
    if due_at:
        moment = times.moment(due_at, zone, now)
        return times.stamp(due_at, zone, now), moment, "soon" if due_at <= now + SOON else "later"
    standing = times.moment(since, zone, now, today="")
    if choice.tab == PROBLEMS:
        return times.elapsed(since, now), _("since {time}", time=standing), "later"
    return _("No due time"), _("waits since {time}", time=standing), "later"


def _plain(buttons: Sequence[Button]) -> list[Button]:
    """The buttons as they stand in a list, where nothing is decided: the first is outlined, none is filled."""
    return [replace(button, tone="" if place else "soft") for place, button in enumerate(buttons)]


def _group(group: TroubleGroup) -> GroupCard:
    run = group.example
    workflow, step = page_data.title_of_workflow(run.workflow), run.current_step or ""
    title = _("{workflow}: {step}", workflow=workflow, step=step) if step else Markup.escape(workflow)
    narrowed = {"error": group.fingerprint, "needs": group.kind}
    return GroupCard(
        group=group,
        title=title,
        mark=badge_of(WORDS[group.kind]),
        error=error_text(visible(run, group.error, ("last_error",))),
        address=url_of(".runs", narrowed),
        buttons=_plain(list(_group_buttons(group, narrowed))),
    )


def _group_buttons(group: TroubleGroup, narrowed: Mapping[str, str]) -> Iterator[Button]:
    if not may("bulk"):
        return
    for name in GROUP_COMMANDS[group.kind]:
        if may(name, group.example):
            command = COMMANDS[name]
            label = _("{action}: all {count}", action=command.label, count=group.count).striptags()
            yield Button(label, url_of(".bulk", {**narrowed, "action": name}), "", "")


def _older(choice: Choice, found: Found) -> str | None:
    if found.next is None:
        return None
    before = whole(request.args.get("before")) or 0
    return url_of(".inbox", {**choice.query, "after": found.next, "before": str(before + len(found.places))})


def _place(items: Sequence[InboxItem]) -> Markup | None:
    before = (whole(request.args.get("before")) or 0) if request.args.get("after") else 0
    if not items:
        return None
    return _("{first} to {last}", first=before + 1, last=before + len(items))


def _in_progress() -> Markup:
    count = page_data.unfinished_count()
    return plural(count, "1 run is in progress.", "{count} runs are in progress.")


def lead_on() -> Response:
    """Lead to the list's first run, or to the one behind the place that `at` names; behind the last, to the list."""
    require_tasks()
    choice = replace(_asked_among(), after=request.args.get("at") or None)
    found = _read(choice)
    for _page in range(MOST_PASSED):
        if found.places or found.next is None:
            break
        found = _read(choice := replace(choice, after=found.next))
    if not found.places:
        return redirect(url_of(".inbox", choice.query), 303)
    run, behind = found.places[0]
    return redirect(url_of(".run", {"run_id": run.id, **_among(choice), "at": behind}), 303)


def _asked_among() -> Choice:
    """The list that one goes through: a tab, and perhaps one of its words, and a workflow."""
    tab, _dot, word = request.args.get("among", "").partition(".")
    narrowed = word if word in WORDS.values() else tab if tab in WORDS.values() else None
    workflow = request.args.get("workflow", "")[:LONGEST_NAME] or None
    return Choice(tab=tab if tab in _tabs() else _fullest(narrowed), word=narrowed, workflow=workflow)


def _among(choice: Choice) -> dict[str, str]:
    """What addresses say of the list that one goes through."""
    among = f"{choice.tab}.{choice.word}" if choice.word else choice.tab
    said = {"among": among, "workflow": choice.workflow}
    return {name: value for name, value in said.items() if value}


def turn() -> dict[str, str]:
    """What the address of a run's page says of it: among which runs, and what comes behind it."""
    if "among" not in request.args:
        return {}
    return {name: request.args[name] for name in ("among", "workflow", "at") if name in request.args}


def after_acting(run: RunSummary) -> str | None:
    """Where an action leads on to; None where the run is not one of many."""
    return url_of(".next", turn()) if turn() else None


def skipping(run: RunSummary) -> str | None:
    """Where the run is left as it is; None where it is not one of many."""
    return after_acting(run)
