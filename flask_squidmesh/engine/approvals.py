"""Approvals that not everybody may give, or that several people have to give."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal

from ..people import normal
from .facts import Decider
from .kept_decisions import Approved, ApproverRules, DecisionKept

Objection = Literal["unnamed", "starter", "again"]


def identity(actor: object) -> str | None:
    """Return what tells people apart: the text, or a mapping's "id", else all of the mapping. None for nobody."""
    if isinstance(actor, Mapping):
        return normal(str(actor["id"])) if has_id(actor) else json.dumps(actor, sort_keys=True)
    return None if actor is None else normal(str(actor))


def has_id(actor: object) -> bool:
    """Whether the actor is told apart from everybody else: text is, and a mapping with an "id"."""
    return actor.get("id") is not None if isinstance(actor, Mapping) else actor is not None


def objection(decision: ApproverRules, starter: object, actor: object) -> Objection | None:
    """Return why this person may not approve: nothing tells them apart from others, they started the run, or one
    that it replays, or have given theirs. None where they may.
    """
    person = identity(actor)
    if actor is not None and not has_id(actor) and (decision.get("not_starter") or wanted(decision) > 1):
        return "unnamed"
    starters = (identity(starter), *(decision.get("starters") or ()))
    if decision.get("not_starter") and person is not None and person in starters:
        return "starter"
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


def is_last(decision: ApproverRules) -> bool:
    """Whether one more approval is enough."""
    return len(given(decision)) + 1 >= wanted(decision)


def with_approval(decision: DecisionKept, decider: Decider, now: datetime) -> DecisionKept:
    """Return the decision with one more approval."""
    said = Approved(actor=decider.actor, comment=decider.comment, at=now.isoformat())
    return {**decision, "given": [*given(decision), said]}
