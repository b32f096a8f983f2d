"""Lists as files."""

from __future__ import annotations

from typing import Any

from tests.web.shop import CANARY, Checkout, Labels, start
from tests.web.visiting import Visitor


def runs_of(visitor: Visitor, query: str = "") -> list[Any]:
    document = visitor.get(f"/runs.json{query}").json
    assert document is not None
    return list(document["runs"])


def test_the_list_is_exported_as_it_is_narrowed(visitor: Visitor) -> None:
    run_id, other = start(visitor.app, Checkout, "7"), start(visitor.app, Labels, "8")
    assert "/runs.csv?workflow=checkout" in visitor.get("/runs?workflow=checkout").text
    table = visitor.get("/runs.csv?workflow=checkout").text.splitlines()
    assert table[0].startswith("id,workflow,trigger,subject,state,step")
    assert len(table) == 2
    assert table[1].startswith(f"{run_id},checkout,place_order,")
    [document] = runs_of(visitor, "?workflow=labels")
    assert (document["id"], document["state"]) == (other, "failed")


def test_an_export_goes_on_page_by_page(visitor: Visitor, monkeypatch) -> None:
    monkeypatch.setattr("flask_squidmesh.dashboard.views.exporting.PAGE", 1)
    for order in "123":
        start(visitor.app, Checkout, order)
    assert len(runs_of(visitor)) == 3


def test_an_export_holds_no_payload_and_is_kept_nowhere(visitor: Visitor) -> None:
    start(visitor.app, Checkout, "7")
    for path in ("/runs.csv", "/runs.json"):
        answer = visitor.get(path)
        assert CANARY not in answer.text
        assert answer.headers["Cache-Control"] == "no-store"


def test_an_export_takes_its_right(make) -> None:
    visitor = make({"authorize": lambda action, run, permission: action != "export"})
    start(visitor.app, Checkout, "7")
    assert visitor.get("/runs.csv").status_code == 403
    assert "runs.csv" not in visitor.get("/runs").text
