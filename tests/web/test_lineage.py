"""How a run's page leads to the runs it belongs with, and tells its story in order."""

from __future__ import annotations

import re
from html import unescape

import pytest

from tests.web.shop import Billing, Checkout, Labels, start, work
from tests.web.visiting import Visitor, text_of


@pytest.mark.rule("pages-events")
def test_every_replay_is_linked_and_leads_back(visitor: Visitor) -> None:
    run_id = start(visitor.app, Labels, "7")
    replays = [visitor.send(f"/runs/{run_id}/replay").location.rpartition("/")[2] for _ in range(2)]
    page = visitor.get(f"/runs/{run_id}").text
    for replay in replays:
        assert f'href="/squidmesh/runs/{replay}"' in page
        back = visitor.get(f"/runs/{replay}").text
        assert f'href="/squidmesh/runs/{run_id}"' in back
        assert "Label 7 replayed by this run" in text_of(back)
    with visitor.app.app_context():
        assert visitor.app.extensions["mesh"].inspect_run(run_id).replays == tuple(replays)


def test_a_new_relative_comes_without_loading_the_page(visitor: Visitor) -> None:
    run_id = start(visitor.app, Labels, "7")
    page = visitor.get(f"/runs/{run_id}").text
    assert re.search(r'id="family"[^>]* hidden', page)
    start_over = visitor.send(f"/runs/{run_id}/replay").location.rpartition("/")[2]
    refreshed = visitor.get(f"/pulse?view=run&v=old&run_id={run_id}").text
    family = refreshed[refreshed.index('id="family"') :].partition("</section>")[0]
    assert start_over in family
    assert " hidden" not in family.partition(">")[0]


@pytest.mark.rule("pages-events")
def test_a_run_can_be_read_as_one_list_of_events(visitor: Visitor) -> None:
    run_id = start(visitor.app, Checkout, "7")
    visitor.send(f"/runs/{run_id}/approve", comment="known customer")
    work(visitor.app)
    page = visitor.get(f"/runs/{run_id}").text
    link = re.search(rf'href="/squidmesh(/runs/{run_id}[^"]*)">Each small step too, on one page', page)
    assert link
    told = text_of(visitor.get(unescape(link[1])).text)
    story = (
        "buyer@shop.test started the run",
        "came to reserve",
        "attempt 1 at reserve began",
        "attempt 1 at reserve completed",
        "paused at review",
        "dana approved review known customer",
        "attempt 1 at capture completed",
        "the run completed",
    )
    places = [told.index(sentence) for sentence in story]
    assert places == sorted(places)


def test_the_list_of_events_tells_errors_and_what_was_undone(visitor: Visitor) -> None:
    run_id = start(visitor.app, Billing, "7")
    told = visitor.read(f"/runs/{run_id}?view=events")
    assert re.search(r"attempt 1 at take failed \S+ m?s · \S+ card declined", told)
    assert "undoing hold was planned" in told
    assert told.index("the run failed") < told.index("attempt 1 at hold completed undoing")
