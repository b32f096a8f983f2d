"""How much a page weighs on the wire, and how little a second one."""

from __future__ import annotations

import gzip
import re

from tests.web.shop import Checkout, fill, mesh_of, start
from tests.web.visiting import Visitor, text_of

COLD, SMALL, LIST = 60 * 1024, 1024, 60 * 1024


def _compressed(visitor: Visitor, address: str) -> int:
    with visitor.client.get(address) as answer:
        assert answer.status_code == 200
        return len(gzip.compress(answer.data))


def _assets(page: str) -> list[str]:
    return sorted(set(re.findall(r'(?:href|src)="(/squidmesh/assets/[^"]+)"', page)))


def test_a_first_page_is_light_with_all_that_it_loads(visitor: Visitor) -> None:
    ids = fill(visitor.app)
    for path in ("/", "/runs", f"/runs/{ids['compensated']}", "/workflows"):
        assets = _assets(visitor.get(path).text)
        assert len(assets) >= 4
        assert sum(_compressed(visitor, address) for address in (f"/squidmesh{path}", *assets)) <= COLD, path


def test_a_second_page_loads_only_itself(visitor: Visitor) -> None:
    ids = fill(visitor.app)
    first, second = (visitor.get(path).text for path in ("/", f"/runs/{ids['decision']}"))
    assert _assets(first) == _assets(second)
    for address in _assets(second):
        with visitor.client.get(address) as answer:
            assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"


def test_a_list_of_fifty_runs_is_light_and_carries_no_payload(visitor: Visitor) -> None:
    with visitor.app.app_context():
        for number in range(51):
            payload = {"order_id": f"{number:02}", "note": f"payload-canary-{number}"}
            mesh_of(visitor.app).start_run(Checkout, payload, actor="buyer@shop.test")
    start(visitor.app, Checkout, "last", note="payload-canary")
    page = visitor.get("/runs?size=50").text
    assert text_of(page).count("Order ") >= 50
    assert len(page.encode()) < LIST
    assert "payload-canary" not in page
