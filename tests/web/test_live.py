"""What pages that refresh by themselves say, and that they take no focus and no selection away."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from flask import Flask, abort, redirect, request, url_for
from playwright.sync_api import expect

from flask_squidmesh.dashboard import layout
from tests.web.shop import Checkout, Packing, advance, make_app, mesh_of, start

if TYPE_CHECKING:
    from playwright.sync_api import Page

Serve = Callable[[Flask], str]


@pytest.fixture
def quick(migrated_sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> Flask:
    """An app whose pages all refresh five times a second, and which shows the time of Tokyo."""
    monkeypatch.setattr(layout, "SLOWER", {})
    settings: dict[str, Any] = {"SQUIDMESH_DASHBOARD_POLL_LIST": 0.2, "SQUIDMESH_DASHBOARD_TIMEZONE": "Asia/Tokyo"}
    return make_app(migrated_sqlite_url, **settings)


@pytest.mark.rule("pages-lost-connection")
def test_a_server_that_is_down_is_told_with_its_own_time_until_it_is_back(
    quick: Flask, live_server: Serve, page: Page
) -> None:
    page.goto(live_server(quick) + "/squidmesh/schedules")
    page.get_by_text("Refreshes every").wait_for()
    page.route("**/pulse*", lambda route: route.abort())
    lost = page.get_by_role("status").filter(has_text="Connection lost; this page is from")
    lost.wait_for()
    assert lost.inner_text().endswith(" JST")
    expect(page.get_by_text("Refreshes every")).to_be_hidden()
    page.unroute("**/pulse*")
    page.get_by_text("Refreshes every").wait_for()
    expect(page.get_by_role("status")).to_have_text("")


@pytest.mark.rule("pages-title")
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


@pytest.mark.rule("pages-refresh")
def test_a_refresh_waits_while_text_is_selected(quick: Flask, live_server: Serve, page: Page) -> None:
    start(quick, Packing, "7")
    page.goto(live_server(quick) + "/squidmesh/")
    page.evaluate("getSelection().selectAllChildren(document.querySelector('.task .why'))")
    start(quick, Packing, "8")
    page.get_by_role("link", name="Something has changed. Show it").wait_for()
    assert "Is parcel 7 sealed?" in page.evaluate("getSelection().toString()")
    assert page.get_by_role("link", name="Parcel 8").count() == 0


class Door:
    """Who comes in: everybody while `answer` is None, else nobody, who is answered with that status."""

    def __init__(self, app: Flask) -> None:
        self.answer: int | None = None
        app.before_request(self._refuse)
        app.add_url_rule("/login", "login", self._log_in, methods=["GET", "POST"])

    def _refuse(self) -> Any:
        if self.answer is None or request.path == "/login":
            return None
        return redirect(url_for("login", next=request.full_path)) if self.answer == 302 else abort(self.answer)

    def _log_in(self) -> Any:
        if request.method == "GET":
            return '<title>In</title><form method="post"><button>Log in</button></form>'
        self.answer = None
        return redirect(request.args["next"])


@pytest.fixture
def door(quick: Flask) -> Door:
    return Door(quick)


def test_whoever_logs_in_again_is_back_on_the_page_that_asked(
    quick: Flask, door: Door, live_server: Serve, page: Page
) -> None:
    start(quick, Packing, "7")
    site = live_server(quick)
    page.goto(f"{site}/squidmesh/runs?word=paused")
    door.answer = 302
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("link", name="Parcel 7", exact=True).wait_for()
    assert page.url.rstrip("?") == f"{site}/squidmesh/runs?word=paused"


def test_whoever_is_writing_is_told_of_the_log_in_and_goes_there_when_they_like(
    quick: Flask, door: Door, live_server: Serve, page: Page
) -> None:
    start(quick, Packing, "7")
    page.goto(live_server(quick) + "/squidmesh/")
    page.get_by_role("link", name="Resume…").click()
    comment = page.get_by_role("dialog").get_by_label("Comment")
    comment.fill("half a sen")
    door.answer = 302
    page.locator(".live.lost [role=status]").filter(has_text="You are signed out").wait_for()
    assert comment.input_value() == "half a sen"
    page.get_by_role("dialog").get_by_text("You are signed out, so this cannot be sent.").wait_for()
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Log in").wait_for()


def test_what_was_typed_into_a_dialog_can_be_copied_where_the_session_has_ended(
    quick: Flask, door: Door, live_server: Serve, page: Page
) -> None:
    run_id = start(quick, Packing, "7")
    page.goto(f"{live_server(quick)}/squidmesh/runs/{run_id}")
    page.get_by_role("link", name="Resume…").first.click()
    page.get_by_role("dialog").get_by_label("Comment").fill("half a sentence")
    door.answer = 302
    page.get_by_role("dialog").get_by_role("button", name="Resume").click()
    page.get_by_text("Your session has ended, and nothing was done.").wait_for()
    assert page.get_by_label("Comment").input_value() == "half a sentence"
    page.get_by_role("link", name="Sign in").click()
    page.get_by_role("button", name="Log in").wait_for()


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (401, "You are signed out, or may not see this any more; this page is from"),
        (403, "You are signed out, or may not see this any more; this page is from"),
        (404, "What is shown here is gone; this page is from"),
        (429, "The server has too much to do; this page is from"),
        (400, "Connection lost; this page is from"),
    ],
)
def test_no_page_says_live_over_data_that_it_may_not_renew(
    quick: Flask, door: Door, live_server: Serve, page: Page, answer: int, told: str
) -> None:
    page.goto(live_server(quick) + "/squidmesh/schedules")
    page.get_by_text("Refreshes every").wait_for()
    door.answer = answer
    page.locator(".live.lost [role=status]").filter(has_text=told).wait_for()
    expect(page.get_by_text("Refreshes every")).to_be_hidden()
    expect(page.get_by_role("link", name="Open the page again")).to_be_visible(visible=answer in (401, 403, 404))
    door.answer = None
    if answer != 429:  # which rests for a while
        page.get_by_text("Refreshes every").wait_for()
        expect(page.get_by_role("link", name="Open the page again")).to_be_hidden()


def test_rights_that_are_withdrawn_are_told(quick: Flask, live_server: Serve, page: Page) -> None:
    run_id = start(quick, Packing, "7")
    page.goto(f"{live_server(quick)}/squidmesh/runs/{run_id}")
    page.get_by_text("Refreshes every").wait_for()
    mesh_of(quick).authorize(lambda action, run, permission: False)
    page.locator(".live.lost [role=status]").filter(has_text="may not see this any more").wait_for()


def test_the_log_in_of_a_proxy_is_not_taken_for_an_answer(quick: Flask, live_server: Serve, page: Page) -> None:
    page.goto(live_server(quick) + "/squidmesh/schedules")
    theirs = '<div id="fresh" hx-swap-oob="true">Log in at the proxy</div>'
    page.route("**/pulse*", lambda route: route.fulfill(status=200, content_type="text/html", body=theirs))
    page.get_by_role("status").filter(has_text="Connection lost").wait_for()
    expect(page.get_by_text("Log in at the proxy")).to_have_count(0)


def test_a_page_that_was_come_back_to_tells_of_a_server_that_stops(
    quick: Flask, live_server: Serve, page: Page
) -> None:
    start(quick, Packing, "7")
    page.goto(live_server(quick) + "/squidmesh/runs")
    page.get_by_label("Workflow").select_option("packing")
    page.wait_for_url("**/runs?workflow=packing")
    page.go_back()
    page.wait_for_url("**/runs")
    page.get_by_text("Refreshes every").wait_for()
    page.get_by_role("link", name="Parcel 7").click()
    page.get_by_role("heading", name="Parcel 7", exact=True).wait_for()
    page.go_back()
    page.get_by_text("Refreshes every").wait_for()
    page.route("**/pulse*", lambda route: route.abort())
    page.get_by_role("status").filter(has_text="Connection lost; this page is from").wait_for()
    expect(page.get_by_text("Refreshes every")).to_be_hidden()


def test_what_the_script_holds_is_found_again_after_the_page_was_put_in_its_place_anew(
    quick: Flask, live_server: Serve, page: Page
) -> None:
    start(quick, Packing, "7")
    page.goto(live_server(quick) + "/squidmesh/")
    page.evaluate("htmx.swap('body', document.body.innerHTML, {swapStyle: 'innerHTML'})")
    page.get_by_text("Refreshes every").wait_for()
    page.get_by_role("link", name="Resume…").click()
    page.get_by_role("dialog").get_by_label("Comment").wait_for()
    page.get_by_role("dialog").get_by_role("link", name="Back").click()
    page.get_by_role("dialog").wait_for(state="hidden")
    page.route("**/pulse*", lambda route: route.abort())
    page.get_by_role("status").filter(has_text="Connection lost; this page is from").wait_for()


def test_times_go_on_by_themselves(migrated_sqlite_url: str, live_server: Serve, page: Page) -> None:
    app = make_app(migrated_sqlite_url)
    run_id = start(app, Checkout, "7")
    site = live_server(app) + "/squidmesh"
    page.clock.install()
    for address in ("/?live=0", "/runs?live=0", f"/runs/{run_id}?live=0"):
        page.goto(site + address)
        due = page.locator("main time[data-tick=text]", has_text=re.compile("in (4 h|3 h 59 min)")).first
        due.wait_for()
        page.clock.fast_forward("03:30:00")
        expect(page.locator("main time", has_text=re.compile("^in (30|29) min$")).first).to_be_visible()
        page.clock.fast_forward("01:00:00")
        expect(page.locator("main time", has_text=re.compile("^(30|29) min ago$|^(30|31) min$")).first).to_be_visible()


def test_what_falls_due_says_so_at_once(quick: Flask, live_server: Serve, page: Page) -> None:
    start(quick, Checkout, "7")
    page.goto(live_server(quick) + "/squidmesh/")
    page.get_by_text(re.compile("in (4 h|3 h 59 min)")).first.wait_for()
    advance(quick, timedelta(hours=3, minutes=30))
    page.get_by_text(re.compile("in (30|29) min")).first.wait_for()
    advance(quick, timedelta(hours=1))
    page.get_by_text(re.compile(r"\d+ min overdue")).wait_for()
