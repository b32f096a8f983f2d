"""What could not be delivered: on System, among the problems, and tried again by hand."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from flask_squidmesh import Notice
from flask_squidmesh.config import READING_ACTIONS
from flask_squidmesh.storage import tables
from tests.undelivered import give_up
from tests.web.shop import Checkout, allow_everything, mesh_of, start, work
from tests.web.visiting import Visitor, queries

SAID = "1 notice could not be delivered in a day."


def given_up(visitor: Visitor, **said: Any) -> str:
    run_id = start(visitor.app, Checkout, "7")
    with visitor.app.app_context():
        return give_up(visitor.app.extensions["squidmesh"], run_id, **said)


def rows(visitor: Visitor) -> list[Any]:
    with visitor.app.app_context(), visitor.app.extensions["squidmesh"].database.read() as connection:
        return list(connection.execute(sa.select(tables.outbox)))


@pytest.mark.rule("telling-undelivered")
def test_without_messages_the_page_says_nothing_of_them(visitor: Visitor) -> None:
    assert "Messages" not in visitor.read("/system")


@pytest.mark.rule("telling-undelivered")
def test_what_could_not_be_delivered_stands_on_system_and_among_the_problems(visitor: Visitor) -> None:
    given_up(visitor)
    page = visitor.read("/system")
    for said in (SAID, "Order 7", "run.failed", "mail", "ann@example.org", "The mail server answered 451."):
        assert said in page
    problems = visitor.get("/?tab=problems").text
    assert SAID in problems
    assert "/squidmesh/system#messages" in problems
    assert "Problems 1" in visitor.read("/?tab=problems")


@pytest.mark.rule("telling-undelivered")
def test_what_waits_is_listed_by_subscription(visitor: Visitor) -> None:
    given_up(visitor, ended_at=None, outcome=None, subscription="erp", error="The service answered 500.")
    page = visitor.read("/system")
    assert "erp 1" in page
    assert "The service answered 500." in page
    assert "could not be delivered" not in page


@pytest.mark.rule("telling-again-by-hand")
def test_it_is_tried_again_by_hand_and_the_audit_says_so(visitor: Visitor) -> None:
    told: list[Notice] = []
    mesh_of(visitor.app).subscribe("run.failed", name="mail")(told.append)
    entry = given_up(visitor)
    answer = visitor.send(f"/messages/{entry}/again")
    assert (answer.status_code, answer.location) == (303, "/squidmesh/system")
    work(visitor.app)
    assert [notice.id for notice in told] == [entry]
    assert "had mail told again" in visitor.read("/audit")
    assert visitor.get(f"/messages/{entry}/again").status_code == 404


@pytest.mark.rule("telling-again-by-hand")
def test_it_may_be_dismissed(visitor: Visitor) -> None:
    entry = given_up(visitor)
    visitor.send(f"/messages/{entry}/dismiss", comment="they know")
    assert "could not be delivered" not in visitor.read("/system")
    assert [row.outcome for row in rows(visitor)] == ["dropped"]
    assert "took note that mail was not told" in visitor.read("/audit")


@pytest.mark.rule("telling-again-by-hand")
def test_of_two_people_at_once_one_is_told_that_somebody_was_faster(visitor: Visitor) -> None:
    entry = given_up(visitor)
    fields = visitor.form(f"/messages/{entry}/again")
    with visitor.app.app_context():
        visitor.app.extensions["squidmesh"].notice_commands.dismiss(entry, actor="kim")
    assert visitor.send(f"/messages/{entry}/again", fields).status_code == 404
    assert [row.outcome for row in rows(visitor)] == ["dropped"]


@pytest.mark.rule("telling-again-by-hand")
def test_it_takes_the_right_a_form_of_ours_and_a_run_that_may_be_viewed(make: Any) -> None:
    allowed: dict[str, Any] = {"authorize": allow_everything}
    visitor = make({"authorize": lambda *asked: allowed["authorize"](*asked), "actor": lambda: "dana"})
    entry = given_up(visitor)
    assert visitor.client.post(f"/squidmesh/messages/{entry}/again", data={}).status_code == 400
    assert visitor.get(f"/messages/{entry}/nonsense").status_code == 404
    assert visitor.get("/messages/nonsense/again").status_code == 404
    allowed["authorize"] = lambda action, run, permission: action in READING_ACTIONS
    assert visitor.get(f"/messages/{entry}/again").status_code == 403
    assert "Try again…" not in visitor.read("/system")
    allowed["authorize"] = lambda action, run, permission: action != "view"
    assert visitor.get(f"/messages/{entry}/again").status_code in (403, 404)
    assert "ann@example.org" not in visitor.read("/system")
    assert [row.outcome for row in rows(visitor)] == ["failed"]


@pytest.mark.rule("telling-undelivered")
def test_the_page_needs_no_more_queries_for_more_notices(visitor: Visitor) -> None:
    given_up(visitor)
    few = len(queries(visitor, "/system"))
    for _ in range(20):
        given_up(visitor)
    assert len(queries(visitor, "/system")) == few
