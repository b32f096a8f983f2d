"""A decision on its run's page: one form with everything that its options ask for, and a button for each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import uuid4

from flask import url_for
from markupsafe import Markup

from ..queries.results import DecisionView, Run
from ..runtime.runtime import current_runtime
from .answer_form import AnswerForm, form_of
from .available_commands import COMMANDS, AvailableCommand, decision_at, kept_option, takes_comment
from .text.command_text import option_label
from .text.language import _, any_of


@dataclass(frozen=True, slots=True, kw_only=True)
class CardOption:
    """One option that the person may take. address: where its button sends the form."""

    label: Markup
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CardForm:
    """What some options ask for. heading: which, where others ask for something else."""

    heading: Markup | None
    answer: AnswerForm


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionCard:
    """What is sent with the button of an option. comment: for which of them words are needed."""

    step: str
    key: str
    next: str | None
    options: list[CardOption]
    forms: list[CardForm]
    comment: Markup | None


def card_of(
    run: Run, decision: DecisionView, offers: Sequence[AvailableCommand], next_page: str | None
) -> DecisionCard | None:
    """The form of the card; None where what is asked is answered on a page of its own, or not by this person."""
    asked = decision_at(run, decision.step)
    open_to = [offer for offer in offers if offer.button and offer.name in ("approve", "reject", "decide")]
    names = [offer.option or offer.name for offer in open_to]
    has_form = any("form" in (kept_option(asked, name) or {}) for name in names)
    if asked is None or not open_to or not (has_form or decision.kind == "decision"):
        return None
    forms = _forms(run, decision.step, names)
    return DecisionCard(
        step=decision.step,
        key=str(uuid4()),
        next=next_page,
        options=[
            CardOption(label=option_label(name), address=_address(run, offer, decision.step))
            for offer, name in zip(open_to, names, strict=True)
        ],
        forms=forms,
        comment=_comment(run, decision.step, open_to, names),
    )


def _forms(run: Run, step: str, names: Sequence[str]) -> list[CardForm]:
    """Each form once, with the options that ask for it."""
    asked, by_prefix, askers = decision_at(run, step), dict[str, AnswerForm](), dict[str, list[str]]()
    for name in names:
        answer = form_of(run, asked, step, name) if asked else None
        if answer is not None:
            by_prefix.setdefault(answer.prefix, answer)
            askers.setdefault(answer.prefix, []).append(option_label(name))
    several = len(by_prefix) > 1
    return [
        CardForm(heading=_("With {options}", options=any_of(askers[prefix])) if several else None, answer=answer)
        for prefix, answer in by_prefix.items()
    ]


def _comment(run: Run, step: str, offers: Sequence[AvailableCommand], names: Sequence[str]) -> Markup | None:
    by_right = current_runtime().config.dashboard.comment_required
    asked = decision_at(run, step)
    needing = [
        option_label(name)
        for offer, name in zip(offers, names, strict=True)
        if offer.name in by_right or takes_comment(asked, name)
    ]
    return _("required for {options}", options=any_of(needing)) if needing else None


def _address(run: Run, offer: AvailableCommand, step: str) -> str:
    named = offer.option if offer.name == "decide" else None
    return url_for(".act", run_id=run.id, verb=COMMANDS[offer.name].verb, step=step, option=named)
