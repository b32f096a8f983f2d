"""Every rule of the authoring language, with the sentence its author reads."""

from __future__ import annotations

import enum
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypedDict

import pytest
from pydantic import BaseModel, ConfigDict, RootModel, SecretStr

from flask_squidmesh.definition import (
    Approval,
    CompensationContext,
    Cron,
    Exponential,
    Fixed,
    Log,
    Manual,
    Pause,
    Retry,
    Step,
    Wait,
    Workflow,
)
from flask_squidmesh.errors import DefinitionError

if TYPE_CHECKING:
    from decimal import Decimal


class Order(BaseModel):
    order_id: str


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")


class Card(BaseModel):
    number: SecretStr


class Purchase(BaseModel):
    cards: list[Card | None]


class Listed(RootModel[list[int]]):
    pass


class Numbered(BaseModel):
    order_id: int


class Known(BaseModel):
    tier: str


@dataclass
class Measured:
    score: int


class Keyed(TypedDict):
    label: str


class Gateway:
    pass


def work() -> dict[str, Any]:
    return {}


def other() -> dict[str, Any]:
    return {}


async def work_later() -> None: ...


def stream() -> Iterator[int]:
    yield 1


async def stream_later() -> AsyncIterator[int]:
    yield 1


def undo(ctx: CompensationContext) -> None: ...


def undo_with(missing_thing: int, /, *rest: int) -> None: ...


def many(*values: int) -> None: ...


def positional(value: int, /) -> None: ...


def unresolved(amount: Decimal) -> None: ...


def foreign_type(gateway: Gateway) -> None: ...


def undoing(ctx: CompensationContext) -> None: ...


def tiered(tier: str) -> None: ...


def known() -> Known:
    return Known(tier="gold")


def measured() -> Measured | None:
    return None


def keyed() -> Keyed:
    return {"label": "a"}


def nothing() -> None: ...


def problems_of(**body: Any) -> tuple[str, ...]:
    """What is wrong with a class of this body; a trigger is added where it has none."""
    body = {"start": Manual(), **body} if "start" not in body else body
    with pytest.raises(DefinitionError) as caught:
        type("Example", (Workflow,), body)
    assert caught.value.workflow == "Example"
    return caught.value.problems


def one(step: Any, **settings: Any) -> dict[str, Any]:
    return {"a": step, **settings}


def flowing(lines: Callable[..., Any], **steps: Any) -> dict[str, Any]:
    """A body of three steps, or those given, and the flow that `lines` makes of them."""
    steps = steps or {"a": Step(work), "b": Step(work), "c": Step(work)}
    return {**steps, "flow": lines(*steps.values())}


def reviewed(lines: Callable[..., Any]) -> dict[str, Any]:
    return flowing(lines, a=Step(work), review=Approval(), c=Step(work), d=Step(work))


def a_step_twice() -> dict[str, Any]:
    step = Step(work)
    return {"a": step, "b": step, "flow": [step]}


def a_step_of_another_class() -> dict[str, Any]:
    step = Step(work)
    type("First", (Workflow,), {"start": Manual(), "reserve": step})
    return {"reserve": step}


def a_foreign_step_in_flow() -> dict[str, Any]:
    here = Step(work)
    return {"a": here, "flow": [here >> Step(other)]}


def an_arrow_from_a_trigger() -> dict[str, Any]:
    start, here = Manual(), Step(work)
    return {"begin": start, "a": here, "flow": [start >> here]}  # type: ignore[operator]


def a_foreign_step_in_after() -> dict[str, Any]:
    return {"a": Step(work, after=[Step(other)])}


def a_step_that_waits_for_itself() -> dict[str, Any]:
    after: list[Any] = []
    step = Step(work, after=after)
    after.append(step)
    return {"a": step, "b": Step(work)}


def a_circle() -> dict[str, Any]:
    after: list[Any] = []
    first = Step(work, after=after)
    second = Step(work, after=[first])
    third = Step(work, after=[second])
    after.append(third)
    return {"a": first, "b": second, "c": third, "root": Step(work)}


def both_styles() -> dict[str, Any]:
    first = Step(work)
    second = Step(work, after=[first])
    return {"a": first, "b": second, "flow": [first >> second]}


def a_step_twice_in_after() -> dict[str, Any]:
    first = Step(work)
    return {"a": first, "b": Step(work, after=[first, first])}


def a_step_alone_in_after() -> dict[str, Any]:
    first = Step(work)
    return {"a": first, "b": Step(work, after=first)}  # type: ignore[arg-type]


NO_TRIGGER = "it has no trigger; write for instance start = Manual(Order)"
NO_STEP = "it has no step; write for instance charge = Step(charge_card)"

WHOLE: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "no trigger": ({"start": None, "a": Step(work)}, (NO_TRIGGER,)),
    "no step": ({}, (NO_STEP,)),
    "neither": ({"start": None}, (NO_TRIGGER, NO_STEP)),
    "no order": (
        {"a": Step(work), "b": Step(work)},
        (
            "nothing says in which order its 2 steps run; write flow = [a >> b], "
            "or after=[...] at each step that waits (after=[] at a root)",
        ),
    ),
    "both styles": (
        both_styles(),
        ("it has both flow and after= (step b); write flow = [...], or after= at each step, not both",),
    ),
    "two names": (
        a_step_twice(),
        ("step b: this is Example.a already; a step has one name in one class, so write b = Step(...) anew",),
    ),
    "two classes": (
        a_step_of_another_class(),
        (
            "step reserve: this is First.reserve already; a step has one name in one class, "
            "so write reserve = Step(...) anew",
        ),
    ),
    "reserved name": (
        {"version": Step(work)},
        ("step version: Workflow has an attribute version of its own; give the step another name",),
    ),
    "reserved flow": (
        {"flow": Step(work)},
        ("step flow: Workflow has an attribute flow of its own; give the step another name",),
    ),
    "reserved trigger": (
        {"name": Manual(), "a": Step(work)},
        ("trigger name: Workflow has an attribute name of its own; give the trigger another name",),
    ),
    "name": (
        one(Step(work), name="check out"),
        ("name: 'check out' is no name; write 1 to 100 letters, digits, underscores, dots or hyphens, as 'checkout'",),
    ),
    "aliases as text": (
        one(Step(work), aliases="old"),
        ("aliases: must be a tuple of names, found 'old'; write aliases = (\"old_name\",)",),
    ),
    "alias not a name": (
        one(Step(work), aliases=("", 3)),
        (
            "aliases: '' is no name; write 1 to 100 letters, digits, underscores, dots or hyphens, as 'checkout'",
            "aliases: 3 is no name; write 1 to 100 letters, digits, underscores, dots or hyphens, as 'checkout'",
        ),
    ),
    "alias of itself": (
        one(Step(work), aliases=("example",)),
        ("aliases: 'example' is the workflow's own name; list only names it had before",),
    ),
    "version": (
        one(Step(work), version=2),
        ('version: must be non-empty text, found 2; write version = "2026-11"',),
    ),
    "subject with attribute": (
        one(Step(work), subject="Order {order.id}"),
        ("subject: holds {order.id}; only plain top-level names can be in braces, as {order_id}",),
    ),
    "subject that nobody provides": (
        {"start": Manual(Order), "a": Step(work), "subject": "Order {orderid}"},
        (
            "subject names {orderid}, but no payload field and no earlier output is called 'orderid'; "
            "known there: order_id",
        ),
    ),
    "max_visits": (
        one(Step(work), max_visits=0),
        ("max_visits: must be a positive whole number, found 0; write max_visits=100",),
    ),
}

TRIGGERS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "no model": (
        {"start": Manual(dict)},  # type: ignore[arg-type]
        (
            "trigger start: the payload's model must be a pydantic BaseModel class with fields, found <class 'dict'>; "
            "write class Order(BaseModel): ...",
        ),
    ),
    "root model": (
        {"start": Manual(Listed)},
        (
            "trigger start: the payload's model must be a pydantic BaseModel class with fields, "
            f"found {Listed!r}; write class Order(BaseModel): ...",
        ),
    ),
    "cron expression": (
        {"start": Cron("0 25 * * *")},
        ("trigger start: the cron expression '0 25 * * *' cannot be read: bad hour",),
    ),
    "cron fields": (
        {"start": Cron("@reboot")},
        (
            "trigger start: the cron expression '@reboot' must have five fields: "
            "minute, hour, day of month, month, day of week",
        ),
    ),
    "cron never": (
        {"start": Cron("0 0 30 2 *")},
        ("trigger start: the cron expression '0 0 30 2 *' cannot be read: bad day-of-month",),
    ),
    "cron zone": (
        {"start": Cron("0 9 * * *", timezone="Europe/Berlino")},
        ("trigger start: there is no time zone 'Europe/Berlino'; write one like timezone=\"Europe/Berlin\"",),
    ),
    "cron idempotency": (
        {"start": Cron("0 9 * * *", idempotency="once")},  # type: ignore[arg-type]
        ("trigger start: idempotency='once' is unknown; write one of return_existing, skip, none",),
    ),
    "cron required field": (
        {"start": Cron("0 9 * * *", Order)},
        (
            "trigger start: a cron trigger starts with its model's defaults, but field order_id has none; "
            "write order_id: str = ...",
        ),
    ),
    "conflicting types": (
        {"start": Manual(Order), "again": Manual(Numbered)},
        (
            "payload field order_id: is str in trigger start and int in trigger again; "
            "give both the same type or different names",
        ),
    ),
    "secret": (
        {"start": Manual(Purchase)},
        (
            "trigger start: payload field cards.number is a secret, and payloads are stored as they are; "
            "write a reference to the secret instead",
        ),
    ),
}

STEPS: dict[str, tuple[Any, tuple[str, ...]]] = {
    "not callable": (Step("work"), ("must call a function, found 'work'; write a = Step(some_function)",)),  # type: ignore[arg-type]
    "class": (Step(Gateway), (f"must call a function, found {Gateway!r}; write a = Step(some_function)",)),
    "flags": (
        Step(work, irreversible=1, compensatable="no", transaction=None),  # type: ignore[arg-type]
        (
            "irreversible=1 must be True or False",
            "compensatable='no' must be True or False",
            "transaction=None must be True or False",
        ),
    ),
    "irreversible and compensatable": (
        Step(work, irreversible=True, compensatable=True),
        ("cannot be irreversible and compensatable; leave out one of the two",),
    ),
    "irreversible with compensation": (
        Step(work, irreversible=True, compensate=undo),
        ("has compensate and irreversible=True, which says that nothing undoes it; leave out one of the two",),
    ),
    "not compensatable with compensation": (
        Step(work, compensatable=False, compensate=undo),
        ("has compensate and compensatable=False, which says that nothing undoes it; leave out one of the two",),
    ),
    "compensation that cannot be called": (
        Step(work, compensate="undo"),  # type: ignore[arg-type]
        ("compensate must be a function, found 'undo'; write compensate=release_inventory",),
    ),
    "compensation that cannot be bound": (
        Step(work, compensate=undo_with),
        (
            "compensate: undo_with: missing_thing is positional only and cannot be bound by name; remove the `/`",
            "compensate: undo_with: *rest cannot be bound by name; name each parameter",
        ),
    ),
    "retry of no compensation": (
        Step(work, compensate_retry=Retry(3)),
        ("compensate_retry has nothing to retry; write compensate=some_function too",),
    ),
    "transaction on a coroutine function": (
        Step(work_later, transaction=True),
        ("transaction=True needs a plain function, found a coroutine function; write def, not async def",),
    ),
    "generator": (Step(stream), ("its function yields, and a step returns its result; write return, not yield",)),
    "async generator": (
        Step(stream_later),
        ("its function yields, and a step returns its result; write return, not yield",),
    ),
    "args": (Step(many), ("many: *values cannot be bound by name; name each parameter",)),
    "positional only": (
        Step(positional),
        ("positional: value is positional only and cannot be bound by name; remove the `/`",),
    ),
    "unreadable signature": (
        Step(max),
        ("max: its parameters cannot be read; wrap it in a function of your own",),
    ),
    "unresolved annotation": (
        Step(unresolved),
        (
            "unresolved: its annotations cannot be resolved (name 'Decimal' is not defined); import what they name "
            "at the top of its module and when that runs, not under TYPE_CHECKING",
        ),
    ),
    "annotation that pydantic does not know": (
        Step(foreign_type),
        (
            "foreign_type: gateway is annotated Gateway, which pydantic cannot validate; "
            "annotate it with JSON types, a pydantic model or a dataclass",
        ),
    ),
    "compensation's context in a step": (
        Step(undoing),
        ("undoing: ctx is annotated CompensationContext, which only compensations get; write StepContext",),
    ),
    "input not a mapping": (
        Step(work, input=["tier"]),  # type: ignore[arg-type]
        ('input=[\'tier\'] must map parameters to paths; write input={"account_id": "account.id"}',),
    ),
    "input of no parameter": (
        Step(tiered, input={"tear": "account.tier"}),
        ("tiered: input= names 'tear', which is no parameter of the function; it takes tier",),
    ),
    "input path": (
        Step(tiered, input={"tier": "account..tier"}),
        (
            "tiered: input= gives tier the path 'account..tier'; write names joined by dots, "
            'as input={"tier": "account.id"}',
        ),
    ),
    "input of the context": (
        Step(undoing, input={"ctx": "a"}),
        (
            "undoing: input= names ctx, which takes the context; remove it from input=",
            "undoing: ctx is annotated CompensationContext, which only compensations get; write StepContext",
        ),
    ),
    "output": (
        Step(work, output="my account"),
        ("output='my account' must be a plain name; write output=\"account\"",),
    ),
    "max_visits": (
        Step(work, max_visits=True),
        ("max_visits: must be a positive whole number, found True; write max_visits=100",),
    ),
    "retry": (
        Step(work, retry=3),  # type: ignore[arg-type]
        ("retry=3 must be a Retry; write retry=Retry(5, backoff=Exponential(1, 30))",),
    ),
    "attempts": (
        Step(work, retry=Retry(0)),
        ("retry: the number of attempts must be a positive whole number, found 0; write Retry(5)",),
    ),
    "backoff": (
        Step(work, retry=Retry(2, backoff=3)),  # type: ignore[arg-type]
        ("retry: backoff=3 is unknown; write Exponential(1, 30) or Fixed(2)",),
    ),
    "backoff that shrinks": (
        Step(work, retry=Retry(2, backoff=Exponential(30, 1))),
        (
            "retry: Exponential(first=30, most=1) must have delays over 0 seconds, at most 100 years, "
            "the first not over the most; write Exponential(1, 30) or Fixed(2)",
        ),
    ),
    "backoff of nothing": (
        Step(work, compensate=undo, compensate_retry=Retry(2, backoff=Fixed(0))),
        (
            "compensate_retry: Fixed(delay=0) must have delays over 0 seconds, at most 100 years, "
            "the first not over the most; write Exponential(1, 30) or Fixed(2)",
        ),
    ),
    "jitter": (
        Step(work, retry=Retry(2, jitter=1.5)),
        ("retry: jitter=1.5 must be a fraction from 0 to 1; write jitter=0.2",),
    ),
    "retried exceptions": (
        Step(work, retry=Retry(2, on=("Busy",))),  # type: ignore[arg-type]
        ("retry: on=('Busy',) must be exception classes; write on=(GatewayBusy,)",),
    ),
    "wait": (Wait(0), ("must wait a positive time of at most 100 years, found 0; write Wait(timedelta(hours=1))",)),
    "endless wait": (
        Wait(float("inf")),
        ("must wait a positive time of at most 100 years, found inf; write Wait(timedelta(hours=1))",),
    ),
    "too long wait": (
        Wait(1e20),
        ("must wait a positive time of at most 100 years, found 1e+20; write Wait(timedelta(hours=1))",),
    ),
    "wait of text": (
        Wait("1h"),  # type: ignore[arg-type]
        ("must wait a positive time of at most 100 years, found '1h'; write Wait(timedelta(hours=1))",),
    ),
    "message": (Log("  "), ("the message must be non-empty text, found '  '",)),
    "message with an index": (
        Log("{order[0]} {0} {} {a!r} {b:>3}"),
        (
            "the message holds {order[0]}; only plain top-level names can be in braces, as {order_id}",
            "the message holds {0}; only plain top-level names can be in braces, as {order_id}",
            "the message holds {}; only plain top-level names can be in braces, as {order_id}",
            "the message holds {a!r}; only plain top-level names can be in braces, as {order_id}",
            "the message holds {b:>3}; only plain top-level names can be in braces, as {order_id}",
        ),
    ),
    "level": (
        Log("hello", level="loud"),  # type: ignore[arg-type]
        ("level='loud' is unknown; write one of debug, info, warning, error",),
    ),
    "prompt": (
        Pause(prompt="Go {on"),
        (
            "the prompt has unmatched braces (expected '}' before end of string); "
            "write {name}, or {{ and }} for braces themselves",
        ),
    ),
    "permission": (
        Pause(permission=""),
        ("permission='' must be non-empty text; write permission=\"payments.review\"",),
    ),
    "within": (
        Pause(within=timedelta(0)),
        ("within=datetime.timedelta(0) must be a positive time of at most 100 years; write within=timedelta(hours=4)",),
    ),
    "approval alone": (
        Approval(),
        (
            "nothing says where an approval leads; write a >> some_step in flow",
            "nothing says where a rejection leads; write a.on_reject >> some_step in flow",
        ),
    ),
}

FLOWS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "not a list": (
        flowing(lambda a, b, c: a >> b >> c),
        ("flow: must be a list of chains, found a chain; write flow = [first >> second]",),
    ),
    "empty": (
        flowing(lambda a: [], a=Step(work)),
        ("flow: must be a list of chains, found []; write flow = [first >> second]",),
    ),
    "strange line": (
        flowing(lambda a, b, c: [a >> b >> c, "a >> b"]),
        ("flow: 'a >> b' is no line of a flow; write first >> second",),
    ),
    "route to nowhere": (
        flowing(lambda a, b, c: [a >> b >> c, a.on_error]),
        ("flow: a.on_error leads nowhere; write a.on_error >> some_step",),
    ),
    "route to something else": (
        flowing(lambda a, b, c: [a >> b >> c >> "complete"]),
        (
            "transition c >> 'complete': leads to something that is no step; "
            'a step without a route ends the run by itself, and End("rejected") says how',
        ),
    ),
    "foreign step": (
        a_foreign_step_in_flow(),
        ("transition a >> Step(other): Step(other) is no step of this class; declare it in the class body",),
    ),
    "trigger": (
        an_arrow_from_a_trigger(),
        (
            "transition Example.begin >> a: starts from something that is no step; "
            "flow starts with its first step, whatever the trigger",
        ),
    ),
    "chain that goes on from a route": (
        flowing(lambda a, b, c: [a >> b.on_error >> c]),
        (
            "transition a >> b.on_error: a chain cannot go on from a route; "
            "write two lines, ... >> b and b.on_error >> ...",
        ),
    ),
    "second plain route": (
        flowing(lambda a, b, c: [a >> b, a >> c]),
        (
            "transition a >> c: a >> b is there already, and only one route can have no condition; "
            "remove one of the two, or write a.when(...) >> ...",
        ),
    ),
    "second error route": (
        flowing(lambda a, b, c: [a.on_error >> b, a.on_error(recovery="undo") >> c]),
        ("transition a.on_error(recovery='undo') >> c: a.on_error >> b is there already; remove one of the two",),
    ),
    "same condition": (
        flowing(lambda a, b, c: [a.when("x", equals=1) >> b, a.when("x", equals=1) >> c]),
        (
            "transition a.when('x', equals=1) >> c: an earlier route has the same condition, "
            "so this one is never taken; remove one of the two",
        ),
    ),
    "no test": (
        flowing(lambda a, b, c: [a.when("x") >> b >> c]),
        ("transition a.when('x') >> b: has 0 tests; write exactly one of equals=, greater_than= or less_than=",),
    ),
    "two tests": (
        flowing(lambda a, b, c: [a.when("x", greater_than=1, less_than=3) >> b >> c]),
        (
            "transition a.when('x', greater_than=1, less_than=3) >> b: has 2 tests; "
            "write exactly one of equals=, greater_than= or less_than=",
        ),
    ),
    "bad path": (
        flowing(lambda a, b, c: [a.when("", equals=1) >> b >> c]),
        (
            "transition a.when('', equals=1) >> b: the path '' is not one; "
            'write names joined by dots, as "account.tier"',
        ),
    ),
    "no order": (
        flowing(lambda a, b, c: [a.when("x", less_than=True) >> b >> c]),
        ("transition a.when('x', less_than=True) >> b: less_than=True has no order; compare with a number or text",),
    ),
    "no JSON": (
        flowing(lambda a, b, c: [a.when("x", equals=float("nan")) >> b >> c]),
        (
            "transition a.when('x', equals=nan) >> b: equals=nan can never be found in a state, which is JSON "
            "(a number must be finite, found NaN or an infinity)",
        ),
    ),
    "condition out of an approval": (
        reviewed(lambda a, review, c, d: [a >> review, review.when("x", equals=1) >> c, review.on_reject >> d]),
        (
            "transition review.when('x', equals=1) >> c: of an approval only what an option leads to has conditions; "
            "write review.on(\"approve\").when('x', equals=1) >> ...",
            "step review: nothing says where an approval leads when no condition holds; "
            "write review >> some_step in flow",
        ),
    ),
    "error route of an approval": (
        reviewed(lambda a, review, c, d: [a >> review >> c, review.on_reject >> d, review.on_error >> d]),
        (
            "transition review.on_error >> d: only a Step can fail, and review is declared as Approval; "
            "write review.on_reject",
        ),
    ),
    "error route of a wait": (
        flowing(lambda a, b, c: [a >> b, a.on_error >> c], a=Wait(1), b=Step(work), c=Step(work)),
        ("transition a.on_error >> c: only a Step can fail, and a is declared as Wait; write a >> ...",),
    ),
    "rejection of a step": (
        flowing(lambda a, b, c: [a >> b, a.on_reject >> c]),
        ("transition a.on_reject >> c: only an Approval can be rejected, and a is declared as Step; write a.on_error",),
    ),
    "rejection of a pause": (
        flowing(lambda a, b, c: [a >> b, a.on_reject >> c], a=Pause(), b=Step(work), c=Step(work)),
        (
            "transition a.on_reject >> c: only an Approval can be rejected, and a is declared as Pause; "
            "write a = Approval(...)",
        ),
    ),
    "recovery of a rejection": (
        reviewed(lambda a, review, c, d: [a >> review >> c, review.on_reject(recovery="undo") >> d]),
        (
            "transition review.on_reject(recovery='undo') >> d: only an error route has a recovery; "
            "write review.on_error(recovery='undo') >> ...",
        ),
    ),
    "unknown recovery": (
        flowing(lambda a, b, c: [a >> b, a.on_error(recovery="retry") >> c]),
        (
            "transition a.on_error(recovery='retry') >> c: recovery='retry' is unknown; "
            'write recovery="compensation" or recovery="undo"',
        ),
    ),
    "approval without routes": (
        reviewed(lambda a, review, c, d: [a >> review >> c, a.on_error >> d]),
        ("step review: nothing says where a rejection leads; write review.on_reject >> some_step in flow",),
    ),
    "step outside": (
        flowing(lambda a, b, c: [a >> b]),
        ("step c: no line of flow leads to it; write ... >> c, or remove it",),
    ),
    "two entries": (
        flowing(lambda a, b, c: [a >> b, c >> b]),
        (
            "there are two entry steps, a and c, and flow starts with its first step; "
            "write a >> ... >> c, or name c first",
        ),
    ),
    "island": (
        flowing(lambda a, b, c: [a, b >> c, c.when("again", equals=True) >> b]),
        ("steps b and c cannot be reached from a; write a route ... >> b, or remove them",),
    ),
    "restless loop": (
        flowing(lambda a, b, c: [a >> b >> c >> b]),
        (
            "steps b and c: a loop without a manual step, a wait or a condition; "
            'write b.when("done", equals=True) >> ... as the way out',
        ),
    ),
    "loop along an error route": (
        flowing(lambda a, b, c: [a >> b, a.on_error >> c >> a]),
        (
            "steps a and c: a loop without a manual step, a wait or a condition; "
            'write a.when("done", equals=True) >> ... as the way out',
        ),
    ),
    "loop of one": (
        flowing(lambda a: [a >> a], a=Step(work)),
        (
            "step a: a loop without a manual step, a wait or a condition; "
            'write a.when("done", equals=True) >> ... as the way out',
        ),
    ),
}

DEPENDENCIES: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "foreign step": (
        a_foreign_step_in_after(),
        ("step a: after= names Step(other), which is no step of this class; declare it in the class body, above",),
    ),
    "itself": (a_step_that_waits_for_itself(), ("step a: cannot wait for itself; remove it from after=",)),
    "circle": (
        a_circle(),
        ("steps a, c and b wait for each other in a circle; remove one of them from an after=",),
    ),
    "twice": (a_step_twice_in_after(), ("step b: after= names a twice; write it once",)),
    "not a list": (
        a_step_alone_in_after(),
        ("step b: after= must be a list of steps, found a; write after=[a]",),
    ),
}


def with_input(path: str, **more: Any) -> dict[str, Any]:
    return {"a": Step(tiered, input={"tier": path}), **more}


def after_known(first: Callable[..., Any], **options: Any) -> dict[str, Any]:
    a = Step(first, **options)
    b = Step(tiered, input={"tier": "account.tier"})
    return {"start": Manual(Order), "a": a, "b": b, "flow": [a >> b]}


def conditional_on(path: str) -> dict[str, Any]:
    a, b = Step(measured), Step(nothing)
    return {"a": a, "b": b, "flow": [a.when(path, equals=1) >> b]}


UNAVAILABLE: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "first step": (
        {"start": Manual(Order), "a": Step(tiered)},
        (
            "step a: parameter tier is bound by its name, but no payload field and no earlier output is called 'tier'; "
            "known there: order_id",
        ),
    ),
    "input path": (
        with_input("account.tier"),
        (
            "step a: parameter tier takes 'account.tier', but no payload field and no earlier output is called "
            "'account'; known there: nothing",
        ),
    ),
    "after an output key": (
        after_known(work, output="acount"),
        (
            "step b: parameter tier takes 'account.tier', but no payload field and no earlier output is called "
            "'account'; known there: acount, order_id",
        ),
    ),
    "after a model": (
        after_known(known),
        (
            "step b: parameter tier takes 'account.tier', but no payload field and no earlier output is called "
            "'account'; known there: order_id, tier",
        ),
    ),
    "after a dataclass": (
        after_known(measured),
        (
            "step b: parameter tier takes 'account.tier', but no payload field and no earlier output is called "
            "'account'; known there: order_id, score",
        ),
    ),
    "after a TypedDict": (
        after_known(keyed),
        (
            "step b: parameter tier takes 'account.tier', but no payload field and no earlier output is called "
            "'account'; known there: label, order_id",
        ),
    ),
    "compensation": (
        {"a": Step(nothing, compensate=tiered)},
        (
            "step a: compensate: parameter tier is bound by its name, but no payload field and no earlier output is "
            "called 'tier'; known there: nothing",
        ),
    ),
    "condition": (
        conditional_on("scores.total"),
        (
            "transition a.when(\"scores.total\", ...): reads 'scores.total', but no payload field "
            "and no earlier output is called 'scores'; known there: score",
        ),
    ),
    "message": (
        {"start": Manual(Order), "a": Log("{order_id} {day}")},
        (
            "step a: the message names {day}, but no payload field and no earlier output is called 'day'; "
            "known there: order_id",
        ),
    ),
    "prompt": (
        {"a": Pause(prompt="{day}?")},
        (
            "step a: the prompt names {day}, but no payload field and no earlier output is called 'day'; "
            "known there: nothing",
        ),
    ),
}


@pytest.mark.rule("declaring-shape")
@pytest.mark.parametrize(("body", "expected"), WHOLE.values(), ids=WHOLE)
def test_rules_of_the_whole(body: dict[str, Any], expected: tuple[str, ...]) -> None:
    assert problems_of(**body) == expected


@pytest.mark.rule("declaring-triggers")
@pytest.mark.parametrize(("body", "expected"), TRIGGERS.values(), ids=TRIGGERS)
def test_rules_of_triggers(body: dict[str, Any], expected: tuple[str, ...]) -> None:
    assert problems_of(**body, a=Step(work)) == expected


@pytest.mark.rule("declaring-steps")
@pytest.mark.parametrize(("step", "expected"), STEPS.values(), ids=STEPS)
def test_rules_of_a_step(step: Any, expected: tuple[str, ...]) -> None:
    found = problems_of(start=Manual(Open), a=step)
    assert tuple(each.removeprefix("step a: ") for each in found) == expected


@pytest.mark.rule("declaring-flow", "declaring-loops")
@pytest.mark.parametrize(("body", "expected"), FLOWS.values(), ids=FLOWS)
def test_rules_of_a_flow(body: dict[str, Any], expected: tuple[str, ...]) -> None:
    assert problems_of(start=Manual(Open), **body) == expected


@pytest.mark.rule("declaring-after")
@pytest.mark.parametrize(("body", "expected"), DEPENDENCIES.values(), ids=DEPENDENCIES)
def test_rules_of_dependencies(body: dict[str, Any], expected: tuple[str, ...]) -> None:
    assert problems_of(**body) == expected


@pytest.mark.rule("declaring-names")
@pytest.mark.parametrize(("body", "expected"), UNAVAILABLE.values(), ids=UNAVAILABLE)
def test_names_that_nothing_provides(body: dict[str, Any], expected: tuple[str, ...]) -> None:
    assert problems_of(**body) == expected


@pytest.mark.rule("declaring-all-at-once")
def test_all_problems_come_at_once_and_the_message_lists_them() -> None:
    found = problems_of(start=None, a=Step("x"), b=Wait(0), max_visits=-1)  # type: ignore[arg-type]
    assert len(found) == 5
    with pytest.raises(DefinitionError, match=r"Workflow Example is not valid:\n- max_visits: .*\n- it has no trigger"):
        type("Example", (Workflow,), {"max_visits": -1, "a": Step(work)})


@pytest.mark.rule("declaring-base")
def test_a_workflow_cannot_extend_another() -> None:
    class First(Workflow):
        start = Manual()
        a = Step(work)

    with pytest.raises(DefinitionError) as caught:
        type("Second", (First,), {"start": Manual(), "b": Step(work)})
    assert caught.value.problems == (
        "it extends workflow First, and steps cannot be inherited; derive it from Workflow",
    )


@pytest.mark.rule("declaring-base")
def test_an_abstract_base_holds_settings_only() -> None:
    class Base(Workflow, abstract=True):
        version = "7"
        max_visits = 3

    class Real(Base):
        start = Manual()
        a = Step(work)

    assert (Real.__squidmesh__.version, Real.__squidmesh__.max_visits) == ("7", 3)
    assert not hasattr(Base, "__squidmesh__")
    with pytest.raises(DefinitionError, match="a: an abstract workflow holds settings only"):

        class Wrong(Workflow, abstract=True):
            a = Step(work)


class Level(enum.Enum):
    HIGH = "high"


LEGAL: dict[str, dict[str, Any]] = {
    "one step without flow": one(Step(work)),
    "one step in flow": flowing(lambda a: [a], a=Step(work)),
    "one root": one(Step(work, after=[])),
    "pause at the end": flowing(lambda a, b: [a >> b], a=Step(work), b=Pause()),
    "approval among dependencies": {"a": Approval(after=[]), "b": Step(work)},
    "error route that goes on": flowing(lambda a, b, c: [a.on_error >> b >> c]),
    "brackets": flowing(lambda a, b, c: [a >> (b >> c)]),
    "rework loop to the entry": reviewed(lambda a, review, c, d: [a >> review >> c, review.on_reject >> d >> a]),
    "loop with a wait": flowing(lambda a, b, c: [a >> b >> c >> a], a=Step(work), b=Wait(1), c=Step(work)),
    "loop with a condition": flowing(lambda a, b, c: [a.when("done", equals=True) >> c, a >> b >> a]),
    "conditions without fallback": flowing(lambda a, b, c: [a.when("x", equals=1) >> b, a.when("x", equals=2) >> c]),
    "condition on null": flowing(lambda a, b, c: [a.when("x", equals=None) >> b >> c]),
    "condition on true and one": flowing(lambda a, b, c: [a.when("x", equals=True) >> b, a.when("x", equals=1) >> c]),
    "condition on an enum": flowing(lambda a, b, c: [a.when("x", equals=Level.HIGH) >> b >> c]),
    "unknown output before": after_known(work),
    "payload with extras": {"start": Manual(Open), "a": Step(tiered)},
    "schedule of a cron trigger": {"start": Cron("0 9 * * *"), "a": Step(tiered, input={"tier": "schedule.window"})},
    "one exception to retry on": one(Step(work, irreversible=True, retry=Retry(2, on=ValueError))),
    "delays as timedeltas": one(
        Step(work, retry=Retry(2, backoff=Exponential(timedelta(seconds=1), timedelta(hours=1))))
    ),
    "lambda": one(Step(lambda: None)),
    "coroutine compensation": one(Step(work, compensate=work_later)),
}


@pytest.mark.rule("declaring-manual-steps")
@pytest.mark.parametrize("body", LEGAL.values(), ids=LEGAL)
def test_what_is_legal(body: dict[str, Any]) -> None:
    body = {"start": Manual(), **body}
    assert type("Example", (Workflow,), body).__squidmesh__.name == "example"  # type: ignore[attr-defined]


@pytest.mark.rule("decision-record-name")
def test_a_record_takes_the_place_of_no_payload_field() -> None:
    with pytest.raises(DefinitionError, match="its record would take the place of the payload field 'order_id'"):

        class Asked(Workflow):
            start = Manual(Order)
            order_id = Approval()
            done = Step(work)
            flow = [order_id >> done, order_id.on_reject >> done]

    class Named(Workflow):
        start = Manual(Order)
        order_id = Approval(output="review")
        done = Step(work)
        flow = [order_id >> done, order_id.on_reject >> done]
