"""Where the time of a run went: worked, queued, waited, asked; and what is folded."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from html import unescape

import pytest

from flask_squidmesh.dashboard.drawing.step_timeline import FOLDED, scale
from tests.web.shop import Checkout, Import, Payout, Reminder, Shipping, advance, start, work
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
def test_work_is_full_and_waiting_striped_and_what_is_idle_for_long_is_folded(visitor: Visitor) -> None:
    run_id = start(visitor.app, Checkout, "7")
    advance(visitor.app, timedelta(days=3))
    page = visitor.get(f"/runs/{run_id}").text
    assert 'fill="url(#hatch-needs)"' in page
    assert '<rect class="g-completed" y="1"' in page
    assert "3 d idle are folded where the bars are cut." in text_of(page)
    assert 'class="g-cut"' in page
    assert "style=" not in page


def test_how_long_a_run_took_is_the_same_in_the_list(visitor: Visitor) -> None:
    run_id = start(visitor.app, Reminder, "7")
    advance(visitor.app, timedelta(days=2, hours=5))
    work(visitor.app)
    assert "took 2 d 5 h" in visitor.read(f"/runs/{run_id}")
    assert "2 d 5 h" in visitor.read("/runs")


@pytest.mark.rule("pages-idle")
def test_only_what_is_most_of_the_line_is_folded() -> None:
    assert scale(START, at(100), [(at(0), at(1)), (at(60), at(100))]).fold is None
    assert scale(START, at(100), []).fold is None
    line = scale(START, at(100), [(at(0), at(5)), (at(95), at(100))])
    assert line.fold == (at(5), at(95))
    assert [line.place(at(minute)) for minute in (0, 5, 95, 100)] == [0, 44, 44 + FOLDED, 100]


@pytest.mark.parametrize(("start", "end"), [(0, 0), (100, 100), (50, 50), (-5, 120)])
def test_every_bar_can_be_seen_and_stays_on_the_line(start: float, end: float) -> None:
    x, width = scale(START, at(100), [(at(0), at(5)), (at(95), at(100))]).bar(at(start), at(end))
    assert 0 <= x <= x + width <= 100
    assert width >= 1
