"""What changes the fingerprint of a definition, and what does not."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from pydantic import BaseModel

from flask_squidmesh.definition import (
    Approval,
    Deadline,
    Decision,
    End,
    Escalate,
    Exponential,
    Log,
    Manual,
    Option,
    Pause,
    Retry,
    Step,
    Wait,
    Workflow,
)


def work() -> dict[str, Any]:
    return {}


def rework() -> dict[str, Any]:
    return {"more": 1}


def fingerprint(
    *,
    first: Callable[[], Any] = lambda: Step(work),
    second: Callable[[], Any] = lambda: Wait(1),
    flow: Callable[..., Any] = lambda a, b, c: [a >> b >> c],
    **settings: Any,
) -> str:
    a, b, c = first(), second(), Step(work)
    body = {"start": Manual(), "a": a, "b": b, "c": c, "flow": flow(a, b, c), **settings}
    return str(type("Example", (Workflow,), body).__squidmesh__.fingerprint)  # type: ignore[attr-defined]


CHANGES: dict[str, dict[str, Any]] = {
    "retry": {"first": lambda: Step(work, retry=Retry(2))},
    "backoff": {"first": lambda: Step(work, retry=Retry(2, backoff=Exponential(1, 2)))},
    "jitter": {"first": lambda: Step(work, retry=Retry(2, jitter=0.5))},
    "retried exceptions": {"first": lambda: Step(work, retry=Retry(2, on=ValueError))},
    "output": {"first": lambda: Step(work, output="account")},
    "irreversible": {"first": lambda: Step(work, irreversible=True)},
    "not compensatable": {"first": lambda: Step(work, compensatable=False)},
    "compensation": {"first": lambda: Step(work, compensate=rework)},
    "transaction": {"first": lambda: Step(work, transaction=True)},
    "visits": {"first": lambda: Step(work, max_visits=3)},
    "kind": {"second": lambda: Log("hello")},
    "duration": {"second": lambda: Wait(2)},
    "manual": {"second": Pause},
    "order": {"flow": lambda a, b, c: [b >> a >> c]},
    "condition": {"flow": lambda a, b, c: [a.when("x", equals=1) >> b >> c]},
    "other condition": {"flow": lambda a, b, c: [a.when("x", equals=True) >> b >> c]},
    "error route": {"flow": lambda a, b, c: [a >> b, a.on_error >> c]},
    "recovery": {"flow": lambda a, b, c: [a >> b, a.on_error(recovery="undo") >> c]},
}

STAYS: dict[str, dict[str, Any]] = {
    "docstring": {"__doc__": "Something else."},
    "version": {"version": "2"},
    "function": {"first": lambda: Step(rework)},
    "same duration": {"second": lambda: Wait(timedelta(seconds=1))},
}


@pytest.mark.rule("fingerprint")
def test_every_change_of_what_is_done_shows() -> None:
    found = [fingerprint(), *(fingerprint(**options) for options in CHANGES.values())]
    assert len(set(found)) == len(found)


@pytest.mark.parametrize("options", STAYS.values(), ids=STAYS)
def test_what_does_not_show(options: dict[str, Any]) -> None:
    assert fingerprint(**options) == fingerprint()


@pytest.mark.rule("fingerprint-wording")
def test_wording_does_not_show() -> None:
    def of(prompt: str) -> str:
        review, a, b = Approval(prompt=prompt), Step(work), Step(work)
        body = {"start": Manual(), "review": review, "a": a, "b": b, "flow": [review >> a, review.on_reject >> b]}
        return str(type("Example", (Workflow,), body).__squidmesh__.fingerprint)  # type: ignore[attr-defined]

    assert of("Capture?") == of("Really capture?")


def test_it_is_the_same_in_every_process() -> None:
    program = """
from flask_squidmesh.definition import Manual, Retry, Step, Workflow
class Example(Workflow):
    start = Manual()
    a = Step(lambda: None, retry=Retry(3, on={ValueError, KeyError, OSError}))
print(Example.__squidmesh__.fingerprint)
"""
    found = {
        subprocess.run(
            [sys.executable, "-c", program], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("1", "2")
    }
    assert len(found) == 1


class Amount(BaseModel):
    amount: int = 0


def of_a_decision(
    flow: Callable[..., Any] = lambda a, review, c: [a >> review, review.on("yes") >> c, review.on("no") >> c],
    deadline: Deadline | None = None,
    **arguments: Any,
) -> str:
    given = {"options": ("yes", "no"), "form": Amount, "within": 60, **arguments}
    a, review, c = Decision(options=("go",)), Decision(**given), Step(work)
    lines = [a.on("go") >> review, *flow(a.on("go"), review, c)[1:]]
    body = {"start": Manual(Amount), "a": a, "review": review, "c": c, "flow": lines}
    return str(type("Example", (Workflow,), body, deadline=deadline).__squidmesh__.fingerprint)  # type: ignore[attr-defined]


OF_A_DECISION: dict[str, dict[str, Any]] = {
    "nothing": {},
    "options": {
        "options": ("yes", "no", "later"),
        "flow": lambda a, review, c: [a, *(review.on(name) >> c for name in ("yes", "no", "later"))],
    },
    "their order, of which the first counts": {"options": ("no", "yes")},
    "where one leads": {
        "flow": lambda a, review, c: [a, review.on("yes") >> c, review.on("no") >> review],
    },
    "an end": {"flow": lambda a, review, c: [a, review.on("yes") >> c, review.on("no") >> End("refused")]},
    "an end that compensates": {
        "flow": lambda a, review, c: [a, review.on("yes") >> c, review.on("no") >> End("refused", compensate=True)]
    },
    "a condition": {
        "flow": lambda a, review, c: [
            a,
            review.on("yes").when("amount", equals=1) >> review,
            review.on("yes") >> c,
            review.on("no") >> c,
        ]
    },
    "time-out": {
        "flow": lambda a, review, c: [a, review.on("yes") >> c, review.on("no") >> c, review.on_timeout >> c],
    },
    "output": {"output": "answer"},
    "updates": {"updates": ("amount",)},
    "approvals": {"approvals": 2},
    "not the starter": {"not_starter": True},
    "not by": {"not_by": ("a",)},
    "deadline": {"deadline": Deadline(60)},
    "later deadline": {"deadline": Deadline(61)},
    "deadline that cancels": {"deadline": Deadline(60, cancel=True)},
    "deadline that cancels and compensates": {"deadline": Deadline(60, cancel=True, compensate=True)},
}

OF_NO_DECISION: dict[str, dict[str, Any]] = {
    "prompt": {"prompt": "Go?"},
    "permission": {"permission": "review"},
    "form": {"form": None},
    "input": {"input": {"amount": "amount"}},
    "comment": {"options": (Option("yes", comment_required=True), "no")},
    "people": {"assignee": "dana", "groups": ("finance",)},
    "time": {"within": "amount"},
    "reminders": {"remind": 3},
    "escalation": {"escalate": Escalate(after=3, assignee="head")},
}


@pytest.mark.rule("fingerprint")
def test_every_change_of_what_people_decide_shows() -> None:
    found = [of_a_decision(**options) for options in OF_A_DECISION.values()]
    assert len(set(found)) == len(found)


@pytest.mark.rule("fingerprint-wording")
@pytest.mark.parametrize("options", OF_NO_DECISION.values(), ids=OF_NO_DECISION)
def test_who_is_asked_and_how_does_not_show(options: dict[str, Any]) -> None:
    assert of_a_decision(**options) == of_a_decision()


def test_when_a_wait_is_over_shows() -> None:
    found = {
        fingerprint(second=second) for second in (lambda: Wait(1), lambda: Wait(until="a"), lambda: Wait(until="b"))
    }
    assert len(found) == 3


def test_conditions_of_a_rejection_show() -> None:
    def of(*extra: Callable[..., Any]) -> str:
        review, a, b = Approval(), Step(work), Step(work)
        flow = [review >> a, review.on_reject >> b, *(each(review, a) for each in extra)]
        body = {"start": Manual(Amount), "review": review, "a": a, "b": b, "flow": flow}
        return str(type("Example", (Workflow,), body).__squidmesh__.fingerprint)  # type: ignore[attr-defined]

    assert of() != of(lambda review, a: review.on("reject").when("amount", equals=1) >> a)


@pytest.mark.rule("fingerprint-lasting")
def test_a_workflow_that_uses_nothing_new_keeps_its_fingerprint() -> None:
    class Flowing(Workflow):
        start = Manual()
        a = Step(work, retry=Retry(3, backoff=Exponential(1, 30)), compensate=rework)
        review = Approval("Go?", within=timedelta(hours=1), approvals=2, not_starter=True, permission="p")
        hold = Pause("Well?", output="held")
        b = Wait(5)
        c = Log("x")
        d = Step(work, irreversible=True, aliases=("dd",))
        flow = [
            a.when("x", equals=1) >> review,
            a >> hold,
            review >> hold >> b >> c,
            review.on_reject >> d,
            a.on_error(recovery="undo") >> d,
        ]

    class Depending(Workflow):
        start = Manual()
        a = Step(work, after=[])
        r = Approval(after=[a])
        b = Step(work, after=[a, r], max_visits=3)

    assert [each.__squidmesh__.fingerprint for each in (Flowing, Depending)] == [
        "7bd05c33470cd4672b4b039e0053894bc84aafc9212ed18b8edba606e0b3bc8a",
        "13b4542f99fcdff512319e067eb6c0f512e2a21696f52ce064c301aba54c71a3",
    ]
