"""The poll of a page answers nothing while nothing has changed, and ends with the run."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask

from flask_squidmesh import Cron, Manual, Wait, Workflow
from flask_squidmesh.dashboard import page_data
from tests.web.shop import Checkout, Labels, Reminder, advance, make_app, mesh_of, start, work
from tests.web.visiting import Visitor, forms_of, pulse_of, queries, text_of


class Nightly(Workflow):
    """Tidy every night."""

    nightly = Cron("0 3 * * *")
    tidy = Wait(timedelta(seconds=1))


@pytest.fixture
def everywhere(migrated_url: str) -> Visitor:
    """On SQLite and on PostgreSQL."""
    visitor = Visitor(make_app(migrated_url))
    mesh_of(visitor.app).register(Nightly)
    return visitor


@pytest.mark.rule("pages-unchanged")
def test_an_unchanged_page_gets_an_empty_answer_from_few_queries(everywhere: Visitor) -> None:
    run_id = start(everywhere.app, Checkout, "7")
    start(everywhere.app, Labels, "8")
    for path, most in (
        *(("/", 2), ("/runs", 2), ("/runs?word=decision", 2), (f"/runs/{run_id}", 2), ("/failures", 2)),
        *(("/schedules", 2), ("/workflows", 4), ("/workflows/checkout", 4), ("/system", 7)),
    ):
        address = pulse_of(everywhere.get(path).text)
        answer = everywhere.get(address)
        assert (answer.status_code, answer.text) == (204, ""), path
        asked = [query for query in queries(everywhere, address) if "set_config" not in query]
        assert len(asked) <= most, path


def _beat(app: Flask) -> None:
    with app.app_context():
        app.extensions["squidmesh"].heartbeats.record("worker", "host:1:a", queue="squidmesh", threads=4)


def _pause_schedule(app: Flask) -> None:
    with app.app_context():
        app.extensions["squidmesh"].schedule_commands.pause("nightly", "nightly", actor="dana")


def _approve(app: Flask) -> None:
    with app.app_context():
        run_id = mesh_of(app).list_runs(status="paused").runs[0].id
        mesh_of(app).approve_run(run_id, actor="dana")


@pytest.mark.rule("pages-unchanged")
@pytest.mark.parametrize(
    ("path", "change"),
    [
        ("/", lambda app: start(app, Checkout, "9")),
        ("/", _approve),
        ("/", lambda app: advance(app, timedelta(hours=5))),
        ("/runs", lambda app: start(app, Reminder, "9")),
        ("/runs?word=decision", _approve),
        ("/runs?word=waiting", lambda app: advance(app, timedelta(days=3))),
        ("/failures", lambda app: start(app, Labels, "9")),
        ("/workflows", lambda app: start(app, Reminder, "9")),
        ("/workflows/reminder", lambda app: start(app, Reminder, "9")),
        ("/schedules", _pause_schedule),
        ("/system", _beat),
    ],
)
def test_no_change_is_missed(everywhere: Visitor, path: str, change: Callable[[Flask], Any]) -> None:
    for workflow in (Checkout, Labels, Reminder):
        start(everywhere.app, workflow, "7")
    address = pulse_of(everywhere.get(path).text)
    change(everywhere.app)
    answer = everywhere.get(address)
    assert answer.status_code == 200
    assert everywhere.get(pulse_of(answer.text)).status_code == 204


@pytest.mark.rule("pages-title")
def test_the_number_in_the_title_is_told_on_a_page_that_stays_as_it_is(visitor: Visitor) -> None:
    address = pulse_of(visitor.get("/schedules").text)
    start(visitor.app, Checkout, "7")
    answer = visitor.get(address)
    assert answer.status_code == 200
    assert 'data-count="1"' in answer.text
    assert 'data-says="1 run needs you"' in answer.text
    assert "Nothing starts by the clock" not in answer.text
    assert visitor.get(pulse_of(answer.text)).status_code == 204


def test_every_answer_tells_the_time_of_the_server(make) -> None:
    visitor = make(SQUIDMESH_DASHBOARD_TIMEZONE="Asia/Tokyo")
    page = visitor.get("/").text
    assert re.search(r'data-at="\d\d:\d\d:\d\d JST"', page)
    assert visitor.get(pulse_of(page)).headers["Squidmesh-Time"].endswith(" JST")


@pytest.mark.rule("pages-workflow-queries")
def test_many_workflows_need_no_more_queries(visitor: Visitor) -> None:
    for number in range(120):
        body = {"begin": Manual(), "pause": Wait(timedelta(days=1)), "name": f"many_{number}"}
        mesh_of(visitor.app).register(type(f"Many{number}", (Workflow,), body))
    with visitor.app.app_context():
        mesh_of(visitor.app).start_run("many_77")
    assert len(queries(visitor, "/workflows")) <= 8
    assert "Many 119" in visitor.read("/workflows")


@pytest.mark.rule("pages-queries")
def test_a_changed_run_needs_few_queries(visitor: Visitor) -> None:
    run_id = start(visitor.app, Checkout, "7")
    address = pulse_of(visitor.get(f"/runs/{run_id}").text)
    visitor.send(f"/runs/{run_id}/approve")
    assert len(queries(visitor, address)) <= 8


def test_the_inbox_brings_what_is_new(visitor: Visitor) -> None:
    address = pulse_of(visitor.get("/").text)
    start(visitor.app, Checkout, "7")
    answer = visitor.get(address)
    assert answer.status_code == 200
    assert 'id="inbox-list"' in answer.text
    assert "Order 7" in text_of(answer.text)
    assert 'data-count="1"' in answer.text
    assert visitor.get(pulse_of(answer.text)).status_code == 204


def test_the_list_updates_rows_and_announces_new_ones(visitor: Visitor) -> None:
    run_id = start(visitor.app, Checkout, "7")
    address = pulse_of(visitor.get("/runs").text)
    start(visitor.app, Labels, "8")
    visitor.send(f"/runs/{run_id}/approve")
    work(visitor.app)
    answer = visitor.get(address)
    assert "1 new run. Show it" in text_of(answer.text)
    assert f'id="row-{run_id}" hx-swap-oob="true"' in answer.text
    again = visitor.get(pulse_of(answer.text))
    assert again.status_code == 204


def test_an_older_page_announces_nothing(make) -> None:
    visitor = make(SQUIDMESH_DASHBOARD_PAGE_SIZES=[1])
    start(visitor.app, Reminder, "1")
    start(visitor.app, Reminder, "2")
    older = re.search(r'href="/squidmesh([^"]+)" rel="next"', visitor.get("/runs").text)
    assert older
    address = pulse_of(visitor.get(unescape(older[1])).text)
    start(visitor.app, Reminder, "3")
    assert "new run" not in text_of(visitor.get(address).text)


def test_a_run_brings_its_verdict_but_leaves_a_chosen_step(visitor: Visitor) -> None:
    run_id = start(visitor.app, Checkout, "7")
    address = pulse_of(visitor.get(f"/runs/{run_id}?step=reserve").text)
    visitor.send(f"/runs/{run_id}/reject", comment="no")
    answer = visitor.get(address)
    assert answer.status_code == 200
    for part in ("run-head", "verdict", "rail", "happened", "pulse"):
        assert f'id="{part}"' in answer.text
    assert 'id="inspector"' not in answer.text


def test_where_no_step_was_chosen_the_inspector_follows_the_run(visitor: Visitor) -> None:
    run_id = start(visitor.app, Checkout, "7")
    address = pulse_of(visitor.get(f"/runs/{run_id}").text)
    visitor.send(f"/runs/{run_id}/approve")
    work(visitor.app)
    inspector = re.search(r'<section[^>]*id="inspector".*?</section>', visitor.get(address).text, re.DOTALL)
    assert inspector
    assert "Done" in text_of(inspector[0])


def test_a_part_that_a_script_brings_offers_to_copy(visitor: Visitor) -> None:
    run_id = start(visitor.app, Checkout, "7")
    page = visitor.get(f"/runs/{run_id}").text
    assert 'data-copy="run-id" hidden' in page
    visitor.send(f"/runs/{run_id}/approve")
    assert 'data-copy="run-id">' in visitor.get(pulse_of(page)).text


def test_a_finished_run_is_told_once_and_then_no_more(visitor: Visitor) -> None:
    run_id = start(visitor.app, Checkout, "7")
    address = pulse_of(visitor.get(f"/runs/{run_id}").text)
    visitor.send(f"/runs/{run_id}/approve")
    work(visitor.app)
    answer = visitor.get(address)
    assert answer.status_code == 286
    assert "It is completed" in text_of(answer.text)
    assert 'id="pulse"' not in visitor.get(f"/runs/{run_id}").text


def test_pausing_is_remembered_without_a_script(visitor: Visitor) -> None:
    start(visitor.app, Checkout, "7")
    assert 'id="pulse"' in visitor.get("/runs").text
    page = visitor.get("/runs?live=0")
    assert 'id="pulse"' not in page.text
    assert "Does not refresh by itself. Refresh" in text_of(page.text)
    assert 'id="pulse"' not in visitor.get("/").text
    visitor.get("/runs?live=1")
    assert 'id="pulse"' in visitor.get("/").text


def test_a_poll_for_nothing_we_have_is_an_unknown_page(visitor: Visitor) -> None:
    assert visitor.get("/pulse?view=nonsense").status_code == 404


def test_the_theme_is_remembered_and_drawn_by_the_server(visitor: Visitor) -> None:
    form = forms_of(visitor.get("/help").text)["/squidmesh/prefs"]
    answer = visitor.client.post("/squidmesh/prefs", data={**form, "theme": "dark", "next": "/squidmesh/help"})
    assert (answer.status_code, answer.location) == (303, "/squidmesh/help")
    assert 'data-theme="dark"' in visitor.get("/").text
    visitor.client.post("/squidmesh/prefs", data={**form, "theme": "system"})
    assert "data-theme" not in visitor.get("/").text


def test_filtering_with_htmx_tells_the_clean_address(visitor: Visitor) -> None:
    answer = visitor.get("/runs?q=&workflow=checkout&since=&step=", headers={"HX-Request": "true"})
    assert answer.headers["HX-Push-Url"] == "/squidmesh/runs?workflow=checkout"


def test_postgres_compiles_no_counts(migrated_postgres_url: str) -> None:
    visitor = Visitor(make_app(migrated_postgres_url))
    with visitor.app.test_request_context("/squidmesh/"), page_data.connected() as connection:
        assert connection.scalar(sa.text("SHOW jit")) == "off"
        assert connection.scalar(sa.text("SHOW statement_timeout")) == "3s"


@pytest.mark.parametrize("path", ["/", "/runs", "/runs/{run_id}"])
def test_a_page_whose_words_have_passed_is_made_anew(visitor: Visitor, path: str) -> None:
    run_id = start(visitor.app, Checkout, "7")
    address = pulse_of(visitor.get(path.format(run_id=run_id)).text)
    assert visitor.get(address).status_code == 204
    advance(visitor.app, timedelta(hours=3))
    answer = visitor.get(address)
    assert re.search("in (1 h|59 min)", answer.text)
    assert visitor.get(pulse_of(answer.text)).status_code == 204
    advance(visitor.app, timedelta(seconds=50))
    assert visitor.get(pulse_of(answer.text)).status_code == 204


@pytest.mark.parametrize("until", ["", "x", "9" * 5000, "-1", "1e3"])
def test_a_time_that_is_none_does_not_matter(visitor: Visitor, until: str) -> None:
    address = re.sub("until=[0-9]+", f"until={until}", pulse_of(visitor.get("/").text))
    assert visitor.get(address).status_code == 204
