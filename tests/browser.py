"""Chromium for the tests, and what every page must keep to."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page

HOW_TO_GET = (
    "Chromium is missing: install your system's package (Debian: apt-get install chromium fonts-dejavu-core), "
    "or set SQUIDMESH_TEST_CHROMIUM to the path of one"
)
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
ACCESSIBILITY_RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
COLOUR_RULES = ["color-contrast", "link-in-text-block"]


def find_chromium() -> str | None:
    """The path of a Chromium: the one asked for, else the first on PATH; None without any."""
    given = os.environ.get("SQUIDMESH_TEST_CHROMIUM")
    return given or next(filter(None, map(shutil.which, NAMES)), None)


@contextmanager
def running_chromium(path: str) -> Iterator[Browser]:
    """Run a headless Chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@contextmanager
def fresh_page(browser: Browser) -> Iterator[Page]:
    """Open a page with cookies of its own; afterwards fail on script errors and on what the security policy blocked."""
    context = browser.new_context(
        viewport={"width": 1280, "height": 800}, locale="en-GB", timezone_id="UTC", reduced_motion="reduce"
    )
    context.set_default_timeout(30_000)
    page = context.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: complaints.extend(_blocked(message)))
    yield page
    context.close()
    assert not complaints, f"the page's scripts or the security policy complained: {complaints}"


def accessibility_problems(page: Page, *, colours_only: bool = False) -> list[str]:
    """What axe finds on the page as it stands: one line for each rule that is broken, with the elements.

    colours_only: where nothing but the theme has changed since the last look at all rules.
    """
    from axe_playwright_python.base import AXE_SCRIPT

    # A click that leads to another page ends before the style sheet of that is there, and without it targets are small.
    page.wait_for_load_state("load")
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE_SCRIPT)
    rules = {"type": "rule", "values": COLOUR_RULES} if colours_only else ACCESSIBILITY_RULES
    options = {"runOnly": rules, "resultTypes": ["violations"], "preload": False}
    found = page.evaluate("async (options) => (await axe.run(options)).violations", options)
    return [f"{rule['id']}: {rule['help']} {[node['target'] for node in rule['nodes']]}" for rule in found]


def _blocked(message: ConsoleMessage) -> list[str]:
    return [message.text] if "Content Security Policy" in message.text else []
