"""Every rule of work for people, of ends and of deadlines, with the sentence its author reads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, Literal

import pytest
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, RootModel, SecretStr

from flask_squidmesh.definition import (
    Approval,
    Deadline,
    Decision,
    End,
    Escalate,
    Manual,
    Option,
    Pause,
    Step,
    Wait,
    Workflow,
)
from flask_squidmesh.definition.definition_checks import output_names
from flask_squidmesh.definition.spec import (
    Condition,
    DeadlineSpec,
    EndSpec,
    ErrorRoute,
    EscalationSpec,
    OptionSpec,
    Route,
    StepSpec,
    WorkflowSpec,
)
from flask_squidmesh.errors import DefinitionError

HOUR = timedelta(hours=1)


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")


class Invoice(BaseModel):
    amount: Decimal


class Expense(BaseModel):
    amount: Decimal
    supplier: str
    manager_id: str
    head_id: str
    invoice: Invoice


class Review(BaseModel):
    amount: Decimal = Field(default=Decimal(0), le=5000)
    reason: str = ""


class Reason(BaseModel):
    reason: str = ""


class Card(BaseModel):
    number: SecretStr


class Listed(RootModel[list[int]]):
    pass


class Unresolved(BaseModel):
    nowhere: Nowhere  # type: ignore[name-defined]  # noqa: F821


class Locked(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True)

    lock: threading.Event


def work() -> dict[str, Any]:
    return {}


def nothing() -> None: ...


def built(body: dict[str, Any], **keywords: Any) -> WorkflowSpec:
    body = {"start": Manual(Open), **body}
    return type("Example", (Workflow,), body, **keywords).__squidmesh__  # type: ignore[attr-defined, no-any-return]


def problems_of(body: dict[str, Any], **keywords: Any) -> tuple[str, ...]:
    with pytest.raises(DefinitionError) as caught:
        built(body, **keywords)
    return caught.value.problems


Lines = Callable[..., Sequence[Any]]


def deciding(lines: Lines | None = None, /, **arguments: Any) -> dict[str, Any]:
    """A step, a decision of yes or no, and another step; `lines` makes the flow of them."""
    a, review, c = Step(work), Decision(**{"options": ("yes", "no"), **arguments}), Step(work)
    flow = lines(a, review, c) if lines else [a >> review, review.on("yes") >> c, review.on("no") >> c]
    return {"a": a, "review": review, "c": c, "flow": flow}


def alone(**arguments: Any) -> dict[str, Any]:
    """A decision without routes, as it may be among dependencies."""
    return {"review": Decision(**{"options": ("yes", "no"), "after": [], **arguments})}


def approving(lines: Lines, /, **arguments: Any) -> dict[str, Any]:
    a, review, c, d = Step(work), Approval(**arguments), Step(work), Step(work)
    return {"a": a, "review": review, "c": c, "d": d, "flow": lines(a, review, c, d)}


def flowing(lines: Lines, **steps: Any) -> dict[str, Any]:
    steps = steps or {"a": Step(work), "b": Step(work), "c": Step(work)}
    return {**steps, "flow": lines(*steps.values())}


def step_of(body: dict[str, Any], name: str = "review") -> StepSpec:
    return built(body).steps[name]


RESERVED = "approved, decided, error, ok, option, rejected, resumed, timed_out, timeout"

STEPS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "no options": (
        {"options": []},
        ('has no options, so that nobody could answer; write options=("approve", "reject")',),
    ),
    "one text for options": (
        {"options": "yes"},
        ('options=\'yes\' must be a tuple of options; write options=("approve", "reject")',),
    ),
    "two options of one name": (
        {"options": ("yes", Option("yes"))},
        ("has two options 'yes'; give one of them another name",),
    ),
    "reserved option": (
        {"options": ("timed_out", "yes")},
        (f"no option can be called 'timed_out', for {RESERVED} have a meaning already; give it another name",),
    ),
    "options that are no names": (
        {"options": ("ask back", 3, "x" * 61)},
        (
            "the option 'ask back' is no name; write letters, digits and underscores, at most 60, "
            'as options=("approve", "ask_back")',
            "the option 3 is no name; write letters, digits and underscores, at most 60, "
            'as options=("approve", "ask_back")',
            f"the option {'x' * 61!r} is no name; write letters, digits and underscores, at most 60, "
            'as options=("approve", "ask_back")',
        ),
    ),
    "comment_required": (
        {"options": (Option("yes", comment_required="no"),)},  # type: ignore[arg-type]
        ("option yes: comment_required='no' must be True or False",),
    ),
    "form that is no model": (
        {"form": dict},
        (
            "form= must be a pydantic BaseModel class with fields, found <class 'dict'>; "
            "write class Review(BaseModel): ...",
        ),
    ),
    "root model": (
        {"options": (Option("yes", form=Listed),)},
        (
            f"option yes: form= must be a pydantic BaseModel class with fields, found {Listed!r}; "
            "write class Review(BaseModel): ...",
        ),
    ),
    "secret in a form": (
        {"form": Card},
        ("form field number is a secret, and answers are stored as they are; write a reference to the secret instead",),
    ),
    "form with an unknown annotation": (
        {"form": Unresolved},
        ("the annotations of Unresolved cannot be resolved; import what they name",),
    ),
    "form that cannot be drawn": (
        {"form": Locked},
        (
            "Locked has no JSON schema to draw a form from (Cannot generate a JsonSchema for "
            f"core_schema.IsInstanceSchema ({threading.Event!r})); give its fields types of JSON",
        ),
    ),
    "form that nobody is asked": (
        {"options": (Option("yes", form=Reason),), "form": Review},
        ("form= is asked by no option, for each has a form of its own; remove it",),
    ),
    "input that is no mapping": (
        {"form": Review, "input": ["amount"]},
        ('input=[\'amount\'] must map fields to paths; write input={"amount": "invoice.amount"}',),
    ),
    "input of no field": (
        {"form": Reason, "input": {"amount": "invoice.amount"}},
        ("input= names 'amount', which is no field of a form; fields are reason",),
    ),
    "input without a form": (
        {"input": {"amount": "invoice.amount"}},
        ("input= names 'amount', which is no field of a form; write form=Review too",),
    ),
    "input path": (
        {"form": Review, "input": {"amount": "invoice..amount"}},
        (
            "input= gives amount the path 'invoice..amount'; write names joined by dots, "
            'as input={"amount": "invoice.amount"}',
        ),
    ),
    "one text for updates": (
        {"form": Review, "updates": "amount"},
        ("updates='amount' must be a tuple of names; write updates=(\"amount\",)",),
    ),
    "updates of no field": (
        {"form": Reason, "updates": ("reason", "reason", "amount")},
        (
            "updates= names 'reason' twice; write it once",
            "updates= names 'amount', which is no field of a form; fields are reason",
        ),
    ),
    "update of the record": (
        {"form": Review, "updates": ("amount",), "output": "amount"},
        ('updates= names amount, under which its record is kept; name another key with output="..."',),
    ),
    "approvals": (
        {"approvals": 21, "not_starter": None},
        (
            "approvals=21 must be a whole number from 1 to 20; write approvals=2",
            "not_starter=None must be True or False; write not_starter=True",
        ),
    ),
    "an element in not_by": (
        {"not_by": (Step,)},
        (f'not_by=({Step!r},) must be a tuple of names; write not_by=("review",)',),
    ),
    "one text for not_by": (
        {"not_by": "second"},
        ("not_by='second' must be a tuple of names; write not_by=(\"review\",)",),
    ),
    "not_by of itself": (
        {"not_by": ("review",)},
        ("not_by= names the step itself; name another decision, or leave it out",),
    ),
    "not_by of nobody": (
        {"not_by": ("second", "second")},
        (
            "not_by= names 'second' twice; write it once",
            "not_by= names 'second', which is no step of this class; decisions are: none",
        ),
    ),
    "assignee of nobody": (
        {"assignee": " "},
        ("the assignee must be non-empty text, found ' '",),
    ),
    "assignee with an index": (
        {"assignee": "{order[0]} {order.id!r} {a..b} {}"},
        tuple(
            f"the assignee holds {found}; only names joined by dots can be in braces, as {{order.manager_id}}"
            for found in ("{order[0]}", "{order.id!r}", "{a..b}", "{}")
        ),
    ),
    "assignee with one brace": (
        {"assignee": "{manager"},
        (
            "the assignee has unmatched braces (expected '}' before end of string); "
            "write {name}, or {{ and }} for braces themselves",
        ),
    ),
    "assignee of 10,000 characters": (
        {"assignee": "x" * 10_000},
        ("the assignee has 10,000 characters; write at most 200",),
    ),
    "people that no database stores": (
        {"assignee": "a\0", "groups": ("\ud800",)},
        (
            "the assignee cannot be stored: text must not hold the character U+0000",
            "the group '\\ud800' of groups= cannot be stored: text must not hold a lone surrogate",
        ),
    ),
    "one text for groups": (
        {"groups": "finance"},
        ("groups='finance' must be a tuple of names; write groups=(\"finance\",)",),
    ),
    "groups": (
        {"groups": ("finance", "finance", "", "{a b}")},
        (
            "groups= names 'finance' twice; write it once",
            "the group '' of groups= must be non-empty text, found ''",
            "the group '{a b}' of groups= holds {a b}; only names joined by dots can be in braces, "
            "as {order.manager_id}",
        ),
    ),
    "within": (
        {"within": 0},
        ("within=0 must be a positive time of at most 100 years; write within=timedelta(hours=4)",),
    ),
    "endless within": (
        {"within": 10**400},
        (f"within={10**400} must be a positive time of at most 100 years; write within=timedelta(hours=4)",),
    ),
    "path of within": (
        {"within": "order..due"},
        ("within='order..due' is no path; write names joined by dots, as within=\"order.due\"",),
    ),
    "reminders": (
        {"remind": (0, "1h", None)},
        tuple(
            f"remind={found} must be a positive time of at most 100 years, or several; write remind=timedelta(hours=24)"
            for found in ("0", "'1h'", "None")
        ),
    ),
    "one reminder twice": (
        {"remind": (3600, HOUR)},
        ("remind= names 1:00:00 twice; write it once",),
    ),
    "reminder after the deadline": (
        {"within": HOUR, "remind": (60, 3600)},
        ("reminds after 1:00:00, when its time is over, for within= is 1:00:00; remind before that",),
    ),
    "escalation that is none": (
        {"escalate": "head"},
        (
            "escalate='head' must be an Escalate, or several; "
            'write escalate=Escalate(after=timedelta(hours=36), assignee="{head_id}")',
        ),
    ),
    "escalation to nobody": (
        {"escalate": Escalate(after=HOUR)},
        ('escalates to nobody; write Escalate(after=..., assignee="{head_id}"), or groups=("heads",)',),
    ),
    "escalation after nothing": (
        {"escalate": Escalate(after=0, assignee="{a b}")},
        (
            "the assignee of an escalation holds {a b}; only names joined by dots can be in braces, "
            "as {order.manager_id}",
            "escalates after 0, which must be a positive time of at most 100 years; "
            "write Escalate(after=timedelta(hours=36), ...)",
        ),
    ),
    "escalation after the deadline": (
        {"within": HOUR, "escalate": Escalate(after=HOUR, assignee="head")},
        ("escalates after 1:00:00, when its time is over, for within= is 1:00:00; escalate before that",),
    ),
    "escalation to the same person": (
        {"assignee": "{head_id}", "escalate": Escalate(after=HOUR, assignee="{head_id}")},
        ("escalates after 1:00:00 to '{head_id}', whose it is already; name somebody else",),
    ),
    "escalation to the person before": (
        {"escalate": (Escalate(after=2 * HOUR, assignee="head"), Escalate(after=HOUR, assignee="head"))},
        ("escalates after 2:00:00 to 'head', whose it is already; name somebody else",),
    ),
    "escalation to the same group": (
        {"groups": ("finance",), "escalate": Escalate(after=HOUR, groups=("finance", "heads"))},
        ("escalates after 1:00:00 to the group 'finance', whose it is already; name another",),
    ),
    "two escalations at once": (
        {"escalate": (Escalate(after=HOUR, assignee="head"), Escalate(after=3600, groups=("heads",)))},
        ("escalates twice after 1:00:00; write one Escalate with all of it",),
    ),
}


@pytest.mark.rule("declaring-decisions", "declaring-people")
@pytest.mark.parametrize(("arguments", "expected"), STEPS.values(), ids=STEPS)
def test_rules_of_a_decision(arguments: dict[str, Any], expected: tuple[str, ...]) -> None:
    found = problems_of(alone(**arguments))
    assert tuple(each.removeprefix("step review: ") for each in found) == expected


@pytest.mark.rule("declaring-people")
@pytest.mark.parametrize("kind", [Pause, Approval])
def test_every_step_for_people_has_these_rules(kind: Callable[..., Any]) -> None:
    step = kind(assignee="", within="", remind=0, escalate=Escalate(after=HOUR), after=[])
    assert len(problems_of({"hold": step})) == 4


def test_an_approval_has_no_options_of_its_own() -> None:
    with pytest.raises(TypeError, match="options"):
        Approval(options=("yes",))  # type: ignore[call-arg]


WAITS: dict[str, tuple[Wait, str]] = {
    "neither": (Wait(), 'must say how long it waits; write Wait(timedelta(hours=1)), or Wait(until="order.ship_on")'),
    "both": (
        Wait(3, until="order.ship_on"),
        "has a duration and until=, and only one can say when it is over; leave out one of the two",
    ),
    "path that no database stores": (
        Wait(until="a\0"),
        "until='a\\x00' is no path; write names joined by dots, as until=\"order.ship_on\"",
    ),
    "no path": (Wait(until="a..b"), "until='a..b' is no path; write names joined by dots, as until=\"order.ship_on\""),
}


class Odd:
    """What cannot be compared or hashed."""

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        raise ValueError("no")

    def __repr__(self) -> str:
        return "odd"


@pytest.mark.rule("declaring-all-at-once")
def test_whatever_stands_in_place_of_an_option_is_told() -> None:
    review, odd = Decision(options=(Option(Odd()), Odd(), "yes")), Odd()  # type: ignore[arg-type]
    flow = [review.on("yes") >> End("yes"), review.on(odd) >> End("no")]  # type: ignore[arg-type]
    is_no_name = (
        "step review: the option odd is no name; write letters, digits and underscores, at most 60, "
        'as options=("approve", "ask_back")'
    )
    assert problems_of({"review": review, "flow": flow}) == (
        is_no_name,
        "transition review.on(odd) >> End('no'): review has no option odd; it has yes",
    )


@pytest.mark.rule("declaring-steps")
@pytest.mark.parametrize(("wait", "expected"), WAITS.values(), ids=WAITS)
def test_rules_of_a_wait(wait: Wait, expected: str) -> None:
    assert problems_of({"a": wait}) == (f"step a: {expected}",)


NO_PLAIN = "each option of a Decision leads somewhere of its own; write"

FLOWS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "plain arrow": (
        deciding(lambda a, review, c: [a >> review >> c]),
        (
            f'transition review >> c: {NO_PLAIN} review.on("yes") >> ...',
            'step review: nothing says where option yes leads; write review.on("yes") >> some_step in flow',
            'step review: nothing says where option no leads; write review.on("no") >> some_step in flow',
        ),
    ),
    "plain condition": (
        deciding(
            lambda a, review, c: [
                a >> review,
                review.when("x", equals=1) >> c,
                review.on("yes") >> c,
                review.on("no") >> c,
            ]
        ),
        (f"transition review.when('x', equals=1) >> c: {NO_PLAIN} review.on(\"yes\").when('x', equals=1) >> ...",),
    ),
    "unknown option": (
        deciding(lambda a, review, c: [a >> review, review.on("yes") >> c, review.on("nay") >> c, review.on(3) >> c]),
        (
            "transition review.on(\"nay\") >> c: review has no option 'nay'; it has yes, no",
            "transition review.on(3) >> c: review has no option 3; it has yes, no",
            'step review: nothing says where option no leads; write review.on("no") >> some_step in flow',
        ),
    ),
    "option twice": (
        deciding(
            lambda a, review, c: [a >> review, review.on("yes") >> c, review.on("no") >> c, review.on("yes") >> a]
        ),
        (
            'transition review.on("yes") >> a: review.on("yes") >> c is there already, and only one route can have '
            'no condition; remove one of the two, or write review.on("yes").when(...) >> ...',
        ),
    ),
    "only conditions": (
        deciding(lambda a, review, c: [a >> review, review.on("yes").when("x", equals=1) >> c, review.on("no") >> c]),
        (
            "step review: nothing says where option yes leads when no condition holds; "
            'write review.on("yes") >> some_step in flow',
        ),
    ),
    "same condition": (
        deciding(
            lambda a, review, c: [
                a >> review,
                review.on("yes").when("x", equals=1) >> c,
                review.on("yes").when("x", equals=1) >> a,
                review.on("yes") >> c,
                review.on("no").when("x", equals=1) >> c,
                review.on("no") >> a,
            ]
        ),
        (
            "transition review.on(\"yes\").when('x', equals=1) >> a: an earlier route has the same condition, "
            "so this one is never taken; remove one of the two",
        ),
    ),
    "two conditions of one route": (
        deciding(
            lambda a, review, c: [
                a >> review,
                review.on("yes").when("x", equals=1).when("y", equals=2) >> c,
                review.on("yes") >> c,
                review.on("no") >> c,
            ]
        ),
        (
            "transition review.on(\"yes\").when('x', equals=1).when('y', equals=2) >> c: has 2 conditions, "
            "and a route has one; leave out all but one .when(...)",
        ),
    ),
    "no option anywhere": (
        flowing(
            lambda a, b, c: [a >> b >> c, a.on("yes") >> c, b.on("yes") >> c], a=Step(work), b=Pause(), c=Step(work)
        ),
        (
            'transition a.on("yes") >> c: only a Decision or an Approval has options, and a is declared as Step; '
            "write a >> ...",
            'transition b.on("yes") >> c: only a Decision or an Approval has options, and b is declared as Pause; '
            "write b >> ...",
        ),
    ),
    "errors and rejections of a decision": (
        deciding(
            lambda a, review, c: [
                a >> review,
                review.on("yes") >> c,
                review.on("no") >> c,
                review.on_error >> c,
                review.on_reject >> c,
            ]
        ),
        (
            "transition review.on_error >> c: only a Step can fail, and review is declared as Decision; "
            'write review.on("yes")',
            "transition review.on_reject >> c: only an Approval can be rejected, and review is declared as Decision; "
            'write review.on("yes")',
        ),
    ),
    "time-out of a step": (
        flowing(lambda a, b, c: [a >> b >> c, a.on_timeout >> c]),
        (
            "transition a.on_timeout >> c: only a Pause, an Approval, a Decision or a WaitForEvent can time out, "
            "and a is declared as Step; write a >> ...",
        ),
    ),
    "time-out without a time": (
        flowing(lambda a, b, c: [a >> b >> c, b.on_timeout >> c], a=Step(work), b=Pause(), c=Step(work)),
        ("transition b.on_timeout >> c: b has no within= that could pass; write b = Pause(..., within=...)",),
    ),
    "two time-outs": (
        flowing(
            lambda a, b, c: [a >> b >> c, b.on_timeout >> c, b.on_timeout >> End("late")],
            a=Step(work),
            b=Pause(within=HOUR),
            c=Step(work),
        ),
        ("transition b.on_timeout >> End('late'): b.on_timeout >> c is there already; remove one of the two",),
    ),
    "conditions elsewhere": (
        flowing(
            lambda a, b, c: [
                a >> b >> c,
                a.on_error.when("x", equals=1) >> c,
                b.on_timeout.when("x", equals=1) >> c,
                b.when("x", equals=1) >> c,
            ],
            a=Step(work),
            b=Pause(within=HOUR),
            c=Step(work),
        ),
        (
            "transition a.on_error.when('x', equals=1) >> c: a.on_error has no conditions; "
            "put a Step that decides between",
            "transition b.on_timeout.when('x', equals=1) >> c: b.on_timeout has no conditions; "
            "put a Step that decides between",
            "transition b.when('x', equals=1) >> c: the route out of a pause has no conditions; "
            "put a Step that decides between",
        ),
    ),
    "approval twice": (
        approving(
            lambda a, review, c, d: [
                a >> review >> c,
                review.on("approve") >> d,
                review.on_reject >> d,
                review.on("reject") >> c,
            ]
        ),
        (
            'transition review.on("approve") >> d: review >> c is there already, and only one route can have '
            'no condition; remove one of the two, or write review.on("approve").when(...) >> ...',
            'transition review.on("reject") >> c: review.on_reject >> d is there already, and only one route can have '
            'no condition; remove one of the two, or write review.on("reject").when(...) >> ...',
        ),
    ),
    "condition of a rejection": (
        approving(
            lambda a, review, c, d: [
                a >> review >> c,
                review.on_reject.when("x", equals=1) >> d,
                review.on_reject >> c,
            ]
        ),
        (
            "transition review.on_reject.when('x', equals=1) >> d: of an approval only what an option leads to has "
            "conditions; write review.on(\"reject\").when('x', equals=1) >> ...",
        ),
    ),
    "nobody kept out": (
        flowing(
            lambda first, second, done: [
                first.on("go") >> second.on("go"),
                second.on("go") >> done,
            ],
            first=Decision(options=("go",), not_by=("second", "done")),
            second=Decision(options=("go",), not_by=("first",)),
            done=Step(work),
        ),
        (
            "step first: not_by= names done, where nobody decides anything; decisions are: second",
            'transition first.on("go") >> second.on("go"): a chain cannot go on from a route; '
            'write two lines, ... >> second and second.on("go") >> ...',
            "step first: not_by= names second, from which no route leads here, so it would keep out nobody; "
            "name a decision that comes before",
        ),
    ),
}


@pytest.mark.rule("declaring-flow", "declaring-decisions")
@pytest.mark.parametrize(("body", "expected"), FLOWS.values(), ids=FLOWS)
def test_rules_of_routes(body: dict[str, Any], expected: tuple[str, ...]) -> None:
    assert problems_of(body) == expected


ENDS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "in the middle": (
        flowing(lambda a, b, c: [a >> End("shipped") >> b >> c]),
        (
            "transition End('shipped') >> b: End('shipped') ends the run, and nothing can follow it; "
            "let it be the last of its line",
        ),
    ),
    "first": (
        flowing(lambda a, b, c: [End("shipped", compensate=True) >> a >> b >> c]),
        (
            "transition End('shipped', compensate=True) >> a: End('shipped', compensate=True) ends the run, "
            "and nothing can follow it; let it be the last of its line",
        ),
    ),
    "alone": (
        flowing(lambda a, b, c: [a >> b >> c, End("shipped")]),
        ("flow: End('shipped') ends nothing; write last_step >> End('shipped')",),
    ),
    "of nothing": (
        flowing(lambda a, b, c: [a >> b >> c, "a" >> End("shipped")]),  # type: ignore[operator]
        (
            "transition 'a' >> End('shipped'): starts from something that is no step; "
            "flow starts with its first step, whatever the trigger",
        ),
    ),
    "without a word": (
        flowing(lambda a, b, c: [a >> b >> c >> End]),
        (
            f"transition c >> {End!r}: leads to something that is no step; "
            'a step without a route ends the run by itself, and End("rejected") says how',
        ),
    ),
    "words": (
        flowing(lambda a, b, c: [a >> b >> c >> End(""), a.on_error >> End("2nd"), b.on_error >> End("x" * 41)]),
        tuple(
            f"transition {start} >> End({word!r}): {word!r} is no word for an end; write 1 to 40 letters, digits, "
            'underscores or hyphens, a letter first, as End("rejected")'
            for start, word in (("c", ""), ("a.on_error", "2nd"), ("b.on_error", "x" * 41))
        ),
    ),
    "no word": (
        flowing(lambda a, b, c: [a >> b >> c >> End(None, compensate=1)]),  # type: ignore[arg-type]
        (
            "transition c >> End(None, compensate=True): compensate=1 must be True or False",
            "transition c >> End(None, compensate=True): None is no word for an end; write 1 to 40 letters, digits, "
            'underscores or hyphens, a letter first, as End("rejected")',
        ),
    ),
    "a status": (
        flowing(lambda a, b, c: [a >> b >> c >> End("completed")]),
        (
            "transition c >> End('completed'): no end can be called 'completed', for cancelled, cancelling, completed, "
            "error_route, failed, paused, pending, retrying, running have a meaning already; give it another word",
        ),
    ),
    "in after": (
        {"a": Step(work, after=[End("shipped")])},  # type: ignore[list-item]
        ("step a: after= names End('shipped'), which is no step of this class; declare it in the class body, above",),
    ),
}


@pytest.mark.rule("declaring-ends")
@pytest.mark.parametrize(("body", "expected"), ENDS.values(), ids=ENDS)
def test_rules_of_an_end(body: dict[str, Any], expected: tuple[str, ...]) -> None:
    assert problems_of(body) == expected


def test_options_and_time_outs_belong_to_a_flow() -> None:
    first = Decision(options=("go",), within=HOUR, after=[])
    body = {"first": first, "b": Step(work), "flow": [first.on("go") >> End("gone"), first.on_timeout >> End("late")]}
    assert problems_of(body)[0] == (
        "it has both flow and after= (step first); write flow = [...], or after= at each step, not both"
    )


DEADLINES: dict[str, tuple[Any, tuple[str, ...]]] = {
    "no deadline": (HOUR, (f"deadline={HOUR!r} must be a Deadline; write deadline=Deadline(timedelta(days=3))",)),
    "no time": (
        Deadline(0),
        (
            "deadline: must be a positive time of at most 100 years, found 0; "
            "write deadline=Deadline(timedelta(days=3))",
        ),
    ),
    "flags": (
        Deadline(HOUR, cancel="yes", compensate=1),  # type: ignore[arg-type]
        ("deadline: cancel='yes' must be True or False", "deadline: compensate=1 must be True or False"),
    ),
    "compensation of a failure": (
        Deadline(HOUR, compensate=True),
        (
            "deadline: compensate=True is for a run that is cancelled, and one that fails is compensated anyway; "
            "write cancel=True too, or leave out compensate=",
        ),
    ),
}


@pytest.mark.rule("declaring-deadline")
@pytest.mark.parametrize(("deadline", "expected"), DEADLINES.values(), ids=DEADLINES)
def test_rules_of_a_deadline(deadline: Any, expected: tuple[str, ...]) -> None:
    assert problems_of({"a": Step(work)}, deadline=deadline) == expected
    with pytest.raises(DefinitionError) as caught:
        type("Base", (Workflow,), {}, abstract=True, deadline=deadline)
    assert caught.value.problems == expected


@pytest.mark.rule("declaring-deadline")
def test_a_deadline_holds_for_what_is_derived_from_its_class() -> None:
    class Dated(Workflow, abstract=True, deadline=Deadline(HOUR, cancel=True, compensate=True)):
        pass

    class Labelled(Workflow, abstract=True):
        version = "2"

    class Inherits(Labelled, Dated):
        start = Manual()
        a = Step(work)

    class Shorter(Dated, deadline=Deadline(60)):
        start = Manual()
        a = Step(work)

    class Without(Dated, deadline=None):
        start = Manual()
        a = Step(work)

    class Plain(Workflow):
        start = Manual()
        a = Step(work)

    found = [each.__squidmesh__.deadline for each in (Inherits, Shorter, Without, Plain)]
    assert found == [
        DeadlineSpec(after=HOUR, cancel=True, compensate=True),
        DeadlineSpec(after=timedelta(minutes=1)),
        None,
        None,
    ]


def test_a_keyword_that_a_class_does_not_know_is_refused() -> None:
    with pytest.raises(TypeError, match="dead_line"):
        type("Example", (Workflow,), {"start": Manual(), "a": Step(work)}, dead_line=None)


def test_names_that_nothing_provides() -> None:
    a, c = Step(nothing), Step(nothing)
    review = Decision(
        "{who}?",
        options=("yes",),
        form=Reason,
        input={"reason": "why.not"},
        assignee="{order.manager}",
        groups=("literal", "{team}"),
        within="order.due",
        escalate=Escalate(after=HOUR, assignee="{head}", groups=("{heads.all}",)),
    )
    settle = Wait(until="ship_on")
    flow = [a >> review, review.on("yes").when("total", equals=1) >> c, review.on("yes") >> settle]
    body = {"start": Manual(Invoice), "a": a, "review": review, "c": c, "settle": settle, "flow": flow}
    assert problems_of(body) == tuple(
        f"{place}, but no payload field and no earlier output is called {name!r}; known there: {known}"
        for place, name, known in (
            ("step review: the prompt names {who}", "who", "amount"),
            ("step review: the assignee names {order.manager}", "order", "amount"),
            ("step review: groups= names {team}", "team", "amount"),
            ("step review: the assignee of an escalation names {head}", "head", "amount"),
            ("step review: groups= of an escalation names {heads.all}", "heads", "amount"),
            ("step review: within= takes 'order.due'", "order", "amount"),
            ("step review: form field reason takes 'why.not'", "why", "amount"),
            ('transition review.on("yes").when("total", ...): reads \'total\'', "total", "amount, review"),
            ("step settle: until= takes 'ship_on'", "ship_on", "amount, review"),
        )
    )


def test_a_decision_gives_its_record_and_its_updates() -> None:
    a, c = Step(nothing), Pause("{reason}?", assignee="{review.actor.id}")
    review = Decision(options=("yes",), form=Reason, updates=("reason",))
    flow = [a >> review, review.on("yes").when("review.answer.reason", equals="x") >> a, review.on("yes") >> c]
    spec = built({"start": Manual(Invoice), "a": a, "review": review, "c": c, "flow": flow})
    assert output_names(spec.steps["review"]) == frozenset({"review", "reason"})


class Due(BaseModel):
    by: AwareDatetime
    on: date | None = None
    after: timedelta = HOUR
    seconds: int = 60
    whatever: Any = None


class Ordered(BaseModel):
    manager: str
    level: Literal["high", "low"] = "low"
    amount: Decimal = Decimal(1)
    urgent: bool | None = None
    tags: list[date] = []
    due: Due
    either: str | date = ""


@pytest.mark.parametrize(
    ("path", "types"), [("manager", "str"), ("amount", "Decimal"), ("urgent", "bool"), ("tags", "list"), ("due", "Due")]
)
def test_a_time_is_taken_from_no_field_that_can_hold_none(path: str, types: str) -> None:
    steps = {
        "ask": Pause(within=path, after=[]),
        "call": Step(work, within=path, after=[]),
        "wait": Wait(until=path, after=[]),
    }
    assert problems_of({"start": Manual(Ordered), **steps}) == tuple(
        f"step {step}: {argument}= takes {path!r}, which is {types} in the payload and can hold neither a time nor a "
        "duration; declare it as AwareDatetime, date or timedelta, or name another field"
        for step, argument in (("ask", "within"), ("call", "within"), ("wait", "until"))
    )


@pytest.mark.parametrize("path", ["due.by", "due.on", "due.after", "due.seconds", "due.whatever", "either", "level"])
def test_a_time_is_taken_from_whatever_may_hold_one(path: str) -> None:
    assert built({"start": Manual(Ordered), "ask": Pause(within=path)})


def test_a_step_before_may_make_a_time_of_a_text() -> None:
    parse, ask = Step(work), Pause(within="manager")
    assert built({"start": Manual(Ordered), "parse": parse, "ask": ask, "flow": [parse >> ask]})


def test_a_decision_without_options_is_refused_with_all_other_faults() -> None:
    assert problems_of({"review": Decision("Pay?", within=0)}) == (  # type: ignore[call-arg]
        "step review: within=0 must be a positive time of at most 100 years; write within=timedelta(hours=4)",
        'step review: has no options, so that nobody could answer; write options=("approve", "reject")',
    )


STEP_TIMES: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "within": (
        {"within": 0},
        ("within=0 must be a positive time of at most 100 years; write within=timedelta(hours=4)",),
    ),
    "path": ({"within": ".."}, ("within='..' is no path; write names joined by dots, as within=\"order.due\"",)),
    "reminder after the end": (
        {"within": HOUR, "remind": (60, 3600)},
        ("reminds after 1:00:00, when its time is over, for within= is 1:00:00; remind before that",),
    ),
    "reminder of nothing": (
        {"remind": HOUR},
        ("remind= has no end to remind of; write within=timedelta(hours=4) too, or remove it",),
    ),
    "reminder that is none": (
        {"within": HOUR, "remind": "1h"},
        ("remind='1h' must be a positive time of at most 100 years, or several; write remind=timedelta(hours=24)",),
    ),
}


@pytest.mark.rule("reminding-of-steps")
@pytest.mark.parametrize(("arguments", "expected"), STEP_TIMES.values(), ids=STEP_TIMES)
def test_rules_of_a_step_that_takes_long(arguments: dict[str, Any], expected: tuple[str, ...]) -> None:
    assert problems_of({"a": Step(work, **arguments)}) == tuple(f"step a: {fault}" for fault in expected)


@pytest.mark.rule("reminding-of-steps")
def test_what_a_step_that_takes_long_becomes() -> None:
    timed = built({"a": Step(work, within=2 * HOUR, remind=[3600, 60])}).steps["a"]
    assert (timed.within, timed.remind, timed.timed) == (2 * HOUR, (timedelta(minutes=1), HOUR), True)
    by_path = built({"a": Step(work, within="order.due")})
    assert by_path.steps["a"].within_at == ("order", "due")
    assert by_path.opening_keys == {"a": frozenset({"order"})}


@pytest.mark.rule("decision-record-name")
def test_a_record_of_a_decision_takes_the_place_of_no_payload_field() -> None:
    amount = Decision(options=("yes",), after=[])
    assert problems_of({"start": Manual(Invoice), "amount": amount}) == (
        "step amount: its record would take the place of the payload field 'amount'; "
        'name another key with output="..."',
    )


class Paying(Workflow, deadline=Deadline(timedelta(days=30))):
    """The example of the design."""

    start = Manual(Expense)
    check = Step(work)
    review = Decision(
        "Pay {amount} EUR to {supplier}?",
        options=(Option("approve", form=Review), "ask_back", Option("reject", comment_required=True)),
        input={"amount": "invoice.amount"},
        updates=("amount",),
        assignee="{manager_id}",
        groups=("finance",),
        within=timedelta(hours=48),
        remind=timedelta(hours=24),
        escalate=Escalate(after=timedelta(hours=36), assignee="{head_id}"),
    )
    second = Approval(not_by=("review",))
    pay = Step(work)
    fix = Step(work)
    tell = Step(work)
    park = Pause()
    flow = [
        check >> review,
        review.on("approve").when("amount", greater_than=1000) >> second >> pay,
        review.on("approve") >> pay,
        review.on("ask_back") >> fix >> review,
        review.on("reject") >> tell >> End("rejected"),
        review.on_timeout >> park,
        second.on_reject >> tell,
    ]


@pytest.mark.rule("declaring-decisions")
def test_what_a_decision_becomes() -> None:
    above = Condition(path=("amount",), operator="greater_than", value=1000)
    assert Paying.__squidmesh__.steps["review"] == StepSpec(
        name="review",
        kind="decision",
        prompt="Pay {amount} EUR to {supplier}?",
        output="review",
        options=(
            OptionSpec(
                name="approve", form=Review, routes=(Route(target="second", condition=above), Route(target="pay"))
            ),
            OptionSpec(name="ask_back", routes=(Route(target="fix"),)),
            OptionSpec(name="reject", comment_required=True, routes=(Route(target="tell"),)),
        ),
        form_input={"amount": ("invoice", "amount")},
        updates=("amount",),
        assignee="{manager_id}",
        groups=("finance",),
        within=timedelta(hours=48),
        remind=(timedelta(hours=24),),
        escalate=(EscalationSpec(after=timedelta(hours=36), assignee="{head_id}"),),
        timeout="park",
    )


def test_where_the_fields_of_a_form_begin() -> None:
    review = Paying.__squidmesh__.steps["review"]
    assert review.field_sources == {"amount": ("invoice", "amount"), "reason": ("reason",)}


@pytest.mark.rule("declaring-ends")
def test_an_end_is_a_route_that_leads_to_no_step() -> None:
    spec = built(
        flowing(
            lambda a, b, c: [
                a.when("x", equals=1) >> End("timed_out"),
                a >> b >> c >> End("rejected", compensate=True),
                a.on_error >> End("timed_out"),
                b.on_timeout >> End("late"),
            ],
            a=Step(work),
            b=Pause(within=HOUR),
            c=Step(work),
        )
    )
    assert spec.ends == (
        EndSpec(outcome="timed_out"),
        EndSpec(outcome="late"),
        EndSpec(outcome="rejected", compensate=True),
    )
    assert [sorted(each.targets) for each in spec.steps.values()] == [["b"], ["c"], []]
    assert spec.revisited == frozenset()


@pytest.mark.rule("declaring-loops")
def test_an_end_is_no_loop_and_no_step_that_can_be_reached() -> None:
    assert built(flowing(lambda a: [a.when("x", equals=1) >> a, a.on_error >> End("broken")], a=Step(work)))
    assert built(flowing(lambda a: [a >> End("done")], a=Step(work)))


@pytest.mark.rule("declaring-decisions")
def test_an_approval_is_a_decision_whose_options_lead_on_and_away() -> None:
    plain = step_of(approving(lambda a, review, c, d: [a >> review >> c, review.on_reject >> d], form=Review))
    assert plain.kind == "approval"
    assert plain.ok == (Route(target="c"),)
    assert plain.error == ErrorRoute(target="d")
    assert plain.options == (
        OptionSpec(name="approve", form=Review, routes=(Route(target="c"),)),
        OptionSpec(name="reject", routes=(Route(target="d"),)),
    )
    spelt = approving(
        lambda a, review, c, d: [a >> review, review.on("approve") >> c, review.on("reject") >> d], form=Review
    )
    assert step_of(spelt) == plain


def test_what_an_approval_and_a_rejection_lead_to_may_have_conditions() -> None:
    step = step_of(
        approving(
            lambda a, review, c, d: [
                a >> review >> c,
                review.on("approve").when("x", equals=1) >> d,
                review.on("reject").when("x", equals=2) >> c,
                review.on_reject >> End("rejected"),
            ]
        )
    )
    one, two = (Condition(path=("x",), operator="equals", value=value) for value in (1, 2))
    assert step.ok == step.options[0].routes == (Route(target="c"), Route(target="d", condition=one))
    assert step.error == ErrorRoute(target="end:rejected")
    assert step.options[1].routes == (Route(target="c", condition=two), Route(target="end:rejected"))


def test_a_form_is_of_every_option_without_its_own_and_of_an_approval() -> None:
    review = step_of(alone(options=("yes", Option("no", form=Reason)), form=Review))
    assert [each.form for each in review.options] == [Review, Reason]


def test_times_come_in_order_and_may_be_seconds_or_a_path() -> None:
    later, sooner = Escalate(after=7200, assignee="head"), Escalate(after=HOUR, groups=("heads",))
    review = step_of(alone(within="order.due", remind=[7200, 3600], escalate=[later, sooner]))
    assert (review.within, review.within_at) == (None, ("order", "due"))
    assert review.remind == (HOUR, 2 * HOUR)
    assert [each.after for each in review.escalate] == [HOUR, 2 * HOUR]
    assert built({"a": Wait(until="order.ship_on")}).steps["a"].until == ("order", "ship_on")


LEGAL: dict[str, dict[str, Any]] = {
    "decision among dependencies": alone(),
    "decision with one option": alone(options=("go",)),
    "a list of options": alone(options=["yes", Option("no")]),
    "loop through an option": deciding(lambda a, review, c: [a >> review, review.on("yes") >> c, review.on("no") >> a]),
    "decision first": deciding(lambda a, review, c: [review.on("yes") >> a >> c, review.on("no") >> c]),
    "every option an end": flowing(
        lambda review: [review.on("yes") >> End("yes"), review.on("no") >> End("no")],
        review=Decision(options=("yes", "no")),
    ),
    "one update of a payload field": {"start": Manual(Invoice), **alone(form=Review, updates=("amount",))},
    "people as literals": alone(assignee="head", groups=("finance", "{{braces}}")),
    "escalation to others": alone(
        assignee="a",
        groups=("g",),
        escalate=(
            Escalate(after=1, assignee="b"),
            Escalate(after=2, groups=("h",)),
            Escalate(after=3, assignee="a"),
        ),
    ),
    "not by who decided in a loop": flowing(
        lambda first, second: [first.on("go") >> second, second.on("go") >> first],
        first=Decision(options=("go",), not_by=("second",)),
        second=Decision(options=("go",), not_by=["first"]),
    ),
    "time-out of every kind": {
        **(steps := {"a": Pause(within=1), "b": Approval(within=1), "c": Decision(options=("go",), within="due")}),
        "flow": [
            steps["a"] >> steps["b"] >> steps["c"],
            steps["b"].on_reject >> End("rejected"),
            steps["c"].on("go") >> End("gone"),
            *(each.on_timeout >> End("late") for each in steps.values()),
        ],
    },
}


@pytest.mark.rule("declaring-manual-steps")
@pytest.mark.parametrize("body", LEGAL.values(), ids=LEGAL)
def test_what_is_legal(body: dict[str, Any]) -> None:
    assert built(body).name == "example"
