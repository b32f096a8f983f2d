"""The pages in a real browser: by mouse, by keyboard, without scripts, and while things change underneath."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from flask import Flask

from tests.browser import accessibility_problems
from tests.web.shop import Checkout, Labels, Reminder, advance, fill, make_app, mesh_of, start, work

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

Serve = Callable[[Flask], str]
QUICK: dict[str, Any] = {"SQUIDMESH_DASHBOARD_POLL_LIST": 0.2, "SQUIDMESH_DASHBOARD_POLL_RUN": 0.2}


@pytest.fixture
def quick(migrated_sqlite_url: str) -> Flask:
    """An app whose pages refresh five times a second."""
    return make_app(migrated_sqlite_url, **QUICK)


def test_approve_by_mouse(app: Flask, live_server: Serve, page: Page) -> None:
    start(app, Checkout, "7")
    page.goto(live_server(app) + "/squidmesh/")
    page.get_by_role("link", name="Approve…").click()
    comment = page.get_by_role("dialog").get_by_label("Comment")
    comment.wait_for()
    assert comment.evaluate("field => field === document.activeElement")
    comment.fill("known customer")
    page.get_by_role("dialog").get_by_role("button", name="Approve").click()
    page.get_by_text("Approved.").wait_for()
    assert page.get_by_role("heading", name="Nothing needs you.").is_visible()
    assert not page.title().startswith("(")


def test_approve_by_keyboard_alone(app: Flask, live_server: Serve, page: Page) -> None:
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
    with app.app_context():
        events = mesh_of(app).inspect_run(run_id, include_history=True).audit_events
        assert events is not None
        assert events[-1].comment == "known customer"


def test_a_dialog_shows_what_was_wrong_with_its_form(app: Flask, live_server: Serve, page: Page) -> None:
    run_id = start(app, Checkout, "7")
    page.goto(f"{live_server(app)}/squidmesh/runs/{run_id}")
    page.get_by_role("link", name="Reject…").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Reject").click()
    dialog.get_by_text("Say why, in a few words").wait_for()
    comment = dialog.get_by_label("Comment")
    assert comment.evaluate("field => field === document.activeElement")
    comment.fill("fraud")
    with app.app_context():
        mesh_of(app).approve_run(run_id, actor="lee")
    dialog.get_by_role("button", name="Reject").click()
    dialog.get_by_role("heading", name="Nothing was done").wait_for()
    assert dialog.get_by_text("lee approved review").is_visible()
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


def test_escape_leaves_a_dialog_and_nothing_is_done(app: Flask, live_server: Serve, page: Page) -> None:
    start(app, Checkout, "7")
    page.goto(live_server(app) + "/squidmesh/")
    button = page.get_by_role("link", name="Reject…")
    button.click()
    page.get_by_role("dialog").get_by_label("Comment").wait_for()
    page.keyboard.press("Escape")
    page.get_by_role("dialog").wait_for(state="detached")
    assert button.evaluate("link => link === document.activeElement")


def test_everything_works_without_scripts(app: Flask, live_server: Serve, chromium: Browser) -> None:
    ids = fill(app)
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(live_server(app) + "/squidmesh/runs")
    page.get_by_label("Search").fill("Order")
    page.get_by_role("button", name="Filter").click()
    page.get_by_role("link", name="Order 88213").click()
    page.get_by_role("link", name="Reject…").click()
    page.get_by_role("button", name="Reject").click()
    assert page.get_by_text("Say why, in a few words").is_visible()
    page.get_by_label("Comment").fill("fraud")
    page.get_by_role("button", name="Reject").click()
    assert page.url.endswith(ids["decision"])
    assert page.get_by_text("Rejected.").is_visible()
    context.close()


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


def test_every_request_goes_to_the_app_itself(app: Flask, live_server: Serve, page: Page) -> None:
    ids, elsewhere = fill(app), list[str]()
    base = live_server(app)
    page.on("request", lambda request: elsewhere.append(request.url) if not request.url.startswith(base) else None)
    for path in ("/", "/runs", f"/runs/{ids['failed']}", "/workflows", "/help"):
        page.goto(f"{base}/squidmesh{path}", wait_until="networkidle")
    assert elsewhere == []


@pytest.fixture
def tour(app: Flask) -> list[str]:
    """The address of every kind of page."""
    ids = fill(app)
    advance(app, timedelta(hours=5))
    run = {word: f"/runs/{run_id}" for word, run_id in ids.items()}
    actions = [f"{run['decision']}/{verb}" for verb in ("approve", "reject", "cancel", "replay")]
    interrupted = [f"{run['interrupted']}/{verb}" for verb in ("retry", "resolve", "fail")]
    views = [f"{run['decision']}?view=graph", f"{run['compensated']}?step=hold", f"{run['failed']}/replay"]
    lists = ["/", "/runs", "/runs?q=nothing&word=failed", "/workflows", "/help", "/nowhere"]
    return [*lists, *run.values(), *actions, *interrupted, *views]


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_pages_are_accessible_and_never_scroll_sideways(
    app: Flask, live_server: Serve, page: Page, tour: list[str], theme: str, width: int
) -> None:
    base = live_server(app)
    page.set_viewport_size({"width": width, "height": 800})
    page.emulate_media(color_scheme="dark" if theme == "dark" else "light")
    for path in tour:
        page.goto(f"{base}/squidmesh{path}")
        assert accessibility_problems(page) == [], path
        sideways = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert sideways <= 0, path
