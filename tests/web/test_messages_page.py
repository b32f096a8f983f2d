"""What could not be delivered: on System, among the problems, and tried again by hand."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from flask_squidmesh import Notice, Scope
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


def of_no_run(visitor: Visitor, kind: str, data: dict[str, str], **said: Any) -> str:
    told = {"kind": kind, "run_id": None, "workflow": None, "tenant": None, "subject": "slow", "data": data, **said}
    return given_up(visitor, **told)


@pytest.mark.rule("telling-undelivered")
def test_what_is_of_no_run_stands_there_too_and_is_told_again(visitor: Visitor) -> None:
    told: list[Notice] = []
    mesh_of(visitor.app).subscribe("system.queue_late", name="mail")(told.append)
    late = of_no_run(visitor, "system.queue_late", {"queue": "slow"})
    unmatched = {"event": "payment.settled", "key": "p-1"}
    of_event = of_no_run(visitor, "event.unmatched", unmatched, tenant="", number=7)
    page = visitor.read("/system")
    for text in (
        "2 notices could not",
        "Work in the queue slow is late",
        "took the event payment.settled with key p-1",
    ):
        assert text in page
    assert "2 notices could not be delivered" in visitor.read("/?tab=problems")
    assert "No run went wrong." in visitor.read("/?tab=problems")
    assert "Try again: Work in the queue slow is late" in visitor.read(f"/messages/{late}/again")
    assert visitor.send(f"/messages/{late}/again").status_code == 303
    assert visitor.send(f"/messages/{of_event}/dismiss").status_code == 303
    work(visitor.app)
    assert [(notice.id, notice.subject) for notice in told] == [(late, "slow")]
    assert "could not be delivered" not in visitor.read("/system")


@pytest.mark.rule("telling-undelivered")
def test_what_is_of_no_run_is_told_within_the_scope_alone(make: Any) -> None:
    visitor = make({"authorize": allow_everything, "actor": lambda: "dana", "scope": lambda: Scope(tenants=["acme"])})
    late = of_no_run(visitor, "system.queue_late", {"queue": "slow"})
    said = {"event": "payment.settled", "key": "p-1"}
    mine = of_no_run(visitor, "event.unmatched", said, tenant="acme", number=7)
    page = visitor.read("/system")
    assert "p-1" in page
    assert "slow" not in page
    assert visitor.get(f"/messages/{mine}/again").status_code == 200
    assert visitor.get(f"/messages/{late}/again").status_code == 404


@pytest.mark.rule("telling-history")
def test_what_was_told_of_a_run_stands_in_its_history_and_its_file(visitor: Visitor) -> None:
    mesh = mesh_of(visitor.app)
    mesh.subscribe("decision.opened", name="desk")(lambda notice: None)
    mesh.add_channel(lambda notice, receiver: None, on=["decision.opened"], to=["ann", "bob", "cleo"], name="mail")
    run_id = start(visitor.app, Checkout, "7")
    with visitor.app.app_context():
        give_up(visitor.app.extensions["squidmesh"], run_id, kind="decision.opened", receiver="ann@example.org")
    page = visitor.read(f"/runs/{run_id}?view=history")
    for said in (
        "desk was told of decision.opened",
        "mail told ann and 2 others of decision.opened",
        "mail could not tell ann@example.org of decision.opened The mail server answered 451.",
    ):
        assert said in page
    assert "mail told ann" in visitor.read(f"/runs/{run_id}?view=events")
    document: Any = visitor.get(f"/runs/{run_id}.json").json
    types = [event["type"] for event in document["timeline"]]
    assert (types.count("notice_delivered"), types.count("notice_failed")) == (2, 1)
    assert len(queries(visitor, f"/runs/{run_id}")) <= 8
