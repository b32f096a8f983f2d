"""Takes the pictures in docs/images from the example app, filled as the demo fills it, and those of tenants from the
host with two of them that the tests have.

Run it with `make pictures`. Chromium is looked for as the browser tests do. docs/tour.md shows them.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from unittest.mock import patch

from playwright.sync_api import Browser, Page
from psycopg.errors import QueryCanceled
from sqlalchemy.exc import OperationalError

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from example_app.people import FINANCE, MANAGER, OPERATOR, PASSWORD  # noqa: E402
from tests.browser import HOW_TO_GET, find_chromium, fresh_page, running_chromium  # noqa: E402
from tests.serving import serving  # noqa: E402

IMAGES = ROOT / "docs" / "images"


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One picture. address: of the page below the dashboard's; {declined}, {saga} and {review} stand for runs.

    press: the links and buttons to press one after another. who: the email of the person who looks. theme, size: of
    the window, which the picture shows whole. error: what the store answers when runs are listed.
    """

    name: str
    address: str
    press: tuple[str, ...] = ()
    who: str = OPERATOR.email
    theme: str = "light"
    size: tuple[int, int] = (1280, 800)
    error: Exception | None = None


PHONE: Final = (390, 800)
STATE: Final = (1280, 420)
TALL: Final = (1280, 1100)
RUNS: Final = {
    "declined": "Order o-5",
    "saga": "Order o-8, capture declined",
    "review": "Order o-1",
    "expense": "Expense e-7: paper bags",
}
LISTING: Final = "flask_squidmesh.dashboard.page_data.run_list.list_runs"
PICTURES: Final = (
    Picture(name="needs-you", address="/", who=FINANCE.email),
    Picture(name="needs-you-dark", address="/", who=FINANCE.email, theme="dark"),
    Picture(name="needs-you-phone", address="/", who=FINANCE.email, size=PHONE),
    Picture(name="runs", address="/runs"),
    Picture(name="decision", address="/runs/{expense}", who=MANAGER.email, size=TALL),
    Picture(name="run", address="/runs/{declined}"),
    Picture(name="run-dark", address="/runs/{saga}", theme="dark"),
    Picture(name="graph", address="/runs/{review}?view=graph", size=TALL),
    Picture(name="dialog", address="/", who=FINANCE.email, press=("Approve…",)),
    Picture(name="replay", address="/runs/{declined}/replay"),
    Picture(name="failures", address="/failures"),
    Picture(name="workflows", address="/workflows"),
    Picture(name="workflow", address="/workflows/checkout"),
    Picture(name="start", address="/workflows/local_ledger_checkout/start"),
    Picture(name="schedules", address="/schedules"),
    Picture(name="system", address="/system"),
    Picture(name="audit", address="/audit", size=(1280, 560)),
    Picture(name="bulk", address="/bulk?word=failed&action=acknowledge"),
    Picture(name="state-filtered-empty", address="/runs?word=failed&q=nothing", size=STATE),
    Picture(name="state-not-found", address="/runs/01a203ec-0a04-7839-a6fe-65e9e1b57e80", size=STATE),
    Picture(name="state-refused", address="/runs/{review}/cancel", who=FINANCE.email, size=STATE),
    Picture(name="state-away", address="/runs", size=STATE, error=OperationalError("", {}, Exception())),
    Picture(name="state-too-slow", address="/runs", size=STATE, error=OperationalError("", {}, QueryCanceled())),
)
TENANTS: Final = (Picture(name="tenant", address="/runs", who="anna"),)
EMPTY: Final = (Picture(name="state-empty", address="/runs", size=STATE),)
CONFLICT: Final = Picture(
    name="state-conflict", address="/runs/{review}/approve", who=FINANCE.email, press=("Approve",), size=STATE
)


@contextmanager
def filled_shop(*, fill: bool = True) -> Iterator[str]:
    """The address of a shop with runs in every state, or of one where nothing has happened yet."""
    from flask_migrate import upgrade

    from example_app import create_app
    from example_app.gateway.server import running_gateway
    from example_app.seed import seed, seed_people

    with tempfile.TemporaryDirectory() as folder, running_gateway(Path(folder, "gateway.sqlite"), "secret") as gateway:
        os.environ |= {"SHOP_INSTANCE": folder, "GATEWAY_URL": gateway}
        app = create_app()
        with app.app_context():
            upgrade()
            list(seed()) if fill else seed_people()
        # It says that a worker lives, and performs no step, so that the runs stay as they are.
        with app.extensions["squidmesh"].upkeep(threads=2) if fill else nullcontext(), serving(app) as address:
            yield address


@contextmanager
def filled_house() -> Iterator[str]:
    """The address of a host with two tenants, both with runs in every state."""
    from tests.databases import create_tables
    from tests.two_tenants.app import make_app
    from tests.two_tenants.runs import WORDS, fill

    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/tenants.sqlite"
        create_tables(url)
        app = make_app(url)
        for tenant in WORDS:
            fill(app, tenant)
        with serving(app) as address:
            yield address


def log_in(page: Page, shop: str, email: str) -> None:
    """Let the page act as this person."""
    page.goto(f"{shop}/login")
    page.fill("input[name=email]", email)
    page.fill("input[name=password]", PASSWORD)
    page.press("input[name=password]", "Enter")
    page.wait_for_url(lambda url: "login" not in url)


def run_ids(page: Page, shop: str) -> dict[str, str]:
    """The ids of the runs that pictures show."""
    found: dict[str, str] = {}
    for word, subject in RUNS.items():
        page.goto(f"{shop}/squidmesh/runs?q={subject}")
        for link in page.get_by_role("link", name=subject, exact=True).all()[:1]:
            found[word] = (link.get_attribute("href") or "").rpartition("/")[2]
    return found


def show(page: Page, shop: str, picture: Picture, runs: dict[str, str]) -> None:
    """Open the page as the picture wants it."""
    page.set_viewport_size({"width": picture.size[0], "height": picture.size[1]})
    page.emulate_media(color_scheme="dark" if picture.theme == "dark" else "light")
    with patch(LISTING, side_effect=picture.error) if picture.error else nullcontext():
        page.goto(f"{shop}/squidmesh{picture.address.format_map(runs)}")


def press(page: Page, name: str) -> None:
    """Press the first link or button of that name, and wait for what it brings."""
    wanted = page.get_by_role("link", name=name, exact=True).or_(page.get_by_role("button", name=name, exact=True))
    with page.expect_response(lambda answer: "/pulse" not in answer.url):
        wanted.first.click()
    page.wait_for_load_state("networkidle")
    page.wait_for_function("!document.querySelector('.htmx-request, .htmx-swapping, .htmx-settling')")


def save(page: Page, picture: Picture) -> None:
    """Press what is to be pressed, and save what the window shows."""
    for name in picture.press:
        press(page, name)
    path = IMAGES / f"{picture.name}.png"
    page.screenshot(path=path)
    print(f"docs/images/{path.name}: {path.stat().st_size // 1000} kB")


def take_conflict(shop: str, browser: Browser, runs: dict[str, str]) -> None:
    """Two people open the same form, and one is faster."""
    with fresh_page(browser) as slower, fresh_page(browser) as faster:
        for page in (slower, faster):
            log_in(page, shop, CONFLICT.who)
            show(page, shop, CONFLICT, runs)
        press(faster, "Approve")
        save(slower, CONFLICT)


def take_tenants(house: str, browser: Browser) -> None:
    """The same page as two people see it."""
    for picture in TENANTS:
        with fresh_page(browser) as page:
            page.goto(house)
            page.locator(f"button[value={picture.who}]").click()
            show(page, house, picture, {})
            save(page, picture)


def take_all(shop: str, browser: Browser, pictures: Iterable[Picture]) -> dict[str, str]:
    """Take pictures, each as the person who would look; the ids of the runs in them."""
    with ExitStack() as stack:
        pages = {person.email: stack.enter_context(fresh_page(browser)) for person in (OPERATOR, FINANCE, MANAGER)}
        for email, page in pages.items():
            log_in(page, shop, email)
        runs = run_ids(pages[OPERATOR.email], shop)
        for picture in pictures:
            show(pages[picture.who], shop, picture, runs)
            save(pages[picture.who], picture)
    return runs


def main() -> None:
    """Take every picture."""
    chromium = find_chromium()
    if chromium is None:
        sys.exit(HOW_TO_GET)
    IMAGES.mkdir(parents=True, exist_ok=True)
    with running_chromium(chromium) as browser:
        with filled_shop(fill=False) as shop:
            take_all(shop, browser, EMPTY)
        with filled_shop() as shop:
            take_conflict(shop, browser, take_all(shop, browser, PICTURES))
        with filled_house() as house:
            take_tenants(house, browser)


if __name__ == "__main__":
    main()
