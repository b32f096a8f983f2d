"""The pages in a real browser while things change underneath."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from flask import Flask

from tests.web.shop import Checkout, Labels, Reminder, fill, make_app, mesh_of, start, work

if TYPE_CHECKING:
    from playwright.sync_api import Page

Serve = Callable[[Flask], str]
QUICK: dict[str, Any] = {"SQUIDMESH_DASHBOARD_POLL_LIST": 0.2, "SQUIDMESH_DASHBOARD_POLL_RUN": 0.2}


@pytest.fixture
def quick(migrated_sqlite_url: str) -> Flask:
    """An app whose pages refresh five times a second."""
    return make_app(migrated_sqlite_url, **QUICK)


def test_the_inbox_fills_by_itself_and_the_title_counts(
    quick: Flask, live_server: Serve, page: Page, eventually: Callable[..., object]
) -> None:
    page.goto(live_server(quick) + "/squidmesh/")
    page.get_by_role("heading", name="Nothing needs you.").wait_for()
    start(quick, Checkout, "7")
    page.get_by_role("link", name="Order 7").wait_for()
    eventually(lambda: page.title().startswith("(1) Needs you"))


def test_rows_change_in_place_and_new_runs_are_announced(quick: Flask, live_server: Serve, page: Page) -> None:
    run_id = start(quick, Checkout, "7")
    page.goto(live_server(quick) + "/squidmesh/runs")
    row = page.locator(f"#row-{run_id}")
    assert "Decision" in row.inner_text()
    with quick.app_context():
        mesh_of(quick).approve_run(run_id, actor="lee")
    work(quick)
    row.get_by_text("Completed").wait_for()
    start(quick, Reminder, "8")
    page.get_by_role("link", name="1 new run. Show it").click()
    page.get_by_role("link", name="Reminder 8").wait_for()


def test_a_run_page_follows_its_run_to_the_end_and_then_rests(quick: Flask, live_server: Serve, page: Page) -> None:
    run_id = start(quick, Checkout, "7")
    page.goto(f"{live_server(quick)}/squidmesh/runs/{run_id}")
    with quick.app_context():
        mesh_of(quick).approve_run(run_id, actor="lee", comment="fine")
    work(quick)
    page.get_by_role("heading", name="It is completed").wait_for()
    page.get_by_role("cell", name="approved review").wait_for()
    page.locator("#pulse").wait_for(state="detached")
    assert page.get_by_text("Live, every").count() == 0


def test_a_refresh_spares_what_somebody_is_using(quick: Flask, live_server: Serve, page: Page) -> None:
    start(quick, Checkout, "7")
    page.goto(live_server(quick) + "/squidmesh/")
    page.get_by_role("link", name="Approve…").click()
    comment = page.get_by_role("dialog").get_by_label("Comment")
    comment.fill("half a sen")
    with page.expect_response(lambda answer: "/pulse" in answer.url and answer.status == 200):
        start(quick, Labels, "8")
    page.locator("#changed a").wait_for()
    assert comment.input_value() == "half a sen"
    assert comment.evaluate("field => field === document.activeElement")
    assert page.get_by_role("link", name="Label 8").count() == 0


def test_a_page_that_nobody_looks_at_does_not_ask(quick: Flask, live_server: Serve, page: Page) -> None:
    asked: list[str] = []
    page.add_init_script("Object.defineProperty(document, 'hidden', {get: () => window.unseen === true})")
    page.goto(live_server(quick) + "/squidmesh/")
    with page.expect_request(lambda request: "/pulse" in request.url):
        pass
    page.evaluate("window.unseen = true")
    page.on("request", lambda request: asked.append(request.url))
    page.wait_for_timeout(1000)
    assert len(asked) <= 1


def test_a_lost_connection_is_said_and_taken_back(quick: Flask, live_server: Serve, page: Page) -> None:
    page.goto(live_server(quick) + "/squidmesh/")
    page.get_by_role("heading", name="Nothing needs you.").wait_for()
    page.context.set_offline(True)
    page.get_by_text("Connection lost").wait_for()
    page.context.set_offline(False)
    page.get_by_text("Live, every").wait_for()


def test_filtering_while_typing_keeps_the_focus_and_the_address(app: Flask, live_server: Serve, page: Page) -> None:
    fill(app)
    page.goto(live_server(app) + "/squidmesh/runs")
    page.keyboard.press("/")
    page.keyboard.type("Parcel")
    page.get_by_role("link", name="Order 88213").wait_for(state="detached")
    assert page.get_by_role("link", name="Parcel 441").is_visible()
    assert page.url.endswith("/squidmesh/runs?q=Parcel")
    assert page.get_by_label("Search").evaluate("field => field === document.activeElement")
    page.keyboard.type(" 441")
    page.wait_for_url("**/runs?q=Parcel+441")
