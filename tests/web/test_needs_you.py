"""Needs you: what is due when, pages of it, and groups of runs that failed the same way."""

from __future__ import annotations

import re
from datetime import timedelta
from html import unescape
from typing import Any

import pytest

from flask_squidmesh import Approval, Manual, Pause, Workflow
from tests.web.shop import Checkout, Labels, Order, Payout, advance, make_app, mesh_of, start
from tests.web.visiting import PREFIX, Visitor, queries, text_of


class Slow(Workflow):
    """Ask within three days, and then whenever."""

    subject = "Slow {order_id}"
    begin = Manual(Order)
    ask = Approval("Buy {order_id}?", within=timedelta(days=3))
    rest = Pause("Is {order_id} there?")
    stop = Pause()
    flow = [ask >> rest, ask.on_reject >> stop]


@pytest.fixture
def everywhere(migrated_url: str) -> Visitor:
    """On SQLite and on PostgreSQL."""
    return Visitor(make_app(migrated_url))


def parts(page: str) -> dict[str, list[str]]:
    """The titles of the rows under each heading."""
    found = re.split(r'<h2 class="part[^"]*">', page)[1:]
    return {text_of(part.partition("</h2>")[0]): re.findall(r"<h3>.*?<a [^>]*>([^<]*)</a>", part) for part in found}


def follow(visitor: Visitor, address: str) -> str:
    """The page at an address of ours."""
    return visitor.get(unescape(address).removeprefix(PREFIX)).text


@pytest.mark.rule("needs-you-order")
def test_rows_stand_by_when_they_are_due(everywhere: Visitor) -> None:
    mesh_of(everywhere.app).register(Slow)
    start(everywhere.app, Checkout, "late")
    advance(everywhere.app, timedelta(hours=5))
    start(everywhere.app, Slow, "later")
    start(everywhere.app, Checkout, "soon")
    page = everywhere.get("/").text
    assert parts(page) == {
        "Overdue 1": ["Order late"],
        "Due within a day 1": ["Order soon"],
        "Later, or at no set time 1": ["Slow later"],
    }
    assert page.count('class="task late"') == 1
    assert "3 decisions are for your groups or for everybody, 1 of them is overdue." in text_of(page)
    assert "No due time" not in text_of(page)
    assert "in 2 d 23 h" in text_of(page) or "in 3 d" in text_of(page)


def test_what_people_are_asked_goes_on_page_by_page_without_gap_or_repeat(
    everywhere: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flask_squidmesh.dashboard.views.needs_you.MOST", 2)
    mesh_of(everywhere.app).register(Slow)
    for number in range(3):
        start(everywhere.app, Checkout, str(number))
        start(everywhere.app, Slow, str(number))
    with everywhere.app.app_context():
        for run in mesh_of(everywhere.app).list_runs(workflow="slow").runs[:2]:
            mesh_of(everywhere.app).approve_run(run.id, actor="lee")
    seen, page = [], everywhere.get("/").text
    for _ in range(4):
        seen += [title for titles in parts(page).values() for title in titles]
        older = re.search(r'href="([^"]+)" rel="next"', page)
        if older is None:
            break
        page = follow(everywhere, older[1])
    assert len(seen) == len(set(seen)) == 6
    assert seen[:4] == ["Order 0", "Order 1", "Order 2", "Slow 0"]
    assert "5 to 6" in text_of(page)


def test_what_went_wrong_goes_on_page_by_page_too(everywhere: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flask_squidmesh.dashboard.views.needs_you.MOST", 2)
    stuck = [start(everywhere.app, Payout, str(number)) for number in range(3)]
    start(everywhere.app, Labels, "90017")
    page = everywhere.get("/?tab=problems").text
    (titles,) = parts(page).values()
    older = re.search(r'href="([^"]+)" rel="next"', page)
    assert older
    (more,) = parts(follow(everywhere, older[1])).values()
    assert sorted([*titles, *more]) == ["Label 90017", "Payout 0", "Payout 1", "Payout 2"]
    assert len(stuck) == 3


@pytest.mark.parametrize("after", ["nonsense", "9_9", "..", "%25", "1.2_3"])
def test_what_is_no_place_in_the_list_is_its_beginning(visitor: Visitor, after: str) -> None:
    start(visitor.app, Checkout, "7")
    assert "Order 7" in visitor.read(f"/?after={after}")
    assert "/runs/" in visitor.get(f"/next?at={after}").location


def test_one_goes_through_more_than_a_page_of_them(visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flask_squidmesh.dashboard.views.needs_you.MOST", 1)
    ids = [start(visitor.app, Checkout, str(number)) for number in range(4)]
    seen, address = [], "/next?among=groups"
    for _ in range(5):
        location = visitor.get(address).location
        if "/runs/" not in location:
            break
        seen.append(location.partition("?")[0].rpartition("/")[2])
        address = "/next?" + location.partition("?")[2]
    assert seen == ids


def test_only_one_workflow_and_one_state_are_listed(visitor: Visitor) -> None:
    mesh_of(visitor.app).register(Slow)
    start(visitor.app, Checkout, "7")
    start(visitor.app, Slow, "8")
    page = visitor.read("/?workflow=slow")
    assert ("Slow 8" in page, "Order 7" in page) == (True, False)
    assert "Nothing of this kind needs you." in visitor.read("/?workflow=slow&word=paused")
    assert "Slow 8" in visitor.read("/?workflow=slow&word=decision")


def test_the_buttons_of_a_group_act_on_all_of_it_and_on_nothing_else(visitor: Visitor) -> None:
    ids = [start(visitor.app, Labels, "same") for _ in range(3)]
    noted, apart = start(visitor.app, Labels, "same"), start(visitor.app, Labels, "other")
    with visitor.app.app_context():
        mesh_of(visitor.app).acknowledge_run(noted, actor="lee")
    page = visitor.get("/?tab=problems").text
    assert parts(page) == {"Same error in many runs 1": ["Labels: label"], "One by one": ["Label other"]}
    button = re.search(r'href="/squidmesh(/bulk[^"]+action=acknowledge)"', page)
    assert button
    preview = visitor.get(unescape(button[1]))
    assert "Acknowledge for 3 runs" in text_of(preview.text)
    fields = re.findall(r'name="(items|key|squidmesh_csrf|run)" value="([^"]*)"', preview.text)
    given: dict[str, Any] = {name: [value for key, value in fields if key == name] for name, _ in fields}
    assert visitor.client.post(f"{PREFIX}/bulk?action=acknowledge", data=given).status_code == 303
    with visitor.app.app_context():
        done = {id: mesh_of(visitor.app).inspect_run(id).acknowledged_at is not None for id in (*ids, apart)}
    assert done == {**dict.fromkeys(ids, True), apart: False}


def test_without_the_right_to_act_on_many_a_group_leads_to_its_runs(make: Any) -> None:
    visitor = make({"authorize": lambda action, run, permission: action != "bulk", "actor": lambda: "dana"})
    for _ in range(2):
        start(visitor.app, Labels, "same")
    page = visitor.get("/?tab=problems").text
    assert "/bulk?" not in page
    assert "See all 2" in text_of(page)
    fingerprint = re.search(r"/runs\?error=([0-9a-f]+)&amp;needs=failed", page)
    assert fingerprint
    assert visitor.read(f"/runs?error={fingerprint[1]}&needs=failed").count("Label same") >= 2


def test_its_pages_and_polls_ask_few_queries(everywhere: Visitor) -> None:
    for number in range(3):
        start(everywhere.app, Checkout, str(number))
        start(everywhere.app, Labels, "same")
        start(everywhere.app, Payout, str(number))
    for path, most in (("/", 3), ("/?tab=problems", 4), ("/next?among=problems", 2)):
        asked = [query for query in queries(everywhere, path) if "set_config" not in query]
        assert len(asked) <= most, path
