"""The pages in a real browser: dialogs, and what happens while things change underneath."""

from __future__ import annotations

import re
from collections.abc import Callable
from html import unescape
from typing import TYPE_CHECKING, Any

import pytest
from flask import Flask
from playwright.sync_api import expect

from tests.web.shop import Checkout, Labels, Reminder, fill, make_app, mesh_of, start, work
from tests.web.visiting import Visitor

if TYPE_CHECKING:
    from playwright.sync_api import Page, Request, Response

Serve = Callable[[Flask], str]
QUICK: dict[str, Any] = {"SQUIDMESH_DASHBOARD_POLL_LIST": 0.2, "SQUIDMESH_DASHBOARD_POLL_RUN": 0.2}


FEW_POLLS = 1000
WATCH = """() => {
  window.changes = 0;
  const count = (records) => { window.changes += records.length; };
  new MutationObserver(count).observe(document.documentElement, {childList: true, subtree: true, characterData: true});
}"""


def is_poll(message: Request | Response) -> bool:
    return "/pulse" in message.url


def polls(page: Page) -> list[str]:
    """The polls of the page from now on."""
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if is_poll(request) else None)
    return asked


def approve(app: Flask, run_id: str) -> None:
    with app.app_context():
        mesh_of(app).approve_run(run_id, actor="lee", comment="fine")
    work(app)


@pytest.fixture
def quick(migrated_sqlite_url: str) -> Flask:
    """An app whose pages refresh five times a second."""
    return make_app(migrated_sqlite_url, **QUICK)


@pytest.mark.rule("rights-conflict")
def test_a_dialog_shows_what_was_wrong_with_its_form(app: Flask, live_server: Serve, page: Page) -> None:
    run_id = start(app, Checkout, "7")
    page.goto(f"{live_server(app)}/squidmesh/runs/{run_id}")
    page.get_by_role("link", name="Reject…").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Reject").click()
    dialog.get_by_text("Say why, in a few words").wait_for()
    comment = dialog.get_by_label("Comment")
    expect(comment).to_be_focused()
    comment.fill("fraud")
    with app.app_context():
        mesh_of(app).approve_run(run_id, actor="lee")
    dialog.get_by_role("button", name="Reject").click()
    dialog.get_by_role("heading", name="Nothing was done").wait_for()
    dialog.get_by_text("lee approved review").wait_for()
    assert page.url.endswith(run_id)


def test_a_dialog_that_is_refused_shows_the_page_that_says_why(app: Flask, live_server: Serve, page: Page) -> None:
    run_id = start(app, Checkout, "7")
    page.goto(f"{live_server(app)}/squidmesh/runs/{run_id}")
    page.get_by_role("link", name="Approve…").click()
    approve = page.get_by_role("dialog").get_by_role("button", name="Approve")
    approve.wait_for()
    mesh_of(app).authorize(lambda action, run, permission: action != "approve")
    approve.click()
    page.get_by_role("heading", name="You may not do this").wait_for()


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
    page.get_by_role("link", name="History").click()
    page.get_by_role("cell", name="approved review").wait_for()
    page.locator("#pulse").wait_for(state="detached")
    expect(page.get_by_text("Refreshes every")).to_have_count(0)


@pytest.mark.rule("pages-refresh")
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


def test_a_page_that_nobody_looks_at_does_not_ask_and_catches_up_at_once(
    quick: Flask, live_server: Serve, page: Page
) -> None:
    page.add_init_script("Object.defineProperty(document, 'hidden', {get: () => window.unseen === true})")
    page.goto(live_server(quick) + "/squidmesh/")
    page.evaluate("window.unseen = true")
    page.wait_for_load_state("networkidle")
    asked = polls(page)
    page.wait_for_timeout(FEW_POLLS)
    assert asked == []
    page.evaluate("window.unseen = false; document.dispatchEvent(new Event('visibilitychange'))")
    assert len(asked) == 1


def test_refreshing_is_paused_in_the_bar_for_every_page(quick: Flask, live_server: Serve, page: Page) -> None:
    page.goto(live_server(quick) + "/squidmesh/")
    page.get_by_role("link", name="Stop refreshing").click()
    page.get_by_role("link", name="Refresh", exact=True).wait_for()
    page.get_by_role("link", name="Runs", exact=True).click()
    page.wait_for_load_state("networkidle")
    asked = polls(page)
    page.wait_for_timeout(FEW_POLLS)
    assert asked == []
    with page.expect_request(is_poll):
        page.get_by_role("link", name="Refresh", exact=True).click()


def test_a_lost_connection_is_said_and_taken_back(quick: Flask, live_server: Serve, page: Page) -> None:
    page.goto(live_server(quick) + "/squidmesh/")
    page.get_by_role("heading", name="Nothing needs you.").wait_for()
    page.context.set_offline(True)
    page.get_by_text("Connection lost").wait_for()
    page.context.set_offline(False)
    page.get_by_text("Refreshes every").wait_for()


def test_filtering_while_typing_keeps_the_focus_and_the_address(app: Flask, live_server: Serve, page: Page) -> None:
    fill(app)
    page.goto(live_server(app) + "/squidmesh/runs")
    page.keyboard.press("/")
    page.keyboard.type("Parcel")
    page.get_by_role("link", name="Order 88213").wait_for(state="detached")
    page.wait_for_url("**/squidmesh/runs?q=Parcel")
    page.get_by_role("link", name="Parcel 441").wait_for()
    expect(page.get_by_label("Search")).to_be_focused()
    page.keyboard.type(" 441")
    page.wait_for_url("**/runs?q=Parcel+441")


def test_an_unchanged_page_is_left_untouched(quick: Flask, live_server: Serve, page: Page) -> None:
    start(quick, Checkout, "7")
    page.goto(live_server(quick) + "/squidmesh/runs")
    page.evaluate(WATCH)
    for _ in range(3):
        with page.expect_response(is_poll) as answered:
            pass
        assert answered.value.status == 204
    assert page.evaluate("window.changes") == 0


def test_a_run_that_has_ended_is_asked_about_no_more(quick: Flask, live_server: Serve, page: Page) -> None:
    run_id = start(quick, Checkout, "7")
    page.goto(f"{live_server(quick)}/squidmesh/runs/{run_id}")
    with page.expect_response(lambda answer: is_poll(answer) and answer.status == 286):
        approve(quick, run_id)
    page.locator("#pulse").wait_for(state="detached")
    asked = polls(page)
    page.wait_for_timeout(FEW_POLLS)
    assert asked == []


def test_a_refresh_keeps_text_caret_ticks_and_scroll(quick: Flask, live_server: Serve, page: Page) -> None:
    runs = [start(quick, Checkout, f"{number:02}") for number in range(20)]
    page.set_viewport_size({"width": 900, "height": 500})
    page.goto(live_server(quick) + "/squidmesh/runs")
    page.get_by_label("Choose Order 07").check()
    search = page.get_by_label("Search")
    search.evaluate("field => { field.value = 'half a word'; field.focus(); field.setSelectionRange(4, 6); }")
    page.evaluate("window.scrollTo(0, 300)")
    approve(quick, runs[7])
    page.locator(f"#row-{runs[7]}").get_by_text("Completed").wait_for()
    assert page.get_by_label("Choose Order 07").is_checked()
    assert search.input_value() == "half a word"
    assert search.evaluate("field => [field === document.activeElement, field.selectionStart, field.selectionEnd]") == [
        *(True, 4, 6),
    ]
    assert page.evaluate("window.scrollY") == 300


@pytest.mark.rule("pages-refresh")
def test_a_refresh_leaves_what_somebody_has_unfolded(quick: Flask, live_server: Serve, page: Page) -> None:
    run_id = start(quick, Checkout, "7")
    page.goto(f"{live_server(quick)}/squidmesh/runs/{run_id}")
    page.locator("#inspector summary").first.click()
    page.locator("h1").click()
    approve(quick, run_id)
    page.get_by_role("heading", name="It is completed").wait_for()
    page.locator("#changed a").wait_for()
    assert "review" in page.locator("#inspector h2").inner_text()
    assert page.locator("#inspector details").first.evaluate("details => details.open")


def test_a_server_that_does_not_answer_is_noticed(quick: Flask, live_server: Serve, page: Page) -> None:
    page.goto(live_server(quick) + "/squidmesh/")
    page.route("**/pulse*", lambda route: None)
    page.get_by_text(re.compile(r"Connection lost; this page is from \d\d:\d\d:\d\d")).wait_for()
    page.unroute_all(behavior="ignoreErrors")
    page.get_by_text("Connection lost").wait_for(state="detached")


@pytest.mark.parametrize("path", ["/", "/runs", "/runs/{run}"])
def test_a_lost_connection_is_noticed_within_ten_seconds(visitor: Visitor, path: str) -> None:
    page = unescape(visitor.get(path.format(run=start(visitor.app, Reminder))).text)
    poll = re.search(r'id="pulse"[^>]*every (\d+)s[^>]*"timeout": (\d+)', page)
    assert poll
    assert int(poll[1]) + int(poll[2]) / 1000 < 10
