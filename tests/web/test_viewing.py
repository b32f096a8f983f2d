"""`view` is asked for each row of a page before anything of its run is told, once for a run in one request."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from flask_squidmesh import Manual, Step, StepContext, Workflow
from tests.web.shop import Checkout, Labels, Order, fill, mesh_of, start
from tests.web.visiting import Visitor

SECRET = "hush"


def pair(ctx: StepContext, order_id: str) -> None:
    for name in ("a", SECRET):
        ctx.start_child(Labels, {"order_id": f"{name}-{order_id}"}, key=name)


class Pair(Workflow):
    """Start two labels."""

    subject = "Pair {order_id}"
    tie = Manual(Order)
    both = Step(pair)


@pytest.fixture
def asked() -> Counter[str]:
    return Counter()


@pytest.fixture
def visitor(make: Any, asked: Counter[str]) -> Visitor:
    """Runs whose subject has the word in it may not be viewed."""

    def authorize(action: str, run: Any) -> bool:
        if action == "view" and run is not None:
            asked[run.id] += 1
            return SECRET not in run.subject
        return True

    made: Visitor = make({"authorize": authorize, "actor": lambda: "dana"})
    mesh_of(made.app).register(Pair)
    fill(made.app)
    return made


def secrets(visitor: Visitor) -> list[str]:
    ids = [start(visitor.app, workflow, f"{SECRET}-{number}") for number, workflow in enumerate((Checkout, Labels))]
    with visitor.app.app_context():
        mesh_of(visitor.app).approve_run(ids[0], actor="lee", comment=f"{SECRET} said yes")
    return [*ids, start(visitor.app, Checkout, f"{SECRET}-9")]


PAGES = (
    *("/", "/?word=failed", "/runs", "/runs?q=Order", "/runs.csv", "/runs.json", "/failures"),
    *("/audit", "/audit.csv", "/bulk?word=failed&action=acknowledge", "/bulk?word=decision&action=approve"),
    *("/pulse?view=inbox&v=x-x", "/pulse?view=runs&v=x-x", "/pulse?view=failures&v=x-x"),
)


@pytest.mark.parametrize("page", PAGES)
def test_what_may_not_be_viewed_is_left_out(visitor: Visitor, asked: Counter[str], page: str) -> None:
    hidden = secrets(visitor)
    asked.clear()
    answer = visitor.get(page, buffered=True)
    assert answer.status_code == 200
    assert SECRET not in answer.text
    assert not [id for id in hidden if id in answer.text]
    assert set(asked) & set(hidden)
    assert max(asked.values()) == 1


def test_the_next_run_is_one_that_may_be_viewed(visitor: Visitor) -> None:
    hidden, after, seen = secrets(visitor), None, []
    while True:
        answer = visitor.get(f"/next?after={after}" if after else "/next")
        after = answer.location.partition("/runs/")[2].partition("?")[0]
        if not after:
            break
        seen.append(after)
    assert len(seen) > 3
    assert not set(seen) & set(hidden)


def test_relatives_that_may_not_be_viewed_are_left_out(visitor: Visitor, asked: Counter[str]) -> None:
    parent = start(visitor.app, Pair, "7")
    with visitor.app.app_context():
        found = {run.subject: run for run in mesh_of(visitor.app).list_runs(limit=2).runs}
    shown, hidden = found["Label a-7"], found[f"Label {SECRET}-7"]
    asked.clear()
    page = visitor.get(f"/runs/{parent}").text
    assert shown.id in page
    assert hidden.id not in page
    assert max(asked.values()) == 1
    assert visitor.get(f"/runs/{parent}.json").get_json()["children"] == [shown.id]
    assert visitor.get(f"/runs/{hidden.id}").status_code == 403
