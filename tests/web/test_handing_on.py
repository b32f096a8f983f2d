"""Handing on what waits: to whom, as a list that needs no script, and for many runs at once."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from typing import Any

import pytest

from flask_squidmesh import Person, Scope
from flask_squidmesh.queries.known_people import known_people
from tests.web.shop import Checkout, make_app, mesh_of, start
from tests.web.test_deciding import FINN, HANS, MIA, Desk, Expenses, Holding
from tests.web.visiting import PREFIX, Visitor, forms_of, queries, text_of

LEE = Person("lee", "Lee")
NO_SUCH = "nobody-has-this-id"


@pytest.fixture
def desk(make: Any) -> Desk:
    found = Desk(make, Expenses, Holding)
    found.denied = {"assign"}
    return found


@pytest.fixture
def everywhere(migrated_url: str) -> Visitor:
    return Visitor(make_app(migrated_url))


def offered(page: str) -> dict[str, str]:
    """The labels of who is offered, by their ids; "" where the id is the name."""
    found = re.search(r'<datalist id="people">(.*?)</datalist>', page, re.DOTALL)
    options = re.findall(r'<option value="([^"]*)">([^<]*)</option>', found[1]) if found else []
    return {unescape(id): unescape(label) for id, label in options}


def hand_on(run_id: str) -> str:
    return f"/runs/{run_id}/assignment/hand-on?step=review"


def bulk(desk: Desk, who: Person, action: str, *run_ids: str, **more: str) -> Any:
    """The answer to the form of the page that asks."""
    address = f"/bulk?action={action}&" + "&".join(f"run={each}" for each in run_ids)
    page = desk.as_(who).get(address).text
    [fields] = [found for place, found in forms_of(page).items() if "/bulk" in place]
    ticked = [item.partition("~")[0] for item in fields["items"].split()]
    return desk.visitor.client.post(f"{PREFIX}/bulk?action={action}", data={**fields, "run": ticked, **more})


def assignees(desk: Desk, *run_ids: str) -> list[str | None]:
    with desk.app.app_context():
        found = [mesh_of(desk.app).inspect_run(each, include_history=True) for each in run_ids]
    opened = [next(visit for visit in run.step_runs if visit.status == "paused") for run in found]
    return [visit.decision.get("assignee") if visit.decision else None for visit in opened]


@pytest.mark.rule("assigning-offered")
def test_who_holds_and_who_decided_is_offered_and_any_id_can_be_typed(desk: Desk) -> None:
    mine, _others, decided = (desk.start(Expenses, manager=who) for who in ("mia", "lee", "finn"))
    with desk.app.app_context():
        mesh_of(desk.app).decide_run(decided, "ask_back", actor={"id": "vera", "label": "Vera <V.>"})
    page = desk.as_(HANS).get(hand_on(mine)).text
    assert offered(page) == {"mia": "", "lee": "", "vera": "Vera <V.>"}
    assert '<input id="to" name="to"' in page
    assert 'list="people"' in page
    given = forms_of(page)[PREFIX + hand_on(mine)]
    assert desk.visitor.client.post(PREFIX + hand_on(mine), data={**given, "to": NO_SUCH}).status_code == 303
    assert assignees(desk, mine) == [NO_SUCH]


@pytest.mark.rule("assigning-offered")
def test_the_people_of_other_tenants_are_not_offered(everywhere: Visitor) -> None:
    app = everywhere.app
    with app.app_context():
        mesh = mesh_of(app)
        for tenant in ("acme", "globex"):
            run = mesh.start_run(Checkout, {"order_id": tenant}, tenant=tenant)
            start(app, Checkout)
            mesh.assign_run(run.id, to=f"holds-{tenant}", actor=f"gave-{tenant}")
    with app.app_context(), app.extensions["squidmesh"].database.read() as connection:
        found = {
            tenant: set(known_people(connection, Scope(tenants=[tenant]))) for tenant in ("acme", "globex", "initech")
        }
        everybody = set(known_people(connection, Scope.all()))
        of_another = known_people(connection, Scope(workflows=["packing"]))
    assert found == {
        "acme": {"holds-acme", "gave-acme"},
        "globex": {"holds-globex", "gave-globex"},
        "initech": set(),
    }
    assert everybody >= found["acme"] | found["globex"]
    assert of_another == {}


@pytest.mark.rule("assigning-offered")
def test_as_many_are_offered_as_a_list_can_hold(everywhere: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flask_squidmesh.queries.known_people.MOST_PEOPLE", 3)
    app = everywhere.app
    ids = [start(app, Checkout, str(number)) for number in range(5)]
    with app.app_context():
        for number, run_id in enumerate(ids):
            mesh_of(app).assign_run(run_id, to=f"p{number}")
    with app.app_context(), app.extensions["squidmesh"].database.read() as connection:
        assert [*known_people(connection, Scope(tenants=[""]))] == ["p0", "p1", "p2"]


@pytest.mark.rule("assigning-offered")
def test_the_host_can_list_people_and_is_told_what_it_is_about(make: Any) -> None:
    asked: list[tuple[Any, Any]] = []

    def people(run: Any, step: Any) -> Iterator[Any]:
        asked.append((run.workflow, step))
        yield Person("olga", "Olga from purchasing")
        yield Person("lee", "Lee Li")
        yield from ("no person", Person(" ", "Nobody"))

    desk = Desk(make, Expenses, people=people)
    run_id = desk.start(Expenses, manager="lee")
    page = desk.as_(HANS).get(hand_on(run_id)).text
    assert offered(page) == {"lee": "Lee Li", "olga": "Olga from purchasing"}
    assert asked == [("expenses", "review")]


@pytest.mark.rule("assigning-offered")
def test_a_list_of_people_that_fails_leaves_the_others(make: Any, caplog: pytest.LogCaptureFixture) -> None:
    def people() -> Any:
        raise LookupError("directory is down")

    desk = Desk(make, Expenses, people=people)
    run_id = desk.start(Expenses, manager="lee")
    page = desk.as_(HANS).get(hand_on(run_id))
    assert (page.status_code, offered(page.text)) == (200, {"lee": ""})
    assert "mesh.people" in caplog.text


@pytest.mark.rule("assigning-offered")
def test_who_sees_only_their_own_tasks_is_offered_whom_the_host_lists(make: Any) -> None:
    def may(action: str, run: Any, permission: Any) -> bool:
        return action in ("tasks", "take", "assign")

    visitor: Visitor = make({"authorize": may, "actor": lambda: MIA, "people": lambda: [LEE]})
    with visitor.app.app_context():
        mesh_of(visitor.app).register(Expenses)
    runs = []
    for manager in ("mia", "vera"):
        with visitor.app.app_context():
            runs.append(mesh_of(visitor.app).start_run(Expenses, {"manager": manager}).id)
    page = visitor.get(hand_on(runs[0]))
    assert (page.status_code, offered(page.text)) == (200, {"lee": "Lee"})


def test_asking_to_whom_takes_few_queries(desk: Desk) -> None:
    run_id = desk.start(Expenses)
    desk.now = HANS
    assert len(queries(desk.visitor, hand_on(run_id))) <= 9


@pytest.mark.rule("assigning-many")
def test_what_waits_in_many_runs_is_taken_as_far_as_it_is_theirs_to_take(desk: Desk) -> None:
    mine, others, fresh = (desk.start(Expenses, manager=who) for who in ("mia", "lee", "mia"))
    open_to_all = desk.start(Holding)
    with desk.app.app_context():
        mesh_of(desk.app).assign_run(fresh, to=None, actor="kim")
    finance = Person("fred", "Fred", ("finance",))
    choices = desk.as_(finance).read(f"/bulk?run={mine}&run={others}&run={fresh}&run={open_to_all}")
    assert "Take… takes 4 of them" in choices
    assert "Hand on" not in choices
    answer = bulk(desk, finance, "take", mine, fresh, comment="I do these")
    job = answer.location.removeprefix(PREFIX)
    assert "Finished. Done with 2 runs." in desk.as_(finance).read(job)
    assert assignees(desk, mine, others, fresh) == ["fred", "lee", "fred"]
    assert "Fred took review I do these" in desk.as_(finance).read(f"/runs/{mine}")
    left_out = desk.as_(finance).read(f"/bulk?action=take&run={mine}&run={others}").partition("Left out")[2]
    assert "it is yours already" in left_out
    stranger = desk.as_(LEE).read(f"/bulk?action=take&run={mine}")
    assert "Only fred or finance can do this." in stranger.partition("Left out")[2]


@pytest.mark.rule("assigning-many")
def test_what_waits_in_many_runs_is_handed_on_and_the_list_says_to_whom(desk: Desk) -> None:
    first, second = desk.start(Expenses), desk.start(Expenses, manager="lee")
    assert bulk(desk, HANS, "assign", first, second).status_code == 422
    assert bulk(desk, HANS, "assign", first, second, to="x" * 201).status_code == 422
    answer = bulk(desk, HANS, "assign", first, second, to=" vera ", comment="on holiday")
    assert answer.status_code == 303
    page = desk.as_(HANS).read(answer.location.removeprefix(PREFIX))
    assert "Hand on to vera: many runs" in page
    assert "Finished. Done with 2 runs." in page
    assert assignees(desk, first, second) == ["vera", "vera"]
    assert "Hand on to vera: many runs" in desk.as_(HANS).read("/jobs")
    assert "Hans began an action on many runs: hand on to vera" in desk.as_(HANS).read("/audit")


@pytest.mark.rule("assigning-many")
def test_the_list_of_bulk_actions_says_which_option_was_taken(desk: Desk) -> None:
    run_id = desk.start(Expenses)
    address = f"/bulk?action=decide&option=ask_back&run={run_id}"
    [fields] = [found for place, found in forms_of(desk.as_(MIA).get(address).text).items() if "/bulk" in place]
    fields = {**fields, "run": run_id}
    assert desk.visitor.client.post(PREFIX + address, data=fields).status_code == 303
    told = desk.as_(MIA).read("/jobs")
    assert "Ask back: many runs" in told
    assert "Decide: many runs" not in told
    assert "Mia began an action on many runs: Ask back" in desk.as_(MIA).read("/audit")


@pytest.mark.rule("assigning-many")
def test_only_who_has_the_right_hands_many_on_and_takes_many(desk: Desk) -> None:
    run_id = desk.start(Expenses)
    page = desk.as_(FINN).read(f"/bulk?action=assign&run={run_id}")
    assert "You do not have the right “give tasks to others”." in page.partition("Left out")[2]
    desk.denied.add("take")
    page = desk.as_(FINN).read(f"/bulk?action=take&run={run_id}")
    assert "You do not have the right “take a task”." in page.partition("Left out")[2]


@pytest.mark.rule("assigning-many")
def test_what_has_become_somebody_elses_since_the_page_is_left_as_it_is(desk: Desk) -> None:
    taken, left = desk.start(Expenses), desk.start(Expenses)
    address = f"/bulk?action=take&run={taken}&run={left}"
    page = desk.as_(FINN).get(address).text
    [fields] = [found for place, found in forms_of(page).items() if "/bulk" in place]
    with desk.app.app_context():
        mesh_of(desk.app).assign_run(left, to="lee", actor="mia")
    answer = desk.visitor.client.post(f"{PREFIX}/bulk?action=take", data={**fields, "run": [taken, left]})
    assert "1 run was left as it is: it has changed." in desk.as_(FINN).read(answer.location.removeprefix(PREFIX))
    assert assignees(desk, taken, left) == ["finn", "lee"]


@pytest.mark.rule("assigning-many")
def test_what_becomes_somebody_elses_while_the_job_waits_is_told_of(desk: Desk, monkeypatch: Any) -> None:
    monkeypatch.setattr("flask_squidmesh.dashboard.views.bulk.SLICE_SECONDS", -1.0)
    run_id = desk.start(Expenses)
    job = bulk(desk, FINN, "take", run_id).location.removeprefix(PREFIX)
    with desk.app.app_context():
        mesh_of(desk.app).assign_run(run_id, to="lee", actor="mia")
        desk.app.extensions["squidmesh"].bulk.go_on(job.rpartition("/")[2], 10, lambda _job, _item: None)
    page = desk.as_(FINN).read(job)
    assert "Not possible with 1 run." in page
    assert "has become somebody else's" in page
    assert assignees(desk, run_id) == ["lee"]


def test_what_no_person_is_asked_cannot_be_taken(desk: Desk) -> None:
    run_id = start(desk.app, Checkout, "1")
    with desk.app.app_context():
        mesh_of(desk.app).cancel_run(run_id, actor="kim")
    page = text_of(desk.as_(FINN).get(f"/bulk?action=take&run={run_id}").text)
    assert "nothing waits for people there now" in page.partition("Left out")[2]
