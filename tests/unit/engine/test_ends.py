"""The kernel alone: how a run says that it ended, wherever an End stands and whatever led it off its way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest

from flask_squidmesh import Approval, Decision, DefinitionError, End, Manual, Pause, Step, Workflow
from tests.unit.engine.test_any_facts import KeptRun, possible, work

HOUR = timedelta(hours=1)


def steps() -> dict[str, Any]:
    return {
        "a": Step(work, compensate=work),
        "ask": Decision("Well?", options=("go", "stop"), within=HOUR),
        "review": Approval("Good?", within=HOUR),
        "hold": Pause("Look", within=HOUR),
        "b": Step(work),
        "c": Step(work),
    }


Route = Callable[[dict[str, Any], Any], list[Any]]
PLACES: dict[str, tuple[Route, Sequence[str]]] = {
    "a plain route": (lambda s, end: [s["a"] >> end], ("do a",)),
    "an error route": (lambda s, end: [s["a"] >> s["c"] >> s["b"], s["c"].on_error >> end], ("do a", "fail c")),
    "an option": (
        lambda s, end: [s["a"] >> s["ask"], s["ask"].on("go") >> end, s["ask"].on("stop") >> s["b"]],
        ("do a", "option go step ask"),
    ),
    "the second option": (
        lambda s, end: [s["a"] >> s["ask"], s["ask"].on("go") >> s["b"], s["ask"].on("stop") >> end],
        ("do a", "option stop step ask"),
    ),
    "an approval": (
        lambda s, end: [s["a"] >> s["review"] >> end, s["review"].on_reject >> s["b"]],
        ("do a", "approved step review"),
    ),
    "a rejection": (
        lambda s, end: [s["a"] >> s["review"] >> s["b"], s["review"].on_reject >> end],
        ("do a", "rejected step review"),
    ),
    "the time-out of a decision": (
        lambda s, end: [
            *(s["a"] >> s["ask"], s["ask"].on("go") >> s["b"], s["ask"].on("stop") >> s["c"]),
            s["ask"].on_timeout >> end,
        ],
        ("do a", "timer step ask"),
    ),
    "the time-out of a pause": (
        lambda s, end: [s["a"] >> s["hold"] >> s["b"], s["hold"].on_timeout >> end],
        ("do a", "timer step hold"),
    ),
    "a pause": (lambda s, end: [s["a"] >> s["hold"] >> end], ("do a", "resumed step hold")),
    "a step behind a rejection": (
        lambda s, end: [s["a"] >> s["review"] >> s["b"], s["review"].on_reject >> s["c"] >> end],
        ("do a", "rejected step review", "do c"),
    ),
}


def built(flow: Callable[[dict[str, Any]], list[Any]]) -> type[Workflow]:
    """The workflow of this flow, with the steps that it asks for alone."""

    class Asked(dict[str, Any]):
        def __missing__(self, name: str) -> Any:
            self[name] = steps()[name]
            return self[name]

    asked = Asked()
    lines = flow(asked)
    return type("Ending", (Workflow,), {"place": Manual(), **asked, "flow": lines})


def go(kept: KeptRun, *doings: str) -> None:
    """Have these things happen: "do a" claims and completes it, "fail a" claims and fails it."""
    for doing in doings:
        verb, _, step = doing.partition(" ")
        names = [doing]
        if verb in ("do", "fail"):
            names = [f"claim step {step}", f"{'complete' if verb == 'do' else 'refuse'} step {step}"]
        for name in names:
            choices = possible(kept)
            chosen = [happens for told, happens in choices.items() if told.startswith(name)]
            assert chosen, (name, [*choices])
            chosen[0]()


@pytest.mark.rule("outcome-end")
@pytest.mark.parametrize("compensate", [False, True])
@pytest.mark.parametrize("place", PLACES)
def test_an_end_ends_the_run_wherever_it_stands(place: str, compensate: bool) -> None:
    route, doings = PLACES[place]
    kept = KeptRun(built(lambda made: route(made, End("done_so", compensate=compensate))).__squidmesh__)
    go(kept, *doings)
    assert (kept.run.status, kept.outcome) == ("completed", "done_so")
    assert kept.run.compensation == ("running" if compensate else None)
    if compensate:
        [undone] = [row for row in kept.rows.values() if row.kind == "compensation"]
        assert undone.step == "a"
        go(kept, "claim compensation a", "complete compensation a")
        assert kept.run.compensation == "completed"
    assert not kept.dispatches


def rejecting(s: dict[str, Any]) -> list[Any]:
    return [
        s["a"] >> s["review"] >> s["b"],
        s["review"].on_reject >> s["c"] >> s["review"],
        s["review"].on_timeout >> s["c"],
    ]


def erring(s: dict[str, Any]) -> list[Any]:
    return [s["a"] >> s["c"] >> s["hold"] >> s["b"], s["c"].on_error >> s["hold"], s["hold"].on_timeout >> s["c"]]


@pytest.mark.rule("outcome-diverted")
@pytest.mark.parametrize(
    ("flow", "doings", "outcome"),
    [
        (rejecting, ("do a", "approved step review", "do b"), None),
        (rejecting, ("do a", "rejected step review", "do c", "approved step review", "do b"), None),
        (rejecting, ("do a", "timer step review", "do c", "approved step review", "do b"), None),
        (erring, ("do a", "fail c", "resumed step hold", "do b"), "error_route"),
        (erring, ("do a", "do c", "timer step hold", "do c", "resumed step hold", "do b"), None),
        (erring, ("do a", "fail c", "timer step hold", "do c", "resumed step hold", "do b"), None),
        (erring, ("do a", "do c", "timer step hold", "fail c", "resumed step hold", "do b"), "error_route"),
    ],
)
def test_what_led_a_run_off_its_way_is_its_outcome_until_that_step_ends_well(
    flow: Callable[[dict[str, Any]], list[Any]], doings: Sequence[str], outcome: str | None
) -> None:
    kept = KeptRun(built(flow).__squidmesh__)
    go(kept, *doings)
    assert (kept.run.status, kept.outcome) == ("completed", outcome)


@pytest.mark.rule("declaring-ends")
def test_in_dependency_style_there_is_no_place_for_an_end() -> None:
    with pytest.raises((DefinitionError, TypeError)):
        type(
            "Ending",
            (Workflow,),
            {"place": Manual(), "a": Step(work, after=[]), "b": Step(work, after=[End("x")])},  # type: ignore[list-item]
        )
