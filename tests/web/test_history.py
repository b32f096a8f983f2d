"""What happened to a run, as one list."""

from __future__ import annotations

import re
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask

from flask_squidmesh.storage import tables
from tests.web.shop import Billing, Checkout, Shipping, advance, make_app, mesh_of, start, work
from tests.web.visiting import PREFIX, Visitor, text_of


@pytest.fixture
def everywhere(migrated_url: str) -> Visitor:
    return Visitor(make_app(migrated_url))


def happened(page: str) -> list[str]:
    """The rows of the list, in order."""
    section = page.partition('id="happened"')[2].partition("</section>")[0]
    return [text_of(row) for row in re.findall(r"<tr>.*?</tr>", section.partition("<tbody>")[2], re.DOTALL)]


@pytest.mark.rule("pages-events")
def test_what_people_did_and_noted_and_what_work_came_to_is_one_list(everywhere: Visitor) -> None:
    run_id = start(everywhere.app, Checkout, "7")
    with everywhere.app.app_context():
        mesh = mesh_of(everywhere.app)
        mesh.note_run(run_id, "called them", actor="kim")
        mesh.approve_run(run_id, actor="dana", comment="known customer")
    work(everywhere.app)
    page = everywhere.get(f"/runs/{run_id}").text
    story = (
        "buyer@shop.test started the run",
        "attempt 1 at reserve completed",
        "paused at review",
        "kim noted called them",
        "dana approved review known customer",
        "attempt 1 at capture completed",
        "attempt 1 at receipt completed",
        "the run completed",
    )
    told = happened(page)
    assert len(told) == len(story)
    assert [sentence for row, sentence in zip(told, story, strict=True) if sentence not in row] == []
    assert f'<span class="n">{len(story)}</span>' in page


@pytest.mark.rule("pages-events")
def test_an_attempt_says_how_long_who_and_why_and_leads_to_more(everywhere: Visitor) -> None:
    run_id = start(everywhere.app, Billing, "7")
    page = everywhere.get(f"/runs/{run_id}").text
    [failed] = [row for row in happened(page) if "attempt 1 at take failed" in row]
    assert "ms" in failed or "0 s" in failed
    assert failed.endswith("card declined")
    [address] = re.findall(r'href="([^"]+)">attempt 1 at <b>take</b> failed', page)
    there = everywhere.get(unescape(address).removeprefix(PREFIX).partition("#")[0]).text
    assert "Attempt 1" in text_of(there.partition('id="inspector"')[2].partition("</section>")[0])


@pytest.mark.rule("pages-events")
def test_an_attempt_that_goes_on_and_one_that_is_tried_again_stand_there(everywhere: Visitor) -> None:
    run_id = start(everywhere.app, Shipping, "7")
    told = happened(everywhere.get(f"/runs/{run_id}").text)
    assert ["attempt 1 at call_carrier failed" in row for row in told] == [False, True]
    assert "gateway busy" in told[1]


def fill_audit(app: Flask, run_id: str, count: int) -> None:
    with app.app_context(), app.extensions["squidmesh"].database.write() as connection:
        at = app.extensions["squidmesh"].clock.now()
        rows = [
            {"run_id": run_id, "type": "noted", "actor": "kim", "comment": f"nr-{number}", "at": at}
            for number in range(count)
        ]
        connection.execute(sa.insert(tables.audit_events), rows)


@pytest.mark.rule("pages-events")
def test_each_thing_stands_on_one_page_of_a_long_history(everywhere: Visitor) -> None:
    app = everywhere.app
    run_id = start(app, Checkout, "7")
    for _ in range(2):
        advance(app, timedelta(minutes=1))
        fill_audit(app, run_id, 90)
    advance(app, timedelta(minutes=1))
    with app.app_context():
        mesh_of(app).approve_run(run_id, actor="dana")
    work(app)
    seen: list[list[str]] = []
    path = f"/runs/{run_id}"
    while path:
        page = everywhere.get(path).text
        seen.append(happened(page))
        older = re.search(r'href="/squidmesh([^"#]+)#history">Older entries', page)
        path = unescape(older[1]) if older else ""
    assert len(seen) > 1
    everything = [row for rows in seen for row in rows]
    for sentence, page_of_it in (
        ("started the run", -1),
        ("attempt 1 at reserve completed", -1),
        ("attempt 1 at capture completed", 0),
        ("the run completed", 0),
    ):
        assert [sentence in row for row in everything].count(True) == 1, sentence
        assert any(sentence in row for row in seen[page_of_it]), sentence
    assert len(everything) == 180 + 7


def test_what_is_typed_into_a_note_is_outside_what_is_refreshed(visitor: Visitor) -> None:
    run_id = start(visitor.app, Checkout, "7")
    page: Any = visitor.get(f"/runs/{run_id}").text
    section = page.partition('id="happened"')[2].partition("</section>")[0]
    assert 'id="note"' in page
    assert 'id="note"' not in section
