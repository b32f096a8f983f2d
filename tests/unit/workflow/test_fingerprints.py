"""What changes the fingerprint of a definition, and what does not."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from flask_squidmesh.definition import Approval, Exponential, Log, Manual, Pause, Retry, Step, Wait, Workflow


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
