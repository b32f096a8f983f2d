"""What stands where on the page of a run: state, now, decisions, then what lies behind tabs."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest

from flask_squidmesh import Approval, Manual, Step, Workflow
from tests.web.shop import Billing, Checkout, Import, Labels, Order, advance, mesh_of, start, work
from tests.web.visiting import Visitor, pulse_of, text_of


def test_the_page_goes_from_the_state_to_the_details(visitor: Visitor) -> None:
    run_id = start(visitor.app, Checkout, "7")
    advance(visitor.app, timedelta(hours=6))
    page = visitor.get(f"/runs/{run_id}").text
    parts = (
        '<span class="st st-needs">Decision</span>',
        '<span class="st st-late">',
        "<h1>Order 7</h1>",
        'id="run-id"',
        'id="verdict-heading"',
        "Capture 120 EUR for order 7?</h2>",
        'class="facts"',
        ">Approve…</a>",
        "More actions",
        'id="run-tabs"',
        'id="rail"',
        'id="inspector"',
        'id="family"',
        'id="payload-heading"',
        'id="happened"',
    )
    places = [page.index(part) for part in parts]
    assert places == sorted(places)
    assert "2 h overdue" in text_of(page)


@pytest.mark.parametrize(("view", "tab"), [("", "steps"), ("?view=graph", "graph"), ("?view=events", "history")])
def test_every_tab_is_an_address_and_one_is_open_at_first(visitor: Visitor, view: str, tab: str) -> None:
    run_id = start(visitor.app, Checkout, "7")
    page = visitor.get(f"/runs/{run_id}{view}").text
    links = re.findall(r'<a href="([^"]*)#(\w+)"', page.partition('id="run-tabs"')[2].partition("</nav>")[0])
    assert [name for _address, name in links] == ["steps", "graph", "data", "history"]
    for address, name in links:
        there = visitor.get(address.removeprefix("/squidmesh")).text if address else page
        assert re.search(rf'<div class="tab[^"]*" id="{name}">', there)
    assert re.findall(r'class="tab first" id="(\w+)"', page) == [tab]


def test_each_option_says_what_it_leads_to(visitor: Visitor) -> None:
    run_id = start(visitor.app, Import, "7")
    page = visitor.get(f"/runs/{run_id}").text
    cards = re.findall(r'<article class="decision panel flush card".*?</article>', page, re.DOTALL)
    for card, step, question in zip(cards, ("customs", "quality"), ("papers of 7 complete", "7 sound"), strict=True):
        told = text_of(card)
        assert question in told
        assert f"Approve {step}…" in told
        assert "continues once the other steps are done" in told
        assert "fails the run" in told


def test_a_run_that_has_ended_offers_what_can_be_done_with_it(visitor: Visitor) -> None:
    run_id = start(visitor.app, Labels, "7")
    told = visitor.read(f"/runs/{run_id}")
    assert re.search(r"What you can do Replay… Acknowledge… Replay starts a new run .* Acknowledge takes the run", told)
    assert "not now" in told


def test_facts_leave_out_what_is_hidden_and_what_the_person_may_not_see(visitor: Visitor, make) -> None:
    run_id = start(visitor.app, Checkout, "7")
    page = visitor.get(f"/runs/{run_id}").text
    facts = text_of(page.partition('<dl class="facts">')[2].partition("</dl>")[0])
    assert facts == "Order Id 7 Amount 120 Note leave at the door"
    blind = make({"authorize": lambda action, run, permission: action != "payload", "actor": lambda: "dana"})
    assert "leave at the door" not in blind.read(f"/runs/{start(blind.app, Checkout, '8')}")


def test_a_step_that_was_not_reached_has_its_place_too(visitor: Visitor) -> None:
    run_id = start(visitor.app, Checkout, "7")
    page = visitor.get(f"/runs/{run_id}?step=capture").text
    inspector = text_of(page.partition('id="inspector"')[2].partition("</section>")[0])
    assert "capture Not yet The run has not come to this step. Effect cannot be undone" in inspector
    visitor.send(f"/runs/{run_id}/reject", comment="no")
    work(visitor.app)
    assert "The run ended without this step." in visitor.read(f"/runs/{run_id}?step=capture")


def test_the_graph_is_refreshed_where_it_is_shown(visitor: Visitor) -> None:
    run_id = start(visitor.app, Checkout, "7")
    with_graph, without = (pulse_of(visitor.get(f"/runs/{run_id}{view}").text) for view in ("?view=graph", ""))
    visitor.send(f"/runs/{run_id}/approve")
    work(visitor.app)
    assert 'id="drawing" aria-labelledby="graph-heading" data-keep hx-swap-oob="true"' in visitor.get(with_graph).text
    assert 'id="drawing"' not in visitor.get(without).text


def test_a_name_that_cannot_be_seen_is_replaced(visitor: Visitor) -> None:
    class Blank(Workflow):
        subject = "{note}"
        place = Manual(Order)
        ask = Approval(prompt="{note}")
        tell = Step(lambda: None)
        flow = [ask >> tell, ask.on_reject >> tell]

    mesh_of(visitor.app).register(Blank)
    run_id = start(visitor.app, Blank, note=" \u200b ")
    page = visitor.get(f"/runs/{run_id}").text
    assert "<h1>blank</h1>" in page
    assert "Approve ask ?" in text_of(page)
    for path in ("/", "/runs"):
        assert re.search(rf'href="/squidmesh/runs/{run_id}[^"]*"[^>]*>blank</a>', visitor.get(path).text), path


def test_an_error_that_led_on_is_told_under_its_step(visitor: Visitor) -> None:
    run_id = start(visitor.app, Billing, "7")
    inspector = visitor.get(f"/runs/{run_id}?step=take").text.partition('id="inspector"')[2]
    assert "card declined" in text_of(inspector.partition("</section>")[0])


def test_a_step_that_somebody_decided_says_who_and_why(visitor: Visitor) -> None:
    run_id = start(visitor.app, Checkout, "7")
    visitor.send(f"/runs/{run_id}/approve", comment="known customer")
    page = visitor.get(f"/runs/{run_id}?step=review").text
    inspector = text_of(page.partition('id="inspector"')[2].partition("</section>")[0])
    assert re.search(r"Opened .* Decided .*, dana Comment known customer", inspector)
    assert "Attempt 1" not in inspector
    told = text_of(page.partition('id="happened"')[2].partition("</section>")[0])
    assert "attempt 1 at reserve completed" in told
    assert "attempt 1 at review" not in told


def test_a_completed_run_has_no_card(visitor: Visitor) -> None:
    run_id = start(visitor.app, Checkout, "7")
    visitor.send(f"/runs/{run_id}/approve")
    work(visitor.app)
    told = visitor.read(f"/runs/{run_id}")
    assert "What you can do" not in told
    assert "More actions 1 possible" in told
