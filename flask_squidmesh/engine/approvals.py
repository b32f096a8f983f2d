"""Approvals that not everybody may give, or that several people have to give."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from ..people import normal
from .facts import Decider

Objection = Literal["unnamed", "starter", "again"]


def identity(actor: Any) -> str | None:
    """What tells people apart: the text, or a mapping's "id", else all of the mapping. None for nobody."""
    if isinstance(actor, Mapping):
        return normal(str(actor["id"])) if has_id(actor) else json.dumps(actor, sort_keys=True)
    return None if actor is None else normal(str(actor))


def has_id(actor: Any) -> bool:
    """Whether the actor is told apart from everybody else: text is, and a mapping with an "id"."""
    return actor.get("id") is not None if isinstance(actor, Mapping) else actor is not None


def objection(decision: Mapping[str, Any], starter: Any, actor: Any) -> Objection | None:
    """Why this person may not give the approval: nothing tells them apart from others, they started the run, or one
    that it replays, or have given theirs. None where they may.
    """
    person = identity(actor)
    if actor is not None and not has_id(actor) and (decision.get("not_starter") or wanted(decision) > 1):
        return "unnamed"
    starters = (identity(starter), *(decision.get("starters") or ()))
    if decision.get("not_starter") and person is not None and person in starters:
        return "starter"
    return "again" if person in {identity(each["actor"]) for each in given(decision)} else None


def starters_of(earlier: Sequence[str] | None, starter: Any) -> list[str]:
    """Who counts as a starter of a run's replay, beside whoever replays it."""
    person = identity(starter)
    return list(dict.fromkeys([*(earlier or ()), *([person] if person is not None else [])]))


def given(decision: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The approvals that were given so far, each {actor, comment, at}."""
    found: Sequence[Mapping[str, Any]] = decision.get("given") or ()
    return found


def wanted(decision: Mapping[str, Any]) -> int:
    """How many people have to approve."""
    return int(decision.get("approvals") or 1)


def is_last(decision: Mapping[str, Any]) -> bool:
    """Whether one more approval is enough."""
    return len(given(decision)) + 1 >= wanted(decision)


def with_approval(decision: Mapping[str, Any], decider: Decider, now: datetime) -> dict[str, Any]:
    """The decision with one more approval."""
    said = {"actor": decider.actor, "comment": decider.comment, "at": now.isoformat()}
    return {**decision, "given": [*given(decision), said]}
