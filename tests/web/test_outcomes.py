"""How a completed run ended, wherever runs are shown: never plainly completed where it was led off its way."""

from __future__ import annotations

import csv
import re
from datetime import timedelta
from html import unescape
from io import StringIO
from typing import Any

import pytest

from flask_squidmesh import Approval, Decision, End, FailStep, Manual, Retry, Scope, Step, Workflow
from tests.web.shop import Order, advance, mesh_of, start, work
from tests.web.visiting import Visitor, text_of


def note() -> None:
    """Do nothing."""


def broken() -> None:
    raise FailStep("no")


class Ending(Workflow):
    """End in one way or another."""

    subject = "Ending {order_id}"
    begin = Manual(Order)
    ask = Approval("How?", within=timedelta(hours=1))
    choose = Decision("Which?", options=("drop", "go_on", "stumble"))
    tell, pay, mend = Step(note), Step(note), Step(note)
    fall = Step(broken, retry=Retry(1))
    flow = [
        ask >> choose,
        ask.on_reject >> tell,
        ask.on_timeout >> tell,
        choose.on("drop") >> End("dropped_early"),
        choose.on("go_on") >> pay,
        choose.on("stumble") >> fall,
        fall.on_error >> mend,
    ]


@pytest.fixture
def ended(visitor: Visitor) -> dict[str, str]:
    """A run that ended in each way; their ids by the word."""
    app = visitor.app
    with app.app_context():
        mesh_of(app).register(Ending)
    found: dict[str, str] = {}
    for word, option in (("dropped_early", "drop"), ("", "go_on"), ("error_route", "stumble")):
        found[word] = start(app, Ending, word or "plain")
        with app.app_context():
            mesh_of(app).approve_run(found[word], actor="kim")
            mesh_of(app).decide_run(found[word], option, actor="kim")
        work(app)
    found["rejected"] = start(app, Ending, "rejected")
    with app.app_context():
        mesh_of(app).reject_run(found["rejected"], actor="kim")
    work(app)
    found["timed_out"] = start(app, Ending, "timed_out")
    advance(app, timedelta(hours=2))
    work(app)
    return found


SAID = {
    "": ("st-completed", "Completed", "It is completed"),
    "rejected": ("st-rejected", "Rejected", "It was rejected"),
    "timed_out": ("st-rejected", "Timed out", "It ended because nobody decided in time"),
    "error_route": ("st-rejected", "Ended after an error", "It ended on its error route, because a step had failed"),
    "dropped_early": ("st-ended", "Dropped early", "It ended as dropped early"),
}


@pytest.mark.parametrize("word", list(SAID))
def test_each_page_says_how_the_run_ended(visitor: Visitor, ended: dict[str, str], word: str) -> None:
    shape, label, headline = SAID[word]
    mark = f'<span class="st {shape}">{label}</span>'
    page = visitor.get(f"/runs/{ended[word]}").text
    assert mark in page
    assert headline in text_of(page)
    row = text_of(visitor.get(f"/runs?q={ended[word]}").text.partition("<tbody>")[2])
    assert row.count(label) == 1
    events = visitor.read(f"/runs/{ended[word]}?view=events")
    assert (f"the run ended: {label}" if word else "the run completed") in events
    with visitor.app.app_context():
        assert mesh_of(visitor.app).explain_run(ended[word]).details.get("outcome") == (word or None)


@pytest.mark.parametrize("word", [word for word in SAID if word])
def test_the_list_is_narrowed_to_an_outcome(visitor: Visitor, ended: dict[str, str], word: str) -> None:
    for address in (f"/runs?outcome={word}", f"/runs?q=outcome:{word}"):
        page = visitor.get(address).text
        assert [id for id in ended.values() if id in page] == [ended[word]]
    with visitor.app.app_context():
        found = mesh_of(visitor.app).list_runs(outcome=word).runs
        several = mesh_of(visitor.app).list_runs(outcome=[word, "none_such"], status="completed").runs
    assert [run.id for run in found] == [run.id for run in several] == [ended[word]]
    assert f"outcome: {SAID[word][1]}" in visitor.read(f"/runs?outcome={word}")


def options_of(page: str) -> dict[str, str]:
    """The choices of the filter, by their words."""
    chosen = page.partition('<select id="outcome"')[2].partition("</select>")[0]
    return dict(re.findall(r'<option value="([^"]*)"[^>]*>([^<]*)</option>', chosen))


def test_the_filter_offers_how_runs_of_the_app_can_end(visitor: Visitor, ended: dict[str, str]) -> None:
    page = visitor.get("/runs").text
    assert [*options_of(page)] == ["", "rejected", "timed_out", "error_route", "dropped_early"]
    assert options_of(page)["dropped_early"] == "Dropped early"
    chosen = visitor.get("/runs?outcome=dropped_early&word=completed").text
    assert '<option value="dropped_early" selected>' in chosen
    assert '<input type="hidden" name="outcome"' not in chosen
    assert '<option value="of_old" selected>Of old</option>' in visitor.get("/runs?outcome=of_old").text


def test_the_filter_offers_no_outcome_that_nobody_may_know_of_or_that_there_cannot_be(make: Any) -> None:
    visitor: Visitor = make(
        {"authorize": lambda action: True, "actor": lambda: "dana", "scope": lambda: Scope(workflows=["packing"])}
    )
    mesh_of(visitor.app).register(Ending)
    assert '<select id="outcome"' not in visitor.get("/runs").text


@pytest.mark.parametrize("word", ["rejected", "dropped_early"])
def test_a_file_has_only_the_runs_of_the_outcome(visitor: Visitor, ended: dict[str, str], word: str) -> None:
    page = visitor.get(f"/runs?outcome={word}").text
    address = re.search(r'href="/squidmesh(/runs\.csv[^"]*)"', page)
    assert address
    rows = csv.DictReader(StringIO(visitor.get(unescape(address[1])).text.lstrip("\ufeff")))
    assert [(row["id"], row["outcome"]) for row in rows] == [(ended[word], word)]


def test_a_run_that_ended_with_a_word_says_it_once_beside_that_it_completed(
    visitor: Visitor, ended: dict[str, str]
) -> None:
    page = visitor.get(f"/runs?q={ended['dropped_early']}").text
    assert '<span class="st st-ended">Completed</span>' in page
    row = text_of(page.partition("<tbody>")[2].partition("</tbody>")[0])
    assert row.count("Dropped early") == 1


def test_exports_tell_the_outcome(visitor: Visitor, ended: dict[str, str]) -> None:
    rows = {
        row["id"]: row["outcome"] for row in csv.DictReader(StringIO(visitor.get("/runs.csv").text.lstrip("\ufeff")))
    }
    assert {rows[id] for word, id in ended.items() if word} == {word for word in ended if word}
    answer: Any = visitor.get("/runs.json?outcome=rejected").json
    assert [(run["id"], run["outcome"]) for run in answer["runs"]] == [(ended["rejected"], "rejected")]


def test_the_last_runs_of_a_workflow_are_not_all_green(visitor: Visitor, ended: dict[str, str]) -> None:
    page = visitor.get("/workflows/ending").text
    assert page.count('<rect class="g-completed"') == 1
    assert page.count('<rect class="g-rejected"') == 3
    assert page.count('<rect class="g-ended"') == 1


def test_the_graph_says_how_the_run_ended(visitor: Visitor, ended: dict[str, str]) -> None:
    assert "ends: rejected" in visitor.read(f"/runs/{ended['rejected']}?view=graph")
