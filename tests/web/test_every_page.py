"""What every page keeps to in a real browser, whatever it shows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from flask import Flask

from flask_squidmesh import Approval, Manual, Pause, Retry, Step, Workflow
from tests.browser import accessibility_problems
from tests.web import tour
from tests.web.shop import Checkout, Order, make_app, mesh_of, start

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

    from tests.databases import SqliteDatabases

Serve = Callable[[Flask], str]
HTMX_OWN = "htmx-current-path-for-history"
LOOKS = [(theme, width) for width in (1280, 390) for theme in ("light", "dark")]


@pytest.fixture
def addresses(app: Flask, live_server: Serve, sqlite_databases: SqliteDatabases) -> list[str]:
    """Every page of a busy app, of one where nothing has happened yet, and of one that lets nobody in."""
    ids, base = tour.furnish(app), live_server(app)
    empty = live_server(make_app(sqlite_databases.create_migrated()))
    return [
        *(f"{base}/squidmesh{path}" for path in tour.pages(ids)),
        *(f"{empty}/squidmesh{path}" for path in tour.EMPTY_PAGES),
        f"{base}/closed/runs",
    ]


def origin(address: str) -> str:
    """Scheme, host and port."""
    return "/".join(address.split("/")[:3])


def problems(page: Page) -> Iterator[str]:
    """What is wrong with the page as it stands, in either theme, on a desk and on a phone."""
    for theme, width in LOOKS:
        page.set_viewport_size({"width": width, "height": 800})
        page.emulate_media(color_scheme="dark" if theme == "dark" else "light")
        found = accessibility_problems(page, colours_only=theme == "dark")
        wider = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        found += [f"it scrolls sideways by {wider} px"] if wider > 0 else []
        yield from (f"{page.url} {theme} {width}: {each}" for each in found)


def test_pages_are_accessible_and_never_scroll_sideways(page: Page, addresses: list[str]) -> None:
    found: list[str] = []
    for address in addresses:
        page.goto(address)
        found += problems(page)
    assert found == []


def test_names_as_long_as_they_may_be_fit_on_a_phone(app: Flask, live_server: Serve, page: Page) -> None:
    def fails(order_id: str) -> None:
        raise ValueError("E" * 300)

    def begun() -> dict[str, Any]:
        return {"subject": "{note}", "begin": Manual(Order)}

    ask, broken, stop = Approval("Q" * 500, permission="p" * 100), Step(fails, retry=Retry(1)), Pause()
    flow = [ask >> stop, ask.on_reject >> stop]
    asking = type("Asking" + "A" * 90, (Workflow,), {**begun(), "W" * 100: ask, "stop": stop, "flow": flow})
    failing = type("Failing" + "F" * 90, (Workflow,), {**begun(), "w" * 100: broken})
    mesh_of(app).register(asking, failing)
    for workflow, note in ((asking, "S" * 500), (asking, " "), (failing, "T" * 500), (failing, "U" * 500)):
        start(app, workflow, "7", note=note)
    base = live_server(app) + "/squidmesh"
    found: list[str] = []
    for path in (*tour.LISTS, "/?tab=problems", "/bulk?word=failed", "/bulk?word=failed&action=acknowledge"):
        page.goto(base + path)
        found += problems(page)
        links = page.locator("main a").all()
        found += [f"{path}: {each.get_attribute('href')} has no width" for each in links if not _is_wide(each)]
    assert found == []


def _is_wide(link: Locator) -> bool:
    box = link.bounding_box() if link.is_visible() else None
    return box is None or box["width"] >= 8


def test_pages_load_from_the_app_alone_and_keep_no_data_in_the_browser(page: Page, addresses: list[str]) -> None:
    """That none breaks the security policy is checked for every page of every test when it closes."""
    asked: set[str] = set()
    page.on("request", lambda request: asked.add(origin(request.url)))
    for address in addresses:
        page.goto(address)
        local, of_session = page.evaluate("[{...localStorage}, {...sessionStorage}]")
        assert local == {}
        assert of_session in ({}, {HTMX_OWN: address.removeprefix(origin(address))})
    assert asked == {origin(address) for address in addresses}


def away(*_: object, **__: object) -> None:
    raise sa.exc.OperationalError("SELECT 1", {}, Exception("server closed the connection"))


def test_dialogs_refusals_and_failures_are_accessible_too(
    app: Flask, live_server: Serve, page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = start(app, Checkout, "1"), start(app, Checkout, "2")
    base = live_server(app) + "/squidmesh"
    page.goto(f"{base}/runs/{first}")
    page.get_by_role("link", name="Reject…").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Comment").wait_for()
    found = list(problems(page))
    dialog.get_by_role("button", name="Reject").click()
    dialog.get_by_text("Say why, in a few words").wait_for()
    found += problems(page)
    page.goto(f"{base}/runs/{second}/approve")
    with app.app_context():
        mesh_of(app).reject_run(second, actor="lee")
    page.get_by_role("button", name="Approve").click()
    page.get_by_text("Nothing was done").wait_for()
    found += problems(page)
    page.goto(f"{base}/workflows/checkout/start")
    page.get_by_label("Amount").evaluate("field => { field.type = 'text'; field.value = 'many'; }")
    page.get_by_role("button", name="Start").click()
    page.locator("[aria-invalid=true]").first.wait_for()
    found += problems(page)
    monkeypatch.setattr("flask_squidmesh.dashboard.page_data.run_list.list_runs", away)
    page.goto(f"{base}/runs")
    page.get_by_text("The database did not answer").wait_for()
    assert found + list(problems(page)) == []
