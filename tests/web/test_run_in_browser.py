"""The page of a run in a real browser: tabs without script, a phone, long words, a graph that can be read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest
from flask import Flask
from playwright.sync_api import expect

from flask_squidmesh import Approval, Manual, Step, Workflow
from tests.browser import accessibility_problems
from tests.web.shop import Checkout, Import, Order, make_app, mesh_of, start, work
from tests.web.test_run_page import once

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

Serve = Callable[[Flask], str]
PHONE = {"width": 390, "height": 800}
TABS = ("steps", "graph", "data", "history")
TEXTS = """() => [...document.querySelectorAll("svg.graph text")].map(
  (text) => parseFloat(getComputedStyle(text).fontSize) * text.getScreenCTM().a)"""
SIDEWAYS = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.fixture
def still(chromium: Browser) -> Iterator[Page]:
    """A page without JavaScript."""
    context = chromium.new_context(java_script_enabled=False, viewport=PHONE)  # type: ignore[arg-type]
    yield context.new_page()
    context.close()


def wide() -> type[Workflow]:
    """One step, eight that follow at once, and one that waits for all."""
    begin = Step(once, after=[])
    middle = {f"middle_{number}": Step(once, after=[begin]) for number in range(8)}
    return type(
        "Wide",
        (Workflow,),
        {"place": Manual(Order), "begin": begin, **middle, "end": Step(once, after=[*middle.values()])},
    )


def lengthy() -> type[Workflow]:
    """Names and texts as long as they may be, without a place to break."""
    first, ask, then = Step(once), Approval(prompt="{note}"), Step(once)
    steps = {"w" * 100: first, "W" * 100: ask, "_" * 40 + "x" * 60: then}
    flow = [first >> ask >> then, ask.on_reject >> then]
    return type("Lengthy", (Workflow,), {"subject": "{note}", "place": Manual(Order), **steps, "flow": flow})


def test_a_phone_shows_what_is_to_be_decided_and_the_rest_by_tabs_without_script(
    app: Flask, live_server: Serve, still: Page
) -> None:
    run_id = start(app, Checkout, "7", note="x " * 70)
    still.goto(f"{live_server(app)}/squidmesh/runs/{run_id}")
    expect(still.get_by_role("heading", name="It waits for a decision at review")).to_be_visible()
    expect(still.get_by_role("link", name="Approve…")).to_be_in_viewport()
    expect(still.get_by_role("link", name="Reject…")).to_be_in_viewport()
    expect(still.locator(".tab:visible")).to_have_count(0)
    for tab in TABS:
        still.locator(f"#run-tabs a[href$='#{tab}']").click()
        expect(still.locator(f"#{tab}")).to_be_visible()
        expect(still.locator(".tab:visible")).to_have_count(1)


def test_a_desk_shows_the_steps_first_and_one_tab_at_a_time(app: Flask, live_server: Serve, page: Page) -> None:
    run_id = start(app, Checkout, "7")
    page.goto(f"{live_server(app)}/squidmesh/runs/{run_id}")
    expect(page.locator("#steps")).to_be_visible()
    expect(page.locator(".tab:visible")).to_have_count(1)
    page.get_by_role("link", name="Data", exact=True).click()
    expect(page.locator("#steps")).to_be_hidden()
    expect(page.get_by_role("heading", name="Payload")).to_be_visible()
    assert accessibility_problems(page) == []


def test_no_text_however_long_makes_the_page_scroll_sideways(app: Flask, live_server: Serve, page: Page) -> None:
    workflow = lengthy()
    mesh_of(app).register(workflow)
    run_id = start(app, workflow, "7", note="W" * 300)
    base = f"{live_server(app)}/squidmesh/runs/{run_id}"
    page.set_viewport_size(PHONE)  # type: ignore[arg-type]
    for address in (
        "",
        "#steps",
        "?view=graph#graph",
        "#data",
        "#history",
        "?view=events#history",
        f"?step={'w' * 100}#inspector",
    ):
        page.goto(base + address)
        assert page.evaluate(SIDEWAYS) == 0, address
        assert accessibility_problems(page) == [], address
    page.goto(base + "?view=graph#graph")
    boxes = "() => [...document.querySelectorAll('.node')].every((node) => node.getBBox().width <= 270)"
    assert page.evaluate(boxes)


@pytest.mark.parametrize("width", [390, 1280])
def test_the_graph_keeps_its_letters_and_scrolls_in_its_own_place(
    app: Flask, live_server: Serve, page: Page, width: int
) -> None:
    workflow = wide()
    mesh_of(app).register(workflow)
    run_id = start(app, workflow)
    page.set_viewport_size({"width": width, "height": 800})
    page.goto(f"{live_server(app)}/squidmesh/runs/{run_id}?view=graph#graph")
    sizes = page.evaluate(TEXTS)
    assert len(sizes) > 20
    assert min(sizes) >= 12
    assert page.evaluate(SIDEWAYS) == 0
    assert page.locator(".graphs .scroll").evaluate("place => place.scrollWidth > place.clientWidth")
    assert accessibility_problems(page) == []


def test_a_link_leads_to_where_the_run_is_in_a_graph_that_is_wider_than_the_window(
    app: Flask, live_server: Serve, page: Page
) -> None:
    begin = Step(once, after=[])
    middle = {f"middle_{number}": Step(once, after=[begin]) for number in range(8)}
    ask = Approval(prompt="Yes?", after=[begin])
    workflow = type("Far", (Workflow,), {"place": Manual(Order), "begin": begin, **middle, "ask": ask})
    mesh_of(app).register(workflow)
    page.set_viewport_size(PHONE)  # type: ignore[arg-type]
    page.goto(f"{live_server(app)}/squidmesh/runs/{start(app, workflow)}?view=graph#graph")
    node = page.get_by_role("link", name="ask: Decision")
    expect(node).not_to_be_in_viewport()
    page.get_by_role("link", name="Show where the run is").click()
    expect(node).to_be_in_viewport()
    expect(page.locator("#graph")).to_be_visible()


def test_the_graph_is_walked_by_keyboard(app: Flask, live_server: Serve, page: Page) -> None:
    run_id = start(app, Checkout, "7")
    page.goto(f"{live_server(app)}/squidmesh/runs/{run_id}?view=graph#graph")
    node = page.get_by_role("link", name="capture: Not yet, cannot be undone")
    page.locator(".graphs .scroll").focus()
    for _step in range(3):
        page.keyboard.press("Tab")
    expect(node).to_be_focused()
    page.keyboard.press("Enter")
    page.wait_for_url("**step=capture**")
    expect(page.locator("#inspector-heading")).to_be_visible()


def test_a_refresh_leaves_the_tab_open(migrated_sqlite_url: str, live_server: Serve, page: Page) -> None:
    app = make_app(migrated_sqlite_url, SQUIDMESH_DASHBOARD_POLL_RUN=0.2)
    run_id = start(app, Checkout, "7")
    page.set_viewport_size(PHONE)  # type: ignore[arg-type]
    page.goto(f"{live_server(app)}/squidmesh/runs/{run_id}?view=graph")
    for tab in ("history", "steps", "graph"):
        page.locator(f"#run-tabs a[href$='#{tab}']").click()
        expect(page.locator(f"#{tab}")).to_be_visible()
    with app.app_context():
        mesh_of(app).approve_run(run_id, actor="ann")
    work(app)
    page.get_by_role("heading", name="It is completed").wait_for()
    expect(page.get_by_role("link", name="receipt: Done")).to_be_visible()
    expect(page.locator(".tab:visible")).to_have_count(1)


def test_buttons_stick_where_one_card_asks_and_stay_in_their_cards_where_several_do(
    app: Flask, live_server: Serve, still: Page
) -> None:
    base = live_server(app)
    places = "bars => bars.map((bar) => getComputedStyle(bar).position)"
    still.goto(f"{base}/squidmesh/runs/{start(app, Checkout, '7')}")
    assert still.locator(".optbar").evaluate_all(places) == ["sticky"]
    still.goto(f"{base}/squidmesh/runs/{start(app, Import, '8')}")
    assert still.locator(".optbar").evaluate_all(places) == ["static", "static"]
    for card in still.locator("article.decision").all():
        question, bar = card.locator(".lead").bounding_box(), card.locator(".optbar").bounding_box()
        assert question
        assert bar
        assert question["y"] + question["height"] <= bar["y"]


def test_what_happened_stays_within_its_panel_on_a_phone(app: Flask, live_server: Serve, still: Page) -> None:
    still.goto(f"{live_server(app)}/squidmesh/runs/{start(app, Checkout, '7')}#history")
    panel, row = still.locator("#happened").bounding_box(), still.locator("#happened td").first.bounding_box()
    assert panel
    assert row
    assert row["x"] >= panel["x"] + 12
