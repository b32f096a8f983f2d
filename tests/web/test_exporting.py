"""Lists as files."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from io import StringIO
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

from flask_squidmesh.dashboard import page_data, spreadsheet
from flask_squidmesh.storage import tables
from flask_squidmesh.storage.summaries import new_id
from tests.web.shop import CANARY, Checkout, Labels, start
from tests.web.visiting import Visitor


def table_of(visitor: Visitor, address: str) -> list[list[str]]:
    return list(csv.reader(StringIO(visitor.get(address).text)))


def runs_of(visitor: Visitor, query: str = "") -> list[Any]:
    document = visitor.get(f"/runs.json{query}").json
    assert document is not None
    return list(document["runs"])


def test_the_list_is_exported_as_it_is_narrowed(visitor: Visitor) -> None:
    run_id, other = start(visitor.app, Checkout, "7"), start(visitor.app, Labels, "8")
    assert "/runs.csv?workflow=checkout" in visitor.get("/runs?workflow=checkout").text
    table = table_of(visitor, "/runs.csv?workflow=checkout")
    assert table[0][:7] == ["id", "workflow", "trigger", "subject", "state", "outcome", "step"]
    assert len(table) == 2
    assert table[1][:3] == [run_id, "checkout", "place_order"]
    [document] = runs_of(visitor, "?workflow=labels")
    assert (document["id"], document["state"]) == (other, "failed")


@pytest.fixture
def paged(visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> Visitor:
    """Files are read two rows at a time; there are five runs, and as many that somebody acknowledged."""
    for module in ("runs", "audit"):
        monkeypatch.setattr(f"flask_squidmesh.dashboard.views.{module}.PAGE", 2)
    for order in "12345":
        run_id = start(visitor.app, Labels, order)
        visitor.send(f"/runs/{run_id}/acknowledge")
    return visitor


def test_an_export_goes_on_page_by_page_to_the_last_row(paged: Visitor) -> None:
    newest_first = [f"Label {number}" for number in "54321"]
    assert [run["subject"] for run in runs_of(paged)] == newest_first
    assert [row[3] for row in table_of(paged, "/runs.csv")[1:]] == newest_first
    assert [row[2] for row in table_of(paged, "/audit.csv")[1:]] == ["acknowledged"] * 5


def test_an_export_has_no_last_row_but_the_last_run(visitor: Visitor) -> None:
    start(visitor.app, Checkout)
    with visitor.app.extensions["squidmesh"].database.write() as connection:
        run = connection.execute(sa.select(tables.runs)).one()._mapping
        connection.execute(sa.insert(tables.runs), [{**run, "id": new_id()} for _ in range(10_500)])
    assert visitor.get("/runs.csv").text.count("Order") == 10_501


def test_an_export_holds_no_transaction_open_and_no_page_but_one(paged: Visitor) -> None:
    engine = paged.app.extensions["squidmesh"].database.engine
    answer = paged.client.get("/squidmesh/runs.csv", buffered=False)
    parts = iter(answer.response)
    assert sum(part.count(b"Label") for part in [next(parts)]) == 2
    assert engine.pool.checkedout() == 0
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE squidmesh_runs SET subject = 'now ' || subject"))
    assert b"now Label 3" in next(parts)
    answer.close()


def _breaking(read: Callable[..., Any], after: int) -> Callable[..., Any]:
    """The same until it was read so many times, and then the database is away."""
    left = [after]

    def reading(*given: Any, **more: Any) -> Any:
        left[0] -= 1
        if left[0] < 0:
            raise OperationalError("SELECT", {}, Exception("away"))
        return read(*given, **more)

    return reading


def _taken(answer: Any, parts: list[bytes]) -> None:
    for part in answer:
        parts.append(part)


@pytest.mark.parametrize(("address", "reads"), [("/runs.csv", "runs_page"), ("/audit.csv", "audit_page")])
def test_a_file_that_breaks_off_says_so_at_its_end(
    paged: Visitor, monkeypatch: pytest.MonkeyPatch, address: str, reads: str
) -> None:
    monkeypatch.setattr(page_data, reads, _breaking(getattr(page_data, reads), after=1))
    answer = paged.client.get(f"/squidmesh{address}", buffered=False)
    parts: list[bytes] = []
    with pytest.raises(OperationalError):
        _taken(answer.response, parts)
    assert spreadsheet.CUT_SHORT in parts[-1].decode()


def test_json_that_breaks_off_cannot_be_taken_for_whole(paged: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_data, "runs_page", _breaking(page_data.runs_page, after=1))
    answer = paged.client.get("/squidmesh/runs.json", buffered=False)
    parts: list[bytes] = []
    with pytest.raises(OperationalError):
        _taken(answer.response, parts)
    with pytest.raises(json.JSONDecodeError):
        json.loads(b"".join(parts))


def test_what_stands_in_the_way_of_an_export_is_told_by_a_page(paged: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_data, "runs_page", _breaking(page_data.runs_page, after=0))
    for address in ("/runs.csv", "/runs.json"):
        answer = paged.get(address)
        assert (answer.status_code, answer.mimetype) == (503, "text/html")


@pytest.mark.parametrize(
    "cell",
    [
        *("=1+1", "+1", "-1", "@SUM(1)", "\t=1", "\r=1", " =1", '"=1', "'=1", "x;=HYPERLINK(1)", "x,=1", "x\t=1"),
        *("x|+1", "x\n=1", 'x;"=1', 'x; " =1', "＝1", "x;＝1", "＋1", "－1", "＠SUM(1)"),
    ],
)
def test_no_part_of_a_cell_is_a_formula_to_a_spreadsheet_that_parts_it_elsewhere(cell: str) -> None:
    guarded = spreadsheet._harmless(cell)
    assert guarded.replace("'", "") == cell.replace("'", "")
    for part in re.split(r"[;,|\t\r\n]", guarded):
        assert not part.lstrip(' "').startswith(("=", "+", "-", "@", "＝", "＋", "－", "＠"))


def test_every_cell_is_quoted_and_ordinary_text_stays_as_it_is(visitor: Visitor) -> None:
    start(visitor.app, Checkout, "x;=HYPERLINK(1)")
    for line in visitor.get("/runs.csv").text.splitlines():
        assert re.fullmatch(r'"([^"]|"")*"(,"([^"]|"")*")*', line)
    assert table_of(visitor, "/runs.csv")[1][3] == "Order x;'=HYPERLINK(1)"
    assert spreadsheet._harmless("Zwei + zwei, 3-4, a@b.test; gut") == "Zwei + zwei, 3-4, a@b.test; gut"


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
