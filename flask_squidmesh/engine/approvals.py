"""Approvals that not everybody may give, or that several people have to give."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Literal

from ..definition.values import JsonObject
from ..people import has_id, identity
from .facts import Decider
from .kept_decisions import Approved, ApproverRules, DecisionKept

Objection = Literal["unnamed", "starter", "again", "decided_before"]


def objection(
    decision: ApproverRules, starter: object, actor: object, deciders: Collection[str] = ()
) -> Objection | None:
    """Return why this person may not approve: nothing tells them apart from others, they started the run, or one
    that it replays, have decided at a step that `not_by` names, or have given theirs. None where they may.

    deciders: the ids of those who have decided at those steps.
    """
    person = identity(actor)
    four_eyes = decision.get("not_starter") or decision.get("not_by") or wanted(decision) > 1
    if actor is not None and not has_id(actor) and four_eyes:
        return "unnamed"
    starters = (identity(starter), *(decision.get("starters") or ()))
    if decision.get("not_starter") and person is not None and person in starters:
        return "starter"
    if decision.get("not_by") and person in deciders:
        return "decided_before"
    return "again" if person in {identity(each["actor"]) for each in given(decision)} else None


def starters_of(earlier: Sequence[str] | None, starter: object) -> list[str]:
    """Return who counts as a starter of a run's replay, beside whoever replays it."""
    person = identity(starter)
    return list(dict.fromkeys([*(earlier or ()), *([person] if person is not None else [])]))


def given(decision: ApproverRules) -> Sequence[Approved]:
    """Return the approvals given so far."""
    return decision.get("given") or ()


def wanted(decision: ApproverRules) -> int:
    """Return how many people have to approve."""
    return decision.get("approvals") or 1


def begins_again(decision: ApproverRules, answer: JsonObject | None) -> bool:
    """Whether an approval with this answer makes those void that were given, because they were for another answer."""
    return any(each.get("answer") != answer for each in given(decision))


def is_last(decision: ApproverRules, answer: JsonObject | None = None) -> bool:
    """Whether one more approval, with this answer, is enough."""
    before = 0 if begins_again(decision, answer) else len(given(decision))
    return before + 1 >= wanted(decision)


def with_approval(decision: DecisionKept, decider: Decider, answer: JsonObject | None, now: datetime) -> DecisionKept:
    """Return the decision with one more approval; with it alone, where it is for another answer than those before."""
    said = Approved(actor=decider.actor, comment=decider.comment, at=now.isoformat())
    if answer is not None:
        said["answer"] = answer
    before = [] if begins_again(decision, answer) else given(decision)
    return {**decision, "given": [*before, said]}
