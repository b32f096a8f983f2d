"""Nothing is open that the host did not open, and each handler checks for itself."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from flask import redirect
from flask_login import LoginManager, UserMixin

from flask_squidmesh import Deny
from tests.web.shop import Checkout, Import, Labels, make_app, start
from tests.web.visiting import Visitor, forms_of, text_of

READABLE = ["/", "/runs", "/workflows", "/help", "/pulse?view=inbox", "/pulse?view=runs"]
OF_A_RUN = ["", ".json", "/approve", "/reject", "/resume", "/cancel", "/replay", "/acknowledge", "/retry", "/resolve"]


def nobody(action: str, run: Any, permission: str | None) -> bool:
    return False


@pytest.mark.parametrize(
    "path", [*READABLE, "/pulse?view=run&run_id={run}", *(f"/runs/{{run}}{end}" for end in OF_A_RUN)]
)
def test_every_page_is_closed_unless_the_host_opens_it(make, path: str) -> None:
    visitor = make({"actor": lambda: "dana"})
    run_id = start(visitor.app, Checkout)
    page = visitor.get(path.format(run=run_id))
    assert page.status_code == 403
    assert "@mesh.authorize" in page.text
    assert "Order o-1" not in page.text


@pytest.mark.parametrize(
    "path", [*READABLE, "/pulse?view=run&run_id={run}", *(f"/runs/{{run}}{end}" for end in OF_A_RUN)]
)
def test_every_page_asks_the_host(make, path: str) -> None:
    visitor = make({"authorize": nobody, "actor": lambda: "dana"})
    run_id = start(visitor.app, Checkout)
    assert visitor.get(path.format(run=run_id)).status_code == 403


def test_debug_mode_is_open_and_records_a_developer(migrated_sqlite_url: str) -> None:
    app = make_app(migrated_sqlite_url, hooks={})
    app.debug = True
    visitor = Visitor(app)
    run_id = start(app, Checkout)
    assert visitor.send(f"/runs/{run_id}/approve").status_code == 303
    assert visitor.events(run_id)[-1].actor == "developer"


def readers(action: str, run: Any, permission: str | None) -> bool:
    return action in ("list", "view")


@pytest.mark.parametrize("verb", ["approve", "reject", "cancel", "acknowledge", "replay"])
def test_a_post_by_hand_is_refused_without_the_right(migrated_sqlite_url: str, verb: str) -> None:
    rights: dict[str, Any] = {"authorize": lambda *asked: True, "actor": lambda: "dana"}
    app = make_app(migrated_sqlite_url, hooks={**rights, "authorize": lambda *asked: rights["authorize"](*asked)})
    visitor = Visitor(app)
    run_id = start(app, Checkout if verb in ("approve", "reject", "cancel") else Labels)
    fields = visitor.form(f"/runs/{run_id}/{verb}")
    before = visitor.status(run_id)
    rights["authorize"] = readers
    answer = visitor.send(f"/runs/{run_id}/{verb}", fields, comment="because")
    assert answer.status_code == 403
    assert visitor.status(run_id) == before
    assert visitor.events(run_id)[-1].type == "refused"
    assert visitor.events(run_id)[-1].actor == "dana"


def test_a_refusal_stands_even_where_it_cannot_be_kept(make, monkeypatch: pytest.MonkeyPatch) -> None:
    visitor = make({"authorize": readers, "actor": lambda: "dana"})
    run_id = start(visitor.app, Checkout)

    def broken(*_: object) -> None:
        raise RuntimeError("no disk")

    monkeypatch.setattr("flask_squidmesh.dashboard.page_data.record_refusal", broken)
    assert visitor.send(f"/runs/{run_id}/approve", _footer(visitor)).status_code == 403


def _footer(visitor: Visitor) -> dict[str, str]:
    """The form that every page has, for its token."""
    return forms_of(visitor.get("/runs").text)["/squidmesh/prefs"]


def test_the_callback_is_told_action_run_and_permission(make) -> None:
    asked: list[tuple[str, Any, str | None]] = []

    def remember(action: str, run: Any, permission: str | None) -> bool:
        asked.append((action, run and run.subject, permission))
        return True

    visitor = make({"authorize": remember, "actor": lambda: "dana"})
    run_id = start(visitor.app, Checkout, "7")
    fields = visitor.form(f"/runs/{run_id}/approve")
    asked.clear()
    visitor.send(f"/runs/{run_id}/approve", fields)
    assert ("approve", "Order 7", "payments.review") in asked


def only_reviewers(action: str, run: Any, permission: str | None) -> bool | Deny:
    return Deny("It needs the role compliance.") if permission == "payments.review" else True


def test_a_reason_for_refusing_is_shown_and_the_button_is_not(make) -> None:
    visitor = make({"authorize": only_reviewers, "actor": lambda: "dana"})
    run_id = start(visitor.app, Checkout, "7")
    page = visitor.get(f"/runs/{run_id}").text
    assert "It needs the role compliance." in text_of(page)
    assert f"/runs/{run_id}/approve" not in page
    refused = visitor.get(f"/runs/{run_id}/approve")
    assert refused.status_code == 403
    assert "It needs the role compliance." in text_of(refused.text)
    assert "who gives out rights" not in refused.text
    assert f'href="/squidmesh/runs/{run_id}">Look at the run<' in refused.text


def test_who_lacks_a_right_is_told_that_it_can_be_given(make) -> None:
    visitor = make({"authorize": lambda action, *_: action == "audit", "actor": lambda: "dana"})
    refused = text_of(visitor.get("/runs").text)
    assert "You may not see this You do not have the right “list runs”." in refused
    assert "Somebody who gives out rights in this app can change that." in refused


@pytest.mark.rule("rights-permission")
def test_each_open_decision_asks_for_its_own_permission(make) -> None:
    def customs_officers(action: str, run: Any, permission: str | None) -> bool:
        return permission in (None, "customs")

    visitor = make({"authorize": customs_officers, "actor": lambda: "dana"})
    run_id = start(visitor.app, Import, "7")
    assert visitor.get(f"/runs/{run_id}/approve?step=customs").status_code == 200
    assert visitor.get(f"/runs/{run_id}/approve?step=quality").status_code == 403
    fields = visitor.form(f"/runs/{run_id}/approve?step=customs")
    assert visitor.send(f"/runs/{run_id}/approve", fields, step="quality").status_code == 403
    assert "Approve quality…" not in visitor.read(f"/runs/{run_id}")


def test_an_answer_that_is_no_bool_opens_nothing(make) -> None:
    async def may(*_: object) -> bool:
        return False

    def coroutine(*asked: object) -> Any:
        answer = may(*asked)
        answer.close()
        return answer

    assert make({"authorize": coroutine}).get("/").status_code == 403


def test_read_only_offers_no_action_and_takes_none(make) -> None:
    visitor = make(SQUIDMESH_DASHBOARD_READ_ONLY=True)
    run_id = start(visitor.app, Checkout, "7")
    page = visitor.get(f"/runs/{run_id}").text
    assert f"/runs/{run_id}/approve" not in page
    assert "This dashboard is read-only." in text_of(page)
    assert visitor.send(f"/runs/{run_id}/approve", _footer(visitor)).status_code == 403
    assert visitor.status(run_id) == "paused"


def test_single_actions_can_be_switched_off(make) -> None:
    visitor = make(SQUIDMESH_DASHBOARD_DISABLED_ACTIONS=["cancel"])
    run_id = start(visitor.app, Checkout, "7")
    assert visitor.get(f"/runs/{run_id}/cancel").status_code == 403
    assert visitor.get(f"/runs/{run_id}/approve").status_code == 200


def test_nobody_acts_without_a_name(make) -> None:
    visitor = make({"authorize": lambda *asked: True})
    run_id = start(visitor.app, Checkout, "7")
    page = visitor.get(f"/runs/{run_id}/approve")
    assert page.status_code == 403
    assert "mesh.actor" in page.text


def test_the_right_to_view_is_not_the_right_to_see_data(make) -> None:
    visitor = make({"authorize": readers, "actor": lambda: "dana"})
    run_id = start(visitor.app, Checkout, "7")
    page = visitor.read(f"/runs/{run_id}")
    assert "You may not see the data of this run." in page
    assert "leave at the door" not in page
    assert visitor.get(f"/runs/{run_id}.json").status_code == 403


class User(UserMixin):  # type: ignore[misc]
    id = "lee@shop.test"


def _with_login(url: str) -> Visitor:
    app = make_app(url, hooks={"authorize": nobody})
    manager = LoginManager(app)
    manager.login_view = "login"
    manager.user_loader(lambda _id: User())
    app.add_url_rule("/login", "login", lambda: "Log in")
    return Visitor(app)


def test_somebody_unknown_is_sent_to_the_hosts_log_in(migrated_sqlite_url: str) -> None:
    visitor = _with_login(migrated_sqlite_url)
    page = visitor.get("/runs")
    assert page.status_code == 302
    assert page.location.startswith("/login?next=")


def test_htmx_is_sent_to_the_log_in_as_a_whole_page(migrated_sqlite_url: str) -> None:
    visitor = _with_login(migrated_sqlite_url)
    page = visitor.get("/pulse?view=inbox", headers={"HX-Request": "true"})
    assert page.status_code == 200
    assert page.headers["HX-Redirect"].startswith("/login?next=")
    assert page.text == ""


HERE = "http://localhost/squidmesh/runs?word=failed"


@pytest.mark.parametrize(
    ("told", "page"),
    [
        ({"HX-Current-URL": HERE}, "/squidmesh/runs?word=failed"),
        ({"Referer": HERE}, "/squidmesh/runs?word=failed"),
        ({"HX-Current-URL": "http://evil.example/squidmesh/runs"}, "/squidmesh/"),
        ({"HX-Current-URL": "http://localhost//evil.example"}, "/squidmesh/"),
        ({"HX-Current-URL": "javascript:alert(1)"}, "/squidmesh/"),
        ({"HX-Current-URL": "http://[", "Referer": "//[::1"}, "/squidmesh/"),
        ({"HX-Current-URL": "http://[", "Referer": HERE}, "/squidmesh/runs?word=failed"),
        ({"HX-Current-URL": "http://localhost/squidmesh/pulse?view=inbox"}, "/squidmesh/"),
        ({}, "/squidmesh/"),
    ],
)
def test_the_log_in_leads_back_to_the_page_whose_poll_was_refused(
    migrated_sqlite_url: str, told: dict[str, str], page: str
) -> None:
    visitor = _with_login(migrated_sqlite_url)
    answer = visitor.get("/pulse?view=runs&v=1-0&word=failed", headers={"HX-Request": "true", **told})
    assert dict(parse_qsl(urlsplit(answer.headers["HX-Redirect"]).query)) == {"next": page}


def test_a_poll_that_any_guard_of_the_host_redirects_leads_back_to_its_page(migrated_sqlite_url: str) -> None:
    visitor = _with_login(migrated_sqlite_url)
    visitor.app.before_request(lambda: redirect("/sso"))
    answer = visitor.get("/pulse?view=runs", headers={"HX-Request": "true", "HX-Current-URL": HERE})
    assert answer.headers["HX-Redirect"] == "/squidmesh/runs?word=failed"


def test_what_only_takes_forms_is_not_where_a_log_in_leads_back_to(migrated_sqlite_url: str) -> None:
    visitor = _with_login(migrated_sqlite_url)
    answer = visitor.client.post("/squidmesh/bulk/1/stop", headers={"Referer": HERE})
    assert dict(parse_qsl(urlsplit(answer.location).query)) == {"next": "/squidmesh/runs?word=failed"}


@pytest.mark.parametrize("headers", [{}, {"HX-Request": "true"}, {"Sec-Fetch-Mode": "navigate"}])
def test_what_was_typed_is_not_lost_where_the_session_has_ended(
    migrated_sqlite_url: str, headers: dict[str, str]
) -> None:
    visitor = _with_login(migrated_sqlite_url)
    sent = {"comment": "I have seen <the> goods", "payload.note": "fragile", "payload.password": "canary", "key": "k"}
    answer = visitor.client.post("/squidmesh/runs/1/approve", data=sent, headers=headers)
    assert answer.status_code == 401
    assert "HX-Redirect" not in answer.headers
    assert "I have seen &lt;the&gt; goods</textarea>" in answer.text
    assert "fragile" in answer.text
    assert "canary" not in answer.text
    assert "/login?next=" in answer.text


def test_no_other_site_puts_text_on_the_page_that_leads_to_the_log_in(migrated_sqlite_url: str) -> None:
    visitor = _with_login(migrated_sqlite_url)
    sent = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    answer = visitor.client.post("/squidmesh/runs/1/approve", data={"comment": "call 0190"}, headers=sent)
    assert answer.status_code == 401
    assert "0190" not in answer.text


def test_a_host_without_a_log_in_page_answers_as_it_always_does(migrated_sqlite_url: str) -> None:
    visitor = _with_login(migrated_sqlite_url)
    visitor.app.login_manager.login_view = None  # type: ignore[attr-defined]
    assert visitor.get("/runs").status_code == 401


def test_somebody_known_but_not_allowed_reads_why(migrated_sqlite_url: str) -> None:
    visitor = _with_login(migrated_sqlite_url)
    with visitor.client.session_transaction() as session:
        session["_user_id"] = "lee@shop.test"
    assert visitor.get("/runs").status_code == 403


def test_flask_logins_user_is_recorded_where_the_host_names_nobody(migrated_sqlite_url: str) -> None:
    visitor = _with_login(migrated_sqlite_url)
    visitor.app.extensions["mesh"].authorize(lambda *asked: True)
    with visitor.client.session_transaction() as session:
        session["_user_id"] = "lee@shop.test"
    run_id = start(visitor.app, Checkout, "7")
    visitor.send(f"/runs/{run_id}/approve")
    assert visitor.events(run_id)[-1].actor == "lee@shop.test"
