"""The whole way in a browser: buy, find the order under Needs you, approve with a comment, see it completed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from flask import Flask

from example_app.mailbox import Mailbox
from tests.browser import accessibility_problems

if TYPE_CHECKING:
    from playwright.sync_api import Page


@pytest.mark.usefixtures("working_shop")
def test_buy_approve_with_a_comment_and_see_it_completed(address: str, page: Page) -> None:
    from playwright.sync_api import expect

    log_in(page, address, "ben")
    page.get_by_role("link", name="Teapot").click()
    page.get_by_label("Pieces").fill("2")
    page.get_by_role("button", name="Buy").click()
    expect(page.get_by_role("heading", name="Order o-1")).to_be_visible()
    page.get_by_role("button", name="Log out").click()

    log_in(page, address, "fiona")
    page.get_by_role("link", name="Workflows").click()
    expect(page.get_by_role("heading", name="Needs you")).to_be_visible()
    expect(page.get_by_text("Capture 55.00 EUR for order o-1?")).to_be_visible()
    page.get_by_role("link", name="Approve").first.click()
    page.get_by_label("Comment").fill("Known customer, called back.")
    page.get_by_role("button", name="Approve").click()

    expect(page.get_by_text("Approved. The run continues at settle.")).to_be_visible()
    expect(page.get_by_role("heading", name="Nothing needs you.")).to_be_visible()
    page.get_by_role("link", name="Runs", exact=True).click()
    page.get_by_role("link", name="Order o-1").click()
    expect(page.get_by_role("heading", name="Order o-1")).to_be_visible()
    expect(page.get_by_text("Completed").first).to_be_visible(timeout=15_000)
    page.get_by_role("link", name="History").click()
    expect(page.locator("#happened").get_by_text("Known customer, called back.")).to_be_visible()
    expect(page.locator("#happened").get_by_text("Fiona", exact=True)).to_be_visible()

    page.goto(f"{address}/orders/o-1")
    expect(page.get_by_text("Paid. The receipt has been sent.")).to_be_visible()


def test_axe_finds_nothing_in_the_shop(shop: Flask, address: str, page: Page, tmp_path: Path) -> None:
    from playwright.sync_api import expect

    shop.config["SHOP_MAILBOX"] = tmp_path
    Mailbox(tmp_path).put(
        b"To: fiona@shop.test\nSubject: Pay?\nDate: Tue, 1 Dec 2026 09:30:00 +0000\n\nhttp://shop.test/"
    )
    page.goto(f"{address}/login")
    assert accessibility_problems(page) == []
    log_in(page, address, "ben")
    for path in ("/", "/products/kettle", "/orders", "/gateway", "/mailbox"):
        page.goto(address + path)
        assert accessibility_problems(page) == [], path
    page.get_by_role("link", name="Pay?").click()
    expect(page.get_by_role("link", name="http://shop.test/")).to_be_visible()
    assert accessibility_problems(page) == []
    page.goto(f"{address}/products/kettle")
    page.get_by_role("button", name="Buy").click()
    assert accessibility_problems(page) == []
    page.get_by_role("button", name="Log out").click()
    log_in(page, address, "emma")
    page.goto(f"{address}/expenses")
    assert accessibility_problems(page) == []
    page.get_by_label("What for").fill("tea")
    page.get_by_label("Amount in EUR").fill("12.50")
    page.get_by_role("button", name="Submit").click()
    expect(page.get_by_role("heading", name="Expense e-1")).to_be_visible()
    assert accessibility_problems(page) == []


def log_in(page: Page, shop: str, name: str) -> None:
    """Log in with the demo's password."""
    page.goto(f"{shop}/login")
    page.get_by_label("E-mail address").fill(f"{name}@shop.test")
    page.get_by_label("Password").fill("demo")
    page.get_by_role("button", name="Log in").click()
