"""From Needs you to a decision in a real browser: by mouse, by keyboard, and without scripts."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from flask import Flask
from playwright.sync_api import expect

from tests.web.shop import Checkout, Labels, Packing, fill, make_app, mesh_of, start, work

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

Serve = Callable[[Flask], str]
OUTLINE = "(({outlineStyle, outlineWidth}) => outlineStyle !== 'none' && parseFloat(outlineWidth) >= 2)"
FOCUSED = f"""() => {{
  const focused = document.activeElement;
  return {{text: focused.textContent.trim(), shown: {OUTLINE}(getComputedStyle(focused))}};
}}"""


@pytest.fixture
def bare(chromium: Browser) -> Iterator[Page]:
    """A page of a browser that runs no scripts."""
    context = chromium.new_context(java_script_enabled=False)
    context.set_default_timeout(30_000)
    yield context.new_page()
    context.close()


def last_event(app: Flask, run_id: str) -> Any:
    with app.app_context():
        events = mesh_of(app).inspect_run(run_id, include_history=True).audit_events
    assert events
    return events[-1]


def tab_to(page: Page, text: str) -> None:
    """Press Tab until the link or button with this text has the focus; whatever has it on the way shows it."""
    for _ in range(40):
        page.keyboard.press("Tab")
        focused = page.evaluate(FOCUSED)
        assert focused["shown"], f"{focused['text']!r} has the focus and does not show it"
        if focused["text"] == text:
            return
    pytest.fail(f"{text} cannot be reached by Tab")


def test_approve_by_mouse(app: Flask, live_server: Serve, page: Page) -> None:
    start(app, Checkout, "7")
    page.goto(live_server(app) + "/squidmesh/")
    page.get_by_role("link", name="Approve…").click()
    comment = page.get_by_role("dialog").get_by_label("Comment")
    expect(comment).to_be_focused()
    comment.fill("known customer")
    page.get_by_role("dialog").get_by_role("button", name="Approve").click()
    page.get_by_text("Approved.").wait_for()
    page.get_by_role("heading", name="Nothing needs you.").wait_for()
    expect(page).to_have_title(re.compile(r"^[^(]"))


def test_approve_by_shortcuts(app: Flask, live_server: Serve, page: Page) -> None:
    run_id = start(app, Checkout, "7")
    page.goto(live_server(app) + "/squidmesh/runs")
    page.keyboard.press("g")
    page.keyboard.press("n")
    page.wait_for_url("**/squidmesh/")
    page.keyboard.press("j")
    page.keyboard.press("a")
    page.get_by_role("dialog").get_by_label("Comment").wait_for()
    page.keyboard.type("known customer")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.get_by_text("Approved.").wait_for()
    assert last_event(app, run_id).comment == "known customer"


def test_approve_by_tab_and_enter_with_the_focus_always_in_sight(app: Flask, live_server: Serve, page: Page) -> None:
    run_id = start(app, Checkout, "7")
    page.goto(live_server(app) + "/squidmesh/")
    tab_to(page, "Skip to content")
    page.keyboard.press("Enter")
    tab_to(page, "Approve…")
    page.keyboard.press("Enter")
    page.get_by_role("dialog").get_by_label("Comment").wait_for()
    page.keyboard.type("known customer")
    tab_to(page, "Approve")
    page.keyboard.press("Enter")
    page.get_by_text("Approved.").wait_for()
    assert last_event(app, run_id).comment == "known customer"


def test_a_question_mark_leads_to_the_help(app: Flask, live_server: Serve, page: Page) -> None:
    page.goto(live_server(app) + "/squidmesh/runs")
    page.keyboard.press("?")
    page.get_by_role("heading", name="Keys").wait_for()


def test_keys_can_be_switched_off(migrated_sqlite_url: str, live_server: Serve, page: Page) -> None:
    app = make_app(migrated_sqlite_url, SQUIDMESH_DASHBOARD_SHORTCUTS=False)
    page.goto(live_server(app) + "/squidmesh/runs")
    page.keyboard.press("?")
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement === document.body")
    assert page.url.endswith("/runs")


def test_escape_leaves_a_dialog_and_nothing_is_done(app: Flask, live_server: Serve, page: Page) -> None:
    start(app, Checkout, "7")
    page.goto(live_server(app) + "/squidmesh/")
    button = page.get_by_role("link", name="Reject…")
    button.click()
    page.get_by_role("dialog").get_by_label("Comment").wait_for()
    page.keyboard.press("Escape")
    page.get_by_role("dialog").wait_for(state="detached")
    expect(button).to_be_focused()


def test_a_closed_dialog_leaves_the_title_as_it_was(app: Flask, live_server: Serve, page: Page) -> None:
    start(app, Checkout, "7")
    page.goto(live_server(app) + "/squidmesh/")
    title = page.title()
    page.get_by_role("link", name="Reject…").click()
    page.get_by_role("dialog", name="Reject: Order 7").get_by_label("Comment").wait_for()
    assert page.title() == title
    page.keyboard.press("Escape")
    page.get_by_role("dialog").wait_for(state="detached")
    assert page.title() == title


def test_a_button_shows_that_its_dialog_is_on_the_way(app: Flask, live_server: Serve, page: Page) -> None:
    start(app, Checkout, "7")
    page.goto(live_server(app) + "/squidmesh/")
    held: list[Any] = []
    page.route("**/reject**", lambda route: held.append(route))
    button = page.get_by_role("link", name="Reject…")
    button.click()
    expect(button).to_have_attribute("aria-busy", "true")
    ring = "link => getComputedStyle(link, '::after').borderTopWidth"
    assert button.evaluate(ring) == "2px"
    assert page.get_by_role("dialog").count() == 0
    held[0].continue_()
    page.get_by_role("dialog").get_by_label("Comment").wait_for()
    page.keyboard.press("Escape")
    expect(button).not_to_have_attribute("aria-busy", "true")


@pytest.mark.parametrize("with_scripts", [True, False])
def test_after_acting_the_focus_is_at_what_came_of_it(
    app: Flask, live_server: Serve, page: Page, bare: Page, with_scripts: bool
) -> None:
    start(app, Checkout, "7")
    window = page if with_scripts else bare
    window.goto(live_server(app) + "/squidmesh/")
    window.get_by_role("link", name="Approve…").click()
    window.get_by_role("button", name="Approve").click()
    result = window.get_by_text("Approved.")
    result.wait_for()
    expect(result).to_be_focused()


def test_a_dialog_takes_the_focus_only_as_it_opens(app: Flask, live_server: Serve, page: Page) -> None:
    start(app, Checkout, "7")
    page.clock.install(time=0)
    page.goto(live_server(app) + "/squidmesh/")
    page.clock.pause_at(60_000)
    page.get_by_role("link", name="Approve…").click()
    page.get_by_role("dialog").get_by_label("Comment").wait_for()
    page.keyboard.press("Tab")
    page.clock.run_for(1_000)
    expect(page.get_by_role("dialog").get_by_role("button", name="Approve")).to_be_focused()


def test_a_refused_form_has_the_focus_where_something_is_wrong(app: Flask, live_server: Serve, page: Page) -> None:
    run_id = fill(app)["interrupted"]
    page.goto(live_server(app) + f"/squidmesh/runs/{run_id}")
    page.get_by_role("link", name="Count the step as done").first.click()
    output = page.get_by_role("dialog").get_by_label("What the step would have returned")
    output.fill("not JSON")
    page.get_by_role("dialog").get_by_role("button", name="Count the step as done").click()
    page.get_by_text("Line 1 is not JSON").wait_for()
    expect(output).to_be_focused()


def test_approve_without_scripts(app: Flask, live_server: Serve, bare: Page) -> None:
    run_id = start(app, Checkout, "7")
    bare.goto(live_server(app) + "/squidmesh/")
    bare.get_by_role("link", name="Approve…").click()
    bare.get_by_label("Comment").fill("known customer")
    bare.get_by_role("button", name="Approve").click()
    bare.get_by_text("Approved.").wait_for()
    bare.get_by_role("heading", name="Nothing needs you.").wait_for()
    assert last_event(app, run_id).comment == "known customer"


def test_filter_and_reject_without_scripts(app: Flask, live_server: Serve, bare: Page) -> None:
    ids = fill(app)
    bare.goto(live_server(app) + "/squidmesh/runs")
    bare.get_by_label("Search").fill("Order")
    bare.get_by_role("button", name="Filter").click()
    bare.get_by_role("link", name="Order 88213").click()
    bare.get_by_role("link", name="Reject…").click()
    bare.get_by_role("button", name="Reject").click()
    bare.get_by_text("Say why, in a few words").wait_for()
    bare.get_by_label("Comment").fill("fraud")
    bare.get_by_role("button", name="Reject").click()
    bare.get_by_text("Rejected.").wait_for()
    assert bare.url.endswith(ids["decision"])


def test_cancel_replay_and_start_without_scripts(app: Flask, live_server: Serve, bare: Page) -> None:
    parcel, label = start(app, Packing, "7"), start(app, Labels, "8")
    base = live_server(app) + "/squidmesh"
    bare.goto(f"{base}/runs/{parcel}/cancel")
    bare.get_by_label("Comment").fill("no longer wanted")
    bare.get_by_role("button", name="Cancel run").click()
    bare.wait_for_url(f"{base}/runs/{parcel}")
    assert last_event(app, parcel).type == "cancelled"
    bare.goto(f"{base}/runs/{label}/replay")
    bare.get_by_role("button", name="Replay").click()
    bare.wait_for_url(lambda url: url.startswith(f"{base}/runs/") and label not in url)
    bare.goto(f"{base}/workflows/packing/start")
    bare.get_by_label("Order Id").fill("started-by-hand")
    bare.get_by_role("button", name="Start").click()
    bare.get_by_role("heading", name="Parcel started-by-hand", exact=True).wait_for()
    work(app)


def test_paging_and_acting_on_many_without_scripts(migrated_sqlite_url: str, live_server: Serve, bare: Page) -> None:
    app = make_app(migrated_sqlite_url, SQUIDMESH_DASHBOARD_PAGE_SIZES=[2])
    ids = [start(app, Packing, str(number)) for number in range(3)]
    bare.goto(live_server(app) + "/squidmesh/runs")
    bare.get_by_role("link", name="Older").click()
    bare.get_by_role("link", name="Newest").click()
    bare.get_by_label("Choose Parcel 2").check()
    bare.get_by_role("button", name="With the ticked runs…").click()
    bare.get_by_role("link", name="Resume…").click()
    bare.get_by_role("button", name="Resume").click()
    bare.wait_for_url("**/bulk/*")
    with app.app_context():
        app.extensions["squidmesh"].bulk.go_on_with_all(60)
    assert [last_event(app, run_id).type for run_id in ids] == ["paused", "paused", "resumed"]
