"""Where the time of a run went: worked, queued, waited, asked; and what is cut out."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from html import unescape
from itertools import pairwise
from typing import Any

import pytest

from flask_squidmesh import End, Manual, Step, Wait, WaitForEvent, Workflow
from flask_squidmesh.dashboard.drawing.time_scale import time_scale
from tests.web.shop import Checkout, Import, Order, Payout, Reminder, Shipping, advance, mesh_of, start, work
from tests.web.visiting import Visitor, text_of

START = datetime(2026, 11, 1, tzinfo=UTC)


def at(minutes: float) -> datetime:
    return START + timedelta(minutes=minutes)


def spoken(visitor: Visitor, run_id: str) -> dict[str, str]:
    """What is said of the bars of each step."""
    page = visitor.get(f"/runs/{run_id}").text
    lines = re.findall(r"<li[^>]*>\s*<span><span class=\"st.*?</li>", page, re.DOTALL)
    named = [(re.search(r"#inspector\">(\w+)<", line), re.search(r'aria-label="([^"]+)"', line)) for line in lines]
    return {step[1]: unescape(label[1]) for step, label in named if step and label}


@pytest.mark.rule("pages-rail")
def test_a_wait_shows_how_long_it_was(visitor: Visitor) -> None:
    run_id = start(visitor.app, Reminder, "7")
    advance(visitor.app, timedelta(days=1))
    assert "Waiting: waited for 1 d" in spoken(visitor, run_id)["patience"]
    advance(visitor.app, timedelta(days=1, minutes=1))
    assert "waited for 2 d; queued for 1 min" in spoken(visitor, run_id)["patience"]
    work(visitor.app)
    assert "Done: waited for 2 d; attempt 1 completed after" in spoken(visitor, run_id)["patience"]
    assert "waited 2 d" in visitor.read(f"/runs/{run_id}")


@pytest.mark.rule("pages-rail")
def test_a_decision_shows_how_long_it_was_open(visitor: Visitor) -> None:
    run_id = start(visitor.app, Checkout, "7")
    advance(visitor.app, timedelta(hours=1))
    assert "Decision: asked a person for 1 h" in spoken(visitor, run_id)["review"]
    visitor.send(f"/runs/{run_id}/approve")
    advance(visitor.app, timedelta(hours=1))
    work(visitor.app)
    told = spoken(visitor, run_id)
    assert "Done: asked a person for 1 h" in told["review"]
    assert "Done: queued for 1 h" in told["capture"]


class Purchase(Workflow):
    place = Manual(Order)
    paid = WaitForEvent("payment.settled", key="{order_id}", within=timedelta(hours=1))
    ship = Step(lambda: None)

    flow = [paid >> ship, paid.on_timeout >> End("unpaid")]


@pytest.mark.rule("pages-rail")
def test_a_wait_for_an_event_was_no_work_however_it_ended(visitor: Visitor) -> None:
    mesh_of(visitor.app).register(Purchase)
    came, lapsed = start(visitor.app, Purchase, "7"), start(visitor.app, Purchase, "8")
    work(visitor.app)
    advance(visitor.app, timedelta(minutes=30))
    assert "Waiting: waited for 30 min" in spoken(visitor, came)["paid"]
    with visitor.app.app_context():
        mesh_of(visitor.app).send_event("payment.settled", key="7")
    advance(visitor.app, timedelta(minutes=30))
    work(visitor.app)
    assert "Done: waited for 30 min" in spoken(visitor, came)["paid"]
    assert "Timed out: waited for 1 h" in spoken(visitor, lapsed)["paid"]
    for run_id in (came, lapsed):
        page = visitor.get(f"/runs/{run_id}").text
        assert [worked for _x, _width, worked in bars_of(page, "paid")] == [False]


@pytest.mark.rule("pages-rail")
def test_retries_are_told_one_by_one_with_the_time_between_them(visitor: Visitor) -> None:
    run_id = start(visitor.app, Shipping, "7")
    advance(visitor.app, timedelta(minutes=11))
    work(visitor.app)
    told = spoken(visitor, run_id)["call_carrier"]
    assert re.search(r"attempt 1 failed after \d+ m?s; tried again after 11 min( \d+ s)?; attempt 2 failed after", told)
    assert "2 attempts, 11 min" in visitor.read(f"/runs/{run_id}")


def test_an_interrupted_step_shows_how_long_it_has_asked(visitor: Visitor) -> None:
    run_id = start(visitor.app, Payout, "7")
    advance(visitor.app, timedelta(hours=2))
    assert "; asked a person for 2 h" in spoken(visitor, run_id)["transfer"]


@pytest.mark.rule("pages-rail")
def test_a_join_is_queued_only_once_all_it_waits_for_has_ended(visitor: Visitor) -> None:
    run_id = start(visitor.app, Import, "7")
    visitor.send(f"/runs/{run_id}/approve?step=quality")
    advance(visitor.app, timedelta(hours=1))
    assert "waited for other steps for 1 h" in spoken(visitor, run_id)["store"]
    visitor.send(f"/runs/{run_id}/approve?step=customs")
    advance(visitor.app, timedelta(minutes=5))
    assert "waited for other steps for 1 h; queued for 5 min" in spoken(visitor, run_id)["store"]


@pytest.mark.rule("pages-idle")
def test_work_is_thick_and_waiting_thin_and_what_is_idle_for_long_is_cut_out(visitor: Visitor) -> None:
    run_id = start(visitor.app, Checkout, "7")
    advance(visitor.app, timedelta(days=3))
    page = visitor.get(f"/runs/{run_id}").text
    assert 'class="bar g-needs" y="49%" height="2"' in page
    assert 'class="bar g-completed" y="36%" height="28%"' in page
    assert "The gap hides 3 d without activity." in text_of(page)
    assert "3 d" in text_of(axis_of(page))
    assert "style=" not in page


def axis_of(page: str) -> str:
    return page.partition('<div class="axis">')[2].partition("</svg>")[0]


def bars_of(page: str, step: str) -> list[tuple[float, float, bool]]:
    """Where the bars of a step begin, how wide they are, and whether they are work."""
    line = page.partition('<ol class="rail">')[2].partition(f">{step}</a>")[2].partition("</li>")[0]
    found = re.findall(r'<rect class="bar [^"]*" y="(\d+)%" height="[^"]*" x="([\d.]+)%" width="([\d.]+)%"', line)
    return [(float(x), float(width), y == "36") for y, x, width in found]


def test_what_took_a_moment_is_drawn_as_a_moment(visitor: Visitor) -> None:
    clock = visitor.app.extensions["squidmesh"].clock.source

    def quick(order_id: str) -> None:
        clock.advance(timedelta(milliseconds=1))

    def slow(order_id: str) -> None:
        clock.advance(timedelta(minutes=33))

    class Uneven(Workflow):
        place = Manual(Order)
        first = Step(quick)
        second = Step(slow)
        flow = [first >> second]

    class Brief(Workflow):
        place = Manual(Order)
        only = Step(quick)

    mesh_of(visitor.app).register(Uneven, Brief)
    uneven = visitor.get(f"/runs/{start(visitor.app, Uneven)}").text
    [moment] = [width for _x, width, works in bars_of(uneven, "first") if works]
    [long] = [width for _x, width, works in bars_of(uneven, "second") if works]
    assert moment < 1 < 90 < long
    brief = visitor.get(f"/runs/{start(visitor.app, Brief)}").text
    assert all(width < 50 for _x, width, works in bars_of(brief, "only") if works)


def test_all_work_has_one_scale(visitor: Visitor) -> None:
    clock = visitor.app.extensions["squidmesh"].clock.source

    def work_for(seconds: int) -> Any:
        def perform(order_id: str) -> None:
            clock.advance(timedelta(seconds=seconds))

        return perform

    class Steady(Workflow):
        place = Manual(Order)
        ten = Step(work_for(10))
        patience = Wait(timedelta(days=2))
        thirty = Step(work_for(30))
        again = Wait(timedelta(hours=5))
        twenty = Step(work_for(20))
        flow = [ten >> patience >> thirty >> again >> twenty]

    mesh_of(visitor.app).register(Steady)
    run_id = start(visitor.app, Steady)
    for gap in (timedelta(days=2), timedelta(hours=5)):
        advance(visitor.app, gap)
        work(visitor.app)
    page = visitor.get(f"/runs/{run_id}").text
    ten, thirty, twenty = (
        next(width for _x, width, works in bars_of(page, step) if works) for step in ("ten", "thirty", "twenty")
    )
    assert thirty == pytest.approx(3 * ten, rel=0.05)
    assert twenty == pytest.approx(2 * ten, rel=0.05)
    told = text_of(page)
    assert "One mark on the axis is 5 s, everywhere the same." in told
    assert re.search(r"The gaps hide 2 d [45] h without activity\.", told)
    assert re.search(r'aria-label="From [^"]* to [^"]*; gaps of [^"]* are cut out"', page)


def test_the_axis_is_never_stretched(visitor: Visitor) -> None:
    run_id = start(visitor.app, Checkout, "7")
    page = visitor.get(f"/runs/{run_id}").text
    assert "viewBox" not in page.partition('id="rail"')[2].partition("</section>")[0]


def test_a_rejected_step_is_not_called_done(visitor: Visitor) -> None:
    run_id = start(visitor.app, Checkout, "7")
    visitor.send(f"/runs/{run_id}/reject", comment="no")
    work(visitor.app)
    assert spoken(visitor, run_id)["review"].startswith("Rejected: ")


def test_a_decision_that_is_late_says_so_in_its_row(visitor: Visitor) -> None:
    run_id = start(visitor.app, Checkout, "7")
    advance(visitor.app, timedelta(hours=6))
    assert "6 h, 2 h overdue" in visitor.read(f"/runs/{run_id}")


def test_how_long_a_run_took_is_the_same_in_the_list(visitor: Visitor) -> None:
    run_id = start(visitor.app, Reminder, "7")
    advance(visitor.app, timedelta(days=2, hours=5))
    work(visitor.app)
    assert "took 2 d 5 h" in visitor.read(f"/runs/{run_id}")
    assert "2 d 5 h" in visitor.read("/runs")


SHOWN = [(at(0), at(5)), (at(95), at(100))]


@pytest.mark.rule("pages-idle")
def test_only_a_gap_that_is_a_good_part_of_the_line_is_cut_out() -> None:
    assert time_scale(START, at(100), [(at(0), at(40)), (at(45), at(100))]).cuts == ()
    assert time_scale(START, at(100), []).cuts == ()
    scale = time_scale(START, at(100), SHOWN)
    [cut] = scale.cuts
    assert at(5) < cut.start < at(6)
    assert at(94) < cut.end < at(95)
    assert scale.place(at(5)) - scale.place(at(0)) == pytest.approx(scale.place(at(100)) - scale.place(at(95)), abs=0.1)


def test_the_marks_of_the_axis_are_equally_far_apart_in_time() -> None:
    scale = time_scale(START, at(100), SHOWN)
    widths = {
        round(right.x - left.x, 1) for left, right in pairwise(scale.ticks) if not right.is_first and left.x < right.x
    }
    assert max(widths) - min(widths) < 0.2
    assert len([tick for tick in scale.ticks if tick.is_first]) == 2


@pytest.mark.parametrize("count", [0, 1, 2, 7, 40])
def test_the_stretches_fill_the_line_in_order(count: int) -> None:
    worked = [(at(100 * number), at(100 * number + 1)) for number in range(count + 1)]
    scale = time_scale(START, at(100 * count + 50), worked)
    edges = [*(each.x for each in scale.stretches), 100.0]
    assert edges == sorted(edges)
    assert edges[0] == 0
    assert all(
        right - left == pytest.approx(each.width, abs=0.05)
        for each, (left, right) in zip(scale.stretches, pairwise(edges), strict=True)
    )
    assert [each.end for each in scale.stretches[:-1]] == [each.start for each in scale.stretches[1:]]


@pytest.mark.parametrize(("start", "end"), [(0, 0), (100, 100), (50, 50), (-5, 120)])
def test_every_time_is_on_the_line(start: float, end: float) -> None:
    scale = time_scale(START, at(100), SHOWN)
    assert 0 <= scale.place(at(start)) <= scale.place(at(end)) <= 100
