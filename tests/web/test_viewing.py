"""`view` is asked for each row of a page before anything of its run is told, once for a run in one request."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from flask_squidmesh import Cron, Manual, Scope, Step, StepContext, Wait, Workflow
from flask_squidmesh.runtime import bulk_jobs
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


class Nightly(Workflow):
    nightly = Cron("0 3 * * *")
    rest = Wait(1)


class Skipping(Workflow):
    hourly = Cron("0 * * * *", overlap="skip")
    rest = Wait(1)


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


@pytest.mark.rule("scope-view")
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


@pytest.mark.rule("scope-view")
def test_the_next_run_is_one_that_may_be_viewed(visitor: Visitor) -> None:
    hidden, seen = secrets(visitor), []
    for among in ("decisions", "problems"):
        place = f"among={among}"
        while "/runs/" in (address := visitor.get(f"/next?{place}").location):
            id, _, place = address.partition("/runs/")[2].partition("?")
            assert id not in seen
            seen.append(id)
    assert len(seen) > 3
    assert not set(seen) & set(hidden)


@pytest.mark.rule("scope-view")
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


@pytest.mark.rule("scope-view")
def test_no_file_and_no_token_names_a_replay_that_may_not_be_viewed(visitor: Visitor, make: Any) -> None:
    refused: set[str] = set()
    narrow = make({"authorize": lambda action, run: not (action == "view" and run and run.id in refused)})
    with visitor.app.app_context():
        first = mesh_of(visitor.app).list_runs(workflow="labels").runs[0].id
        second = mesh_of(visitor.app).replay_run(first, actor="kim").id
    named = (f"/runs/{first}", f"/runs/{first}.json", f"/runs/{first}?view=events", "/runs.json", "/audit.csv")
    assert second in narrow.get(f"/runs/{first}.json").text
    refused.add(second)
    assert [path for path in named if second in narrow.get(path, buffered=True).text] == []
    refused.clear()
    refused.add(first)
    named = (f"/runs/{second}", f"/runs/{second}.json", f"/runs/{second}?view=events", "/runs.json", "/audit.csv")
    assert [path for path in named if first in narrow.get(path, buffered=True).text] == []


@pytest.mark.rule("scope-view")
def test_a_schedule_does_not_name_a_last_run_that_may_not_be_viewed(make: Any) -> None:
    refused: set[str] = set()
    visitor = make({"authorize": lambda action, run: not (action == "view" and run and run.id in refused)})
    mesh_of(visitor.app).register(Nightly)
    with visitor.app.app_context():
        run_id = visitor.app.extensions["squidmesh"].scheduler.fire("nightly", "nightly")
    assert run_id is not None
    assert run_id in visitor.get("/schedules").text
    refused.add(run_id)
    for path in ("/schedules", "/pulse?view=schedules&v=x-x"):
        page = visitor.get(path).text
        assert run_id not in page
        assert "Every night" in page or "nightly" in page.lower()
        assert "It has not fired yet." not in page


@pytest.mark.rule("scope-view")
def test_a_window_that_was_left_out_names_no_run_that_may_not_be_viewed(make: Any) -> None:
    refused: set[str] = set()
    visitor = make({"authorize": lambda action, run: not (action == "view" and run and run.id in refused)})
    mesh_of(visitor.app).register(Skipping)
    with visitor.app.app_context():
        scheduler = visitor.app.extensions["squidmesh"].scheduler
        in_the_way, _ = scheduler.activate("skipping", "hourly", signal_id="1", by_hand=False)
        assert scheduler.activate("skipping", "hourly", signal_id="2", by_hand=False) == (None, False)
    refused.add(in_the_way)
    page = visitor.get("/schedules").text
    assert "a run had not ended" in page
    assert in_the_way not in page


@pytest.mark.rule("scope-view")
def test_a_job_of_somebody_else_tells_of_no_run_that_may_not_be_viewed(make: Any) -> None:
    refused: set[str] = set()
    visitor = make(
        {"authorize": lambda action, run: not (action == "view" and run and run.id in refused), "actor": lambda: "lee"}
    )
    shown, hidden = start(visitor.app, Labels, "1"), start(visitor.app, Labels, "2")
    runtime = visitor.app.extensions["squidmesh"]
    with visitor.app.app_context():
        items = [bulk_jobs.BulkItem(run_id=run_id, token="failed") for run_id in (shown, hidden)]
        job_id = runtime.bulk.begin("acknowledge", items, scope=Scope.all(), actor="kim")
        runtime.bulk.go_on(job_id, 60)
    assert hidden in visitor.get(f"/bulk/{job_id}").text
    refused.add(hidden)
    page = visitor.get(f"/bulk/{job_id}").text
    assert (shown in page, hidden in page) == (True, False)
    assert "Done with 2 runs." in page
