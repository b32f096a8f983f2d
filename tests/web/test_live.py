"""What pages that refresh by themselves say, and that they take no focus and no selection away."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from flask import Flask
from playwright.sync_api import expect

from flask_squidmesh.dashboard import frame
from tests.web.shop import Checkout, Packing, make_app, mesh_of, start

if TYPE_CHECKING:
    from playwright.sync_api import Page

Serve = Callable[[Flask], str]


@pytest.fixture
def quick(migrated_sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> Flask:
    """An app whose pages all refresh five times a second, and which shows the time of Tokyo."""
    monkeypatch.setattr(frame, "SLOWER", {})
    settings: dict[str, Any] = {"SQUIDMESH_DASHBOARD_POLL_LIST": 0.2, "SQUIDMESH_DASHBOARD_TIMEZONE": "Asia/Tokyo"}
    return make_app(migrated_sqlite_url, **settings)


def test_a_server_that_is_down_is_told_with_its_own_time_until_it_is_back(
    quick: Flask, live_server: Serve, page: Page
) -> None:
    page.goto(live_server(quick) + "/squidmesh/schedules")
    page.get_by_text("Live, every").wait_for()
    page.route("**/pulse*", lambda route: route.abort())
    lost = page.get_by_role("status").filter(has_text="Connection lost; this page is from")
    lost.wait_for()
    assert lost.inner_text().endswith(" JST")
    expect(page.get_by_text("Live, every")).to_be_hidden()
    page.unroute("**/pulse*")
    page.get_by_text("Live, every").wait_for()
    expect(page.get_by_role("status")).to_have_text("")


def test_title_and_voice_tell_what_came_on_a_page_that_shows_nothing_of_it(
    quick: Flask, live_server: Serve, page: Page
) -> None:
    page.goto(live_server(quick) + "/squidmesh/schedules")
    assert page.title().startswith("Schedules")
    start(quick, Checkout, "7")
    page.get_by_role("link", name="Needs you 1").wait_for()
    expect(page).to_have_title(re.compile(r"\(1\) Schedules"))
    expect(page.get_by_role("status")).to_have_text("1 run needs you")


def test_a_row_that_changes_keeps_the_focus(quick: Flask, live_server: Serve, page: Page) -> None:
    run_id = start(quick, Packing, "8")
    page.goto(live_server(quick) + "/squidmesh/runs")
    page.get_by_role("link", name="Parcel 8").focus()
    with quick.app_context():
        mesh_of(quick).unblock_run(run_id, actor="lee")
    page.locator(f"#row-{run_id} .st").filter(has_text="Paused").wait_for(state="detached")
    expect(page.get_by_role("link", name="Parcel 8")).to_be_focused()


def test_a_refresh_waits_while_text_is_selected(quick: Flask, live_server: Serve, page: Page) -> None:
    start(quick, Packing, "7")
    page.goto(live_server(quick) + "/squidmesh/")
    page.evaluate("getSelection().selectAllChildren(document.querySelector('.card .why'))")
    start(quick, Packing, "8")
    page.get_by_role("link", name="Something has changed. Show it").wait_for()
    assert "Is parcel 7 sealed?" in page.evaluate("getSelection().toString()")
    assert page.get_by_role("link", name="Parcel 8").count() == 0
