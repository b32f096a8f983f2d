"""Takes the pictures in docs/images from the example app, filled as the demo fills it.

Run it with `make pictures`. Chromium is looked for as the browser tests do.
"""

from __future__ import annotations

import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page
from werkzeug.serving import make_server

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.browser import HOW_TO_GET, find_chromium, fresh_page, running_chromium  # noqa: E402

IMAGES = ROOT / "docs" / "images"
PERSON = "fiona@shop.test"


@contextmanager
def filled_shop() -> Iterator[str]:
    """The address of a shop with runs in every state."""
    from flask_migrate import upgrade

    from example_app import create_app
    from example_app.gateway.server import running_gateway
    from example_app.seed import seed

    with tempfile.TemporaryDirectory() as folder, running_gateway(Path(folder, "gateway.sqlite")) as gateway:
        os.environ |= {"SHOP_INSTANCE": folder, "GATEWAY_URL": gateway}
        app = create_app()
        with app.app_context():
            upgrade()
            list(seed())
        server = make_server("127.0.0.1", 0, app, threaded=True)
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            serving.join()
            server.server_close()


def take(page: Page, name: str) -> None:
    """Save what the window shows."""
    page.screenshot(path=IMAGES / f"{name}.png")
    print(f"docs/images/{name}.png")


def main() -> None:
    """Take every picture."""
    chromium = find_chromium()
    if chromium is None:
        sys.exit(HOW_TO_GET)
    IMAGES.mkdir(parents=True, exist_ok=True)
    with filled_shop() as address, running_chromium(chromium) as browser, fresh_page(browser) as page:
        page.goto(f"{address}/login")
        page.fill("input[name=email]", PERSON)
        page.fill("input[name=password]", "demo")
        page.press("input[name=password]", "Enter")
        page.wait_for_url(lambda url: "login" not in url)
        page.goto(f"{address}/squidmesh/")
        take(page, "needs-you")
        page.get_by_role("link", name="Order o-5").click()
        take(page, "run")


if __name__ == "__main__":
    main()
