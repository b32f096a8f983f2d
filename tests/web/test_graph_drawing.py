"""The graph of a run: words as on the rest of the page, letters that can be read, links, conditions, ends."""

from __future__ import annotations

import re
from datetime import timedelta
from html import unescape
from typing import Any

import pytest

from flask_squidmesh import Approval, Decision, End, Manual, Step, Workflow
from tests.web.shop import Billing, Checkout, Order, Packing, Payout, Shipping, advance, mesh_of, start, work
from tests.web.test_run_page import long_workflow
from tests.web.visiting import Visitor, text_of


def tell(order_id: str) -> dict[str, Any]:
    return {}


class Routed(Workflow):
    """Ask, correct, ask again, and go on by the amount."""

    place = Manual(Order)
    ask = Approval(prompt="Right?", max_visits=5)
    correct = Step(tell, max_visits=5)
    weigh = Step(tell)
    large = Step(tell, irreversible=True)
    small = Step(tell)
    flow = [
        ask >> weigh,
        ask.on_reject >> correct >> ask,
        weigh.when("amount", greater_than=100) >> large,
        weigh >> small,
        weigh.on_error >> small,
    ]


def drawn(visitor: Visitor, run_id: str) -> str:
    page = visitor.get(f"/runs/{run_id}?view=graph").text
    found = re.search(r'<svg class="graph.*?</svg>', page, re.DOTALL)
    assert found
    return found[0]


def spoken(svg: str) -> list[str]:
    return [unescape(label) for label in re.findall(r'<a href="[^"]*"(?: id="here")? aria-label="([^"]*)"', svg)]


@pytest.fixture
def routed(visitor: Visitor) -> tuple[Visitor, str]:
    """A run that was asked back once and then ended with the large amount."""
    mesh = mesh_of(visitor.app)
    mesh.register(Routed)
    run_id = start(visitor.app, Routed)
    with visitor.app.app_context():
        mesh.reject_run(run_id, actor="ann", comment="no")
    work(visitor.app)
    with visitor.app.app_context():
        mesh.approve_run(run_id, actor="ann")
    work(visitor.app)
    return visitor, run_id


@pytest.mark.parametrize(
    ("workflow", "step", "word"),
    [(Checkout, "review", "Decision"), (Packing, "inspect", "Paused"), (Payout, "transfer", "Stuck")],
)
def test_a_step_that_asks_a_person_is_marked_with_what_it_asks(
    visitor: Visitor, workflow: Any, step: str, word: str
) -> None:
    run_id = start(visitor.app, workflow, "7")
    assert f"{step} {word}" in text_of(drawn(visitor, run_id))


@pytest.mark.parametrize(("workflow", "step"), [(Checkout, "review"), (Shipping, "call_carrier"), (Billing, "take")])
def test_every_state_is_called_as_in_the_list_of_steps(visitor: Visitor, workflow: Any, step: str) -> None:
    run_id = start(visitor.app, workflow, "7")
    advance(visitor.app, timedelta(minutes=1))
    page = visitor.get(f"/runs/{run_id}").text
    mark, name = r'<span class="st st-[\w-]+">([^<]+)</span>', rf'<span class="what"><a [^>]*>{step}<'
    listed = re.search(rf"{mark}\s*</span>\s*{name}", page)
    assert listed
    told = next(label for label in spoken(drawn(visitor, run_id)) if label.startswith(f"{step}: "))
    assert told.removeprefix(f"{step}: ").startswith(listed[1])


def test_letters_keep_their_size_however_many_steps_there_are(visitor: Visitor) -> None:
    workflow = long_workflow()
    mesh_of(visitor.app).register(workflow)
    svg = drawn(visitor, start(visitor.app, workflow))
    head = svg.partition(">")[0]
    height = re.search(r'height="(\d+)"', head)
    assert height
    assert int(height[1]) > 24 * 70
    assert "viewBox" not in head
    page = visitor.get("/workflows/checkout").text
    assert "viewBox" not in re.findall(r'<svg class="graph[^>]*>', page)[0]


def test_every_step_leads_to_where_the_page_shows_it(routed: tuple[Visitor, str]) -> None:
    visitor, run_id = routed
    found = re.findall(r'<a href="([^"]*)"(?: id="here")? aria-label', drawn(visitor, run_id))
    links = [unescape(link) for link in found]
    assert len(links) == 5
    for link in links:
        step = re.search(r"step=(\w+)", link)
        assert step
        assert link.endswith("#inspector")
        shown = visitor.get(link.removeprefix("/squidmesh").partition("#")[0]).text
        inspector = shown.partition('id="inspector"')[2]
        assert step[1] in text_of(inspector.partition("</h2>")[0])


def test_what_a_move_depends_on_is_told_and_how_often_it_was_made(routed: tuple[Visitor, str]) -> None:
    visitor, run_id = routed
    told = text_of(drawn(visitor, run_id))
    for words in ("amount over 100", "otherwise", "on error", "approved", "rejected"):
        assert words in told
    with visitor.app.app_context():
        graph = mesh_of(visitor.app).inspect_graph(run_id)
    assert {edge.id: edge.times for edge in graph.edges if edge.times} == {
        "ask:reject:correct": 1,
        "correct:ok:ask": 1,
        "ask:ok:weigh": 1,
        "weigh:ok:large:condition:0": 1,
    }


def test_visits_are_counted_and_the_end_that_was_reached_is_told(routed: tuple[Visitor, str]) -> None:
    visitor, run_id = routed
    svg = drawn(visitor, run_id)
    assert 'class="times"' in svg
    assert "×2" in text_of(svg)
    assert "ask: Done" in " ".join(spoken(svg))
    assert "2 visits" in " ".join(spoken(svg))
    assert text_of(svg).count("ends") == 2
    assert "ends: completed" in text_of(svg)


def test_the_same_can_be_read_in_words(routed: tuple[Visitor, str]) -> None:
    visitor, run_id = routed
    told = visitor.read(f"/runs/{run_id}?view=graph")
    assert "leads to weigh (approved), leads to correct (rejected)" in told
    assert "leads to large (amount over 100), leads to small (otherwise)" in told
    assert "small: Not reached; ends" in told
    assert "cannot be undone; ends: completed" in told


class Paid(Workflow):
    """Somebody chooses one of three."""

    place = Manual(Order)
    review = Decision("Pay?", options=("approve", "ask_back", "reject"), within=timedelta(days=2), max_visits=5)
    pay = Step(tell)
    fix = Step(tell, max_visits=5)
    park = Step(tell)
    flow = [
        review.on("approve").when("amount", greater_than=100) >> pay >> End("paid"),
        review.on("approve") >> pay,
        review.on("ask_back") >> fix >> review,
        review.on("reject") >> End("rejected", compensate=True),
        review.on_timeout >> park,
    ]


def test_options_and_ends_are_drawn_and_the_end_that_was_reached_is_marked(visitor: Visitor) -> None:
    mesh = mesh_of(visitor.app)
    mesh.register(Paid)
    run_id = start(visitor.app, Paid)
    svg = drawn(visitor, run_id)
    told = text_of(svg)
    for label in (
        "approve, amount over 100",
        "ask back",
        "reject",
        "timed out",
        "ends: rejected, undone",
        "ends: paid",
    ):
        assert label in told
    assert '<g class="end">' not in svg
    with visitor.app.app_context():
        mesh.decide_run(run_id, "approve", actor="ann")
    work(visitor.app)
    reached = re.findall(r'<g class="end">.*?</g>', drawn(visitor, run_id), re.DOTALL)
    assert [text_of(end) for end in reached] == ["ends: paid"]
    assert "leads to pay (approve, amount over 100)" in visitor.read(f"/runs/{run_id}?view=graph")
    assert "ends: rejected, undone (reject)" in visitor.read(f"/runs/{run_id}?view=graph")


@pytest.mark.rule("inspecting-graph")
def test_a_condition_is_escaped(visitor: Visitor) -> None:
    class Odd(Workflow):
        place = Manual(Order)
        weigh = Step(tell)
        one = Step(tell)
        two = Step(tell)
        flow = [weigh.when("note", equals='<b>"&') >> one, weigh >> two]

    mesh_of(visitor.app).register(Odd)
    svg = drawn(visitor, start(visitor.app, Odd))
    assert "<b>" not in svg
    assert 'note is <b>"&' in unescape(svg)
