"""Whose a wait for people is, and who may answer it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple


class Claimant(NamedTuple):
    """Somebody who wants to answer a wait. id: None for nobody. groups: those that they belong to."""

    id: str | None
    groups: Collection[str] = ()


def is_open_to_all(decision: Mapping[str, Any]) -> bool:
    """Whether the wait is nobody's in particular."""
    return not decision.get("assignee") and not decision.get("groups")


def may_answer(decision: Mapping[str, Any], person: Claimant) -> bool:
    """Whether the wait is this person's, one of their groups', or nobody's in particular."""
    mine = person.id is not None and decision.get("assignee") == person.id
    return is_open_to_all(decision) or mine or not set(person.groups).isdisjoint(decision.get("groups") or ())
