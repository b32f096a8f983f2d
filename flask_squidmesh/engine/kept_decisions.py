"""What is asked of people at a visit, as its row keeps it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, NotRequired, Required, TypedDict

from ..definition.values import JsonObject, JsonValue

DecisionKind = Literal["pause", "approval", "decision", "event", "interrupted", "incident"]
DecisionEvent = Literal["approved", "rejected", "resumed", "decided", "timed_out", "received"]
OPTIONS: Final[Mapping[str, str]] = {"approved": "approve", "rejected": "reject"}
"""The options that an approval was answered with."""

WAITS: Final[tuple[DecisionKind, ...]] = ("pause", "approval", "decision")
"""Decisions that a step was declared for; others are asked of people because something went wrong."""

EVENT: Final = "event"
"""The kind of a wait for an event, which asks nobody anything."""

LISTED: Final[tuple[DecisionKind, ...]] = (*WAITS, EVENT)
"""Waits that have a row of their own to be found by."""

STANDSTILLS: Final[tuple[DecisionKind, ...]] = ("interrupted", "incident")
"""Decisions at steps that cannot go on: nobody knows whether they took effect, or they could not begin."""


class Approved(TypedDict):
    """An approval that was given. actor: who gave it, as recorded. at: ISO 8601 text. answer: what they filled in."""

    actor: JsonValue
    comment: str | None
    at: str
    answer: NotRequired[JsonObject]


class ApproverRules(TypedDict, total=False):
    """Who may take the option that lets the run go on. approvals, given: how many people have to, and who has.
    not_starter: whoever started the run may not; starters: who else counts as that person, because they started a run
    that this one replays. not_by: steps at which whoever decided may not.
    """

    approvals: int
    given: list[Approved]
    not_starter: bool
    starters: list[str]
    not_by: list[str]


class ConditionKept(TypedDict):
    """A condition of a route. number: whether the value, as text, is to be compared as a number."""

    path: list[str]
    operator: Literal["equals", "greater_than", "less_than"]
    value: JsonValue
    number: bool


class RouteKept(TypedDict):
    """A route out of an option: a step, or an end."""

    target: str
    condition: NotRequired[ConditionKept]


class OptionKept(TypedDict):
    """One answer that a person can give: where it leads, and the JSON schema of what it asks for."""

    name: str
    routes: list[RouteKept]
    form: NotRequired[JsonObject]
    comment_required: NotRequired[bool]


class TimerKept(TypedDict):
    """What happens at a wait at a time, as ISO 8601 text. assignee, groups: whose it becomes by an escalation."""

    kind: Literal["remind", "escalate", "time_out"]
    at: str
    assignee: NotRequired[str | None]
    groups: NotRequired[list[str]]


class ReminderKept(TypedDict):
    """What people are told of a step that takes long, at a time, as ISO 8601 text."""

    kind: Literal["remind", "overdue"]
    at: str


class EventKept(TypedDict):
    """The event that is awaited. since: how old it may be, as ISO 8601 text, None for since the run began."""

    name: str
    key: str
    accept: Literal["all", "first"]
    since: str | None


class MisfitKept(TypedDict):
    """An event that came and does not fit the model of the step. at: when that was seen, as ISO 8601 text."""

    event_id: str
    at: str
    why: str


class DecisionKept(ApproverRules, total=False):
    """What is asked. ok, error: where it leads, of a pause or an approval. options: the answers, of an approval or a
    decision. output: the key that the answer joins the state under; updates: fields of it that do so under their own
    names; values: what the fields of its form begin with. since: when it was opened, where the visit may have begun
    before; see `asked_since`. answered: how, and option: with which one, where what follows was left to others.
    assignee, groups: whose it is. timers: what happens when, in that order. timeout: where it leads then.
    awaits: the event, of a wait for one, and routes: where it leads then; misfit: the last that came and did not fit.
    """

    kind: Required[DecisionKind]
    prompt: str | None
    permission: str | None
    ok: str | None
    error: str | None
    options: list[OptionKept]
    output: str | None
    updates: list[str]
    values: JsonObject
    since: str
    answered: DecisionEvent
    option: str
    assignee: str | None
    groups: list[str]
    timers: list[TimerKept]
    timeout: str | None
    awaits: EventKept
    routes: list[RouteKept]
    misfit: MisfitKept
