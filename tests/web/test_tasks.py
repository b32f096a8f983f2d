"""Whose decisions are listed to whom, and what somebody sees who may only see their own tasks."""

from __future__ import annotations

from typing import Any

import pytest

from flask_squidmesh import Person
from tests.web.test_deciding import FINN, HANS, MIA, Desk, Expenses, Holding, Rotation
from tests.web.visiting import queries

ONLY_TASKS = {"list", "view", "audit"}
NOBODY = Person("nora", "Nora", ())


@pytest.fixture
def desk(make: Any) -> Desk:
    """One expense is Mia's and finance's, one pause is finance's, and everybody is asked for a key."""
    desk = Desk(make, Expenses, Holding, Rotation)
    desk.start(Expenses)
    desk.start(Holding)
    desk.start(Rotation)
    return desk


@pytest.mark.parametrize(
    ("who", "tabs"),
    [
        (MIA, "Mine 1 My groups 1 Others 1 Problems 0"),
        (FINN, "Mine 0 My groups 3 Others 0 Problems 0"),
        (NOBODY, "Mine 0 My groups 1 Others 2 Problems 0"),
    ],
)
def test_each_wait_is_listed_by_whose_it_is(desk: Desk, who: Person, tabs: str) -> None:
    assert tabs in desk.as_(who).read("/")


@pytest.mark.rule("needs-whose")
def test_the_number_beside_needs_you_is_what_the_person_can_act_on(desk: Desk) -> None:
    for who, number in ((MIA, 2), (FINN, 3), (NOBODY, 1)):
        assert f"({number}) Needs you" in desk.as_(who).read("/runs").replace("Runs · ", "") or (
            f"Needs you {number}" in desk.as_(who).read("/runs")
        )


def test_a_wait_is_in_one_list_alone_with_its_own_question(desk: Desk) -> None:
    mine, groups, others = (desk.as_(MIA).read(f"/?tab={tab}") for tab in ("mine", "groups", "others"))
    assert "Pay 2140 EUR to ACME?" in mine
    assert "It is yours" in mine
    assert "Which key?" not in mine
    assert "Which key?" in groups
    assert "Ready?" in others
    assert "For finance" in others
    assert "Pay 2140" not in groups + others


def test_what_is_handed_on_changes_lists(desk: Desk) -> None:
    run_id = desk.start(Expenses, manager="lee")
    assert "Mine 1 " in desk.as_(MIA).read("/")
    with desk.app.app_context():
        desk.app.extensions["mesh"].assign_run(run_id, to="mia", actor="lee")
    assert "Mine 2 " in desk.as_(MIA).read("/")


def test_the_first_list_with_something_in_it_is_shown(desk: Desk) -> None:
    assert "1 decision is yours" in desk.as_(MIA).read("/")
    assert "3 decisions are for your groups or for everybody" in desk.as_(FINN).read("/")


def test_going_through_them_stays_in_the_list(desk: Desk) -> None:
    desk.start(Expenses)
    first = desk.as_(MIA).get("/next?among=mine").location
    assert first is not None
    assert "among=mine" in first
    place = first.partition("at=")[2]
    second = desk.as_(MIA).get(f"/next?among=mine&at={place}").location
    assert second is not None
    assert second.partition("?")[0] != first.partition("?")[0]
    end = desk.as_(MIA).get(f"/next?among=mine&at={second.partition('at=')[2]}").location
    assert end == "/squidmesh/?tab=mine"


@pytest.mark.rule("tasks-alone")
def test_who_may_only_see_tasks_sees_their_own_and_those_of_their_groups(desk: Desk) -> None:
    desk.denied = ONLY_TASKS
    page = desk.as_(MIA).get("/").text
    assert "Mine" in page
    assert "Others" not in page
    assert "Problems" not in page
    assert ">Runs<" not in page
    assert desk.as_(MIA).get("/?tab=others").text.count("Ready?") == 0
    for path in ("/runs", "/workflows", "/system", "/audit", "/failures", "/bulk"):
        assert desk.as_(MIA).get(path).status_code == 403, path


@pytest.mark.rule("tasks-alone")
def test_who_may_only_see_tasks_opens_and_decides_those_runs_alone(desk: Desk) -> None:
    mine, other = desk.start(Expenses), desk.start(Holding)
    desk.denied = ONLY_TASKS
    page = desk.as_(MIA).get(f"/runs/{mine}")
    assert page.status_code == 200
    assert 'href="/squidmesh/runs' not in page.text.replace(f"/runs/{mine}", "")
    assert "Find a run" not in page.text
    assert desk.as_(MIA).get(f"/runs/{other}").status_code == 403
    path = f"/runs/{mine}/decide?step=review&option=ask_back"
    assert desk.as_(MIA).get(path).status_code == 200
    assert desk.as_(NOBODY).get(path).status_code == 403


@pytest.mark.rule("tasks-alone")
def test_without_the_right_to_tasks_nothing_of_it_is_shown(desk: Desk) -> None:
    desk.denied = {*ONLY_TASKS, "tasks"}
    assert desk.as_(MIA).get("/").status_code == 403
    assert desk.as_(HANS).get("/").status_code == 200


def test_the_list_asks_as_few_queries_as_ever(desk: Desk) -> None:
    for number in range(3):
        desk.start(Expenses, supplier=f"ACME {number}")
    for tab in ("mine", "groups", "others"):
        asked = [query for query in queries(desk.as_(MIA), f"/?tab={tab}") if "set_config" not in query]
        assert len(asked) <= 3, tab
