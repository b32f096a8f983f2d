"""No form counts that another site made, with the host's CSRF protection and without it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask, Request, redirect, request
from flask.sessions import SecureCookieSessionInterface
from flask_login import LoginManager, current_user
from flask_wtf.csrf import CSRFProtect

from flask_squidmesh.dashboard import endpoints
from tests.web.shop import Checkout, make_app, start
from tests.web.visiting import Visitor, forms_of, text_of


def test_a_form_without_a_token_does_nothing(visitor: Visitor) -> None:
    run_id = start(visitor.app, Checkout)
    fields = visitor.form(f"/runs/{run_id}/approve")
    del fields[endpoints.FIELD]
    answer = visitor.send(f"/runs/{run_id}/approve", fields)
    assert answer.status_code == 400
    assert "Nothing was done" in text_of(answer.text)
    assert visitor.status(run_id) == "paused"


@pytest.mark.rule("rights-post-only")
def test_a_token_of_another_session_does_nothing(visitor: Visitor) -> None:
    run_id = start(visitor.app, Checkout)
    theirs = Visitor(visitor.app).form(f"/runs/{run_id}/approve")
    visitor.form(f"/runs/{run_id}/approve")
    assert visitor.send(f"/runs/{run_id}/approve", theirs).status_code == 400
    assert visitor.status(run_id) == "paused"


@pytest.mark.rule("rights-post-only")
@pytest.mark.parametrize(("age", "answer"), [(timedelta(hours=2), 303), (timedelta(hours=13), 400)])
def test_a_form_lives_for_a_working_day(
    visitor: Visitor, monkeypatch: pytest.MonkeyPatch, age: timedelta, answer: int
) -> None:
    run_id = start(visitor.app, Checkout)
    fields = visitor.form(f"/runs/{run_id}/approve")
    later = datetime.now(UTC) + age
    monkeypatch.setattr("itsdangerous.timed.time.time", later.timestamp)
    assert visitor.send(f"/runs/{run_id}/approve", fields).status_code == answer


@pytest.mark.parametrize(
    ("site", "answer"), [("same-origin", 303), ("same-site", 400), ("cross-site", 400), ("none", 400)]
)
def test_the_browser_says_where_a_form_comes_from(visitor: Visitor, site: str, answer: int) -> None:
    run_id = start(visitor.app, Checkout)
    fields = visitor.form(f"/runs/{run_id}/approve")
    sent = visitor.client.post(f"/squidmesh/runs/{run_id}/approve", data=fields, headers={"Sec-Fetch-Site": site})
    assert sent.status_code == answer


def test_without_a_secret_key_one_can_read_but_not_act(make) -> None:
    visitor = make(SECRET_KEY=None)
    run_id = start(visitor.app, Checkout)
    assert "SECRET_KEY" in visitor.read(f"/runs/{run_id}/approve")
    answer = visitor.client.post(f"/squidmesh/runs/{run_id}/approve", data={})
    assert answer.status_code == 500
    assert "SECRET_KEY" in text_of(answer.text)
    assert visitor.status(run_id) == "paused"


def _protected(url: str, **settings: Any) -> Visitor:
    app = make_app(url, **settings)
    CSRFProtect(app)
    return Visitor(app)


@pytest.mark.parametrize("checks_by_default", [True, False])
def test_the_hosts_own_protection_counts(migrated_sqlite_url: str, checks_by_default: bool) -> None:
    visitor = _protected(
        migrated_sqlite_url, WTF_CSRF_CHECK_DEFAULT=checks_by_default, WTF_CSRF_FIELD_NAME="house_token"
    )
    run_id = start(visitor.app, Checkout)
    fields = visitor.form(f"/runs/{run_id}/approve")
    assert endpoints.FIELD not in fields
    bare = {name: value for name, value in fields.items() if name != "house_token"}
    refused = visitor.send(f"/runs/{run_id}/approve", bare)
    assert refused.status_code == 400
    assert "Nothing was done" in text_of(refused.text)
    assert visitor.status(run_id) == "paused"
    assert visitor.send(f"/runs/{run_id}/approve", fields).status_code == 303


def test_a_form_sent_after_the_session_has_ended_leads_to_the_log_in(migrated_sqlite_url: str) -> None:
    def somebody() -> str:
        return str(current_user.email)

    visitor = _protected(migrated_sqlite_url, hooks={"authorize": lambda *_: False, "actor": somebody})
    logins = LoginManager(visitor.app)
    logins.user_loader(lambda _: None)
    logins.unauthorized_handler(lambda: redirect("/login"))
    run_id = start(visitor.app, Checkout)
    sent = visitor.client.post(f"/squidmesh/runs/{run_id}/approve", data={"expected": "review#1"})
    assert (sent.status_code, sent.location) == (302, "/login")
    assert visitor.status(run_id) == "paused"


def test_an_actor_hook_that_knows_nobody_does_not_break_the_pages(make) -> None:
    def nobody() -> str:
        raise AttributeError("an anonymous person has no email")

    visitor = make({"actor": nobody})
    assert "There is no such page" in text_of(visitor.get("/nonsense").text)


def test_the_hosts_protection_on_https_wants_a_referrer_and_gets_it(migrated_sqlite_url: str) -> None:
    visitor = _protected(migrated_sqlite_url)
    run_id = start(visitor.app, Checkout)
    path, site = f"/squidmesh/runs/{run_id}/approve", {"base_url": "https://shop.test"}
    page = visitor.client.get(path, **site)
    assert page.headers["Referrer-Policy"] == "same-origin"
    fields = forms_of(page.text)[path]
    assert visitor.client.post(path, data=fields, **site).status_code == 400
    sent = visitor.client.post(path, data=fields, headers={"Referer": f"https://shop.test{path}"}, **site)
    assert sent.status_code == 303


class Sessionless(SecureCookieSessionInterface):
    """Gives no session, as to a browser that takes no cookies."""

    def open_session(self, app: Flask, request: Request) -> None:
        return None


@pytest.mark.parametrize("protected", [True, False])
def test_without_a_session_one_can_read_but_not_act(migrated_sqlite_url: str, protected: bool) -> None:
    visitor = _protected(migrated_sqlite_url) if protected else Visitor(make_app(migrated_sqlite_url))
    visitor.app.session_interface = Sessionless()
    run_id = start(visitor.app, Checkout)
    for path in ("/", "/runs", f"/runs/{run_id}", f"/runs/{run_id}/approve", "/workflows/checkout/start", "/nowhere"):
        assert visitor.get(path).status_code in (200, 404), path
    assert "Actions need a session" in visitor.read(f"/runs/{run_id}/approve")
    sent = visitor.client.post(f"/squidmesh/runs/{run_id}/approve", data={})
    assert sent.status_code in (400, 500)
    assert visitor.status(run_id) == "paused"


def test_a_form_outlives_the_change_of_the_secret_key(visitor: Visitor) -> None:
    run_id = start(visitor.app, Checkout)
    fields = visitor.form(f"/runs/{run_id}/approve")
    visitor.app.config.update(SECRET_KEY="a new one", SECRET_KEY_FALLBACKS=["for tests only"])
    assert visitor.send(f"/runs/{run_id}/approve", fields).status_code == 303


def test_a_key_that_counts_no_more_signs_no_form(visitor: Visitor) -> None:
    run_id = start(visitor.app, Checkout)
    fields = visitor.form(f"/runs/{run_id}/approve")
    with visitor.client.session_transaction() as session:
        kept = dict(session)
    visitor.app.config.update(SECRET_KEY="a new one", SECRET_KEY_FALLBACKS=["another"])
    with visitor.client.session_transaction() as session:
        session.update(kept)
    assert visitor.send(f"/runs/{run_id}/approve", fields).status_code == 400


ELSEWHERE = "https://login.test/in?next=https://shop.test/squidmesh/runs"


@pytest.mark.parametrize(
    ("target", "sent", "status"),
    [
        (ELSEWHERE, {}, 401),
        ("/login", {"Sec-Fetch-Mode": "navigate"}, 401),
        ("/login", {}, 302),
    ],
)
def test_a_form_whose_session_has_ended_gets_past_the_policy_to_a_log_in_elsewhere(
    make, target: str, sent: dict[str, str], status: int
) -> None:
    visitor = make({"authorize": lambda *_: False, "actor": lambda: "dana"})
    visitor.app.before_request(lambda: redirect(target) if request.method == "POST" else None)
    answer = visitor.client.post("/squidmesh/prefs", data={"theme": "dark"}, headers=sent)
    assert answer.status_code == status
    if status == 401:
        assert f'href="{target}">Sign in<' in answer.text
        assert "http-equiv" not in answer.text
        assert "form-action 'self'" in answer.headers["Content-Security-Policy"]
        assert "nothing was done" in text_of(answer.text)
