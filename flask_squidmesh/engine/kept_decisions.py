"""What is asked of people at a visit, as its row keeps it."""

from __future__ import annotations

from typing import Literal, Required, TypedDict

from ..definition.values import JsonValue

DecisionKind = Literal["pause", "approval", "interrupted", "incident"]
DecisionEvent = Literal["approved", "rejected", "resumed"]


class Approved(TypedDict):
    """An approval that was given. actor: who gave it, as recorded. at: ISO 8601 text."""

    actor: JsonValue
    comment: str | None
    at: str


class ApproverRules(TypedDict, total=False):
    """Who may approve. approvals, given: how many people have to, and who has. not_starter: whoever started the run may
    not; starters: who else counts as that person, because they started a run that this one replays.
    """

    approvals: int
    given: list[Approved]
    not_starter: bool
    starters: list[str]


class DecisionKept(ApproverRules, total=False):
    """What is asked. ok, error: where it leads. output: the key that the answer joins the state under. since: when it
    was opened, where the visit may have begun before; see `asked_since`. answered: how, where what follows was left to
    others.
    """

    kind: Required[DecisionKind]
    prompt: str | None
    permission: str | None
    ok: str | None
    error: str | None
    output: str | None
    since: str
    answered: DecisionEvent
