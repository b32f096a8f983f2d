"""Copying by a button, also where the browser has no clipboard for pages without TLS."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from flask import Flask
from playwright.sync_api import expect

from tests.web.shop import Packing, start

if TYPE_CHECKING:
    from playwright.sync_api import Page

WITHOUT_CLIPBOARD = "Object.defineProperty(navigator, 'clipboard', {value: undefined})"


@pytest.mark.parametrize("tls", [True, False])
def test_a_runs_id_is_copied(app: Flask, live_server: Callable[[Flask], str], page: Page, tls: bool) -> None:
    run_id = start(app, Packing, "7")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    if not tls:
        page.add_init_script(WITHOUT_CLIPBOARD)
    page.goto(f"{live_server(app)}/squidmesh/runs/{run_id}")
    page.get_by_role("button", name="Copy").first.click()
    page.get_by_role("button", name="Copied").wait_for()
    page.goto("about:blank")
    page.goto(f"{live_server(app)}/squidmesh/runs")
    search = page.get_by_label("Search")
    search.focus()
    page.keyboard.press("Control+v")
    expect(search).to_have_value(run_id)
    assert page.evaluate("getSelection().isCollapsed")
