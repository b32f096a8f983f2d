"""What must not be seen leaves the server in no way; what may be seen is kept by nobody on the way."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from pydantic import BaseModel

from flask_squidmesh import Manual, Step, Wait, Workflow
from flask_squidmesh.dashboard import REDACTED
from tests.web.shop import (
    CANARY,
    Billing,
    Checkout,
    Labels,
    Payout,
    Shipping,
    advance,
    make_app,
    mesh_of,
    start,
    work,
)
from tests.web.visiting import Visitor, text_of


def _pages_of(run_id: str) -> list[str]:
    steps = [f"/runs/{run_id}?step={step}" for step in ("reserve", "hold", "take", "review")]
    actions = [f"/runs/{run_id}/{verb}" for verb in ("approve", "cancel", "replay", "acknowledge")]
    return [
        "/",
        "/runs",
        f"/runs/{run_id}",
        f"/runs/{run_id}?view=graph",
        f"/runs/{run_id}.json",
        f"/runs/{run_id}?step=hold&kind=compensation",
        f"/runs/{run_id}/payload/payload",
        f"/runs/{run_id}/payload/context",
        f"/runs/{run_id}/reveal/payload",
        f"/pulse?view=run&run_id={run_id}",
        "/pulse?view=inbox",
        "/pulse?view=runs",
        *steps,
        *actions,
    ]


@pytest.mark.parametrize("workflow", [Checkout, Billing])
def test_values_under_secret_names_are_nowhere(visitor: Visitor, workflow: Any) -> None:
    run_id = start(visitor.app, workflow, "7")
    if workflow is Checkout:
        visitor.send(f"/runs/{run_id}/approve")
        work(visitor.app)
    assert visitor.app.extensions["mesh"] is not None
    for path in _pages_of(run_id):
        assert CANARY not in visitor.get(path).text, path


def test_a_hidden_value_is_marked_and_its_key_stays(visitor: Visitor) -> None:
    run_id = start(visitor.app, Checkout, "7")
    assert '"card_token": redacted' in visitor.read(f"/runs/{run_id}")
    document = json.loads(visitor.get(f"/runs/{run_id}.json").text)
    assert document["payload"]["card_token"] == "[redacted]"
    assert document["payload"]["note"] == "leave at the door"


def greet(greeting: str, key: str, note: str) -> dict[str, str]:
    return {"greeted": note}


class Letter(BaseModel):
    data: dict[str, dict[str, str]] = {"password": {"value": CANARY}, "greeting": {"value": "hello"}}
    note: str = "plain"


class Mail(Workflow):
    """Hand a secret on under another name."""

    send = Manual(Letter)
    wait = Wait(timedelta(hours=1))
    greet = Step(greet, input={"key": "data.password.value", "greeting": "data.greeting.value"})
    flow = [wait >> greet]


@pytest.mark.rule("secret-names")
def test_a_step_that_is_given_a_secret_under_another_name_shows_it_nowhere(visitor: Visitor) -> None:
    mesh_of(visitor.app).register(Mail)
    with visitor.app.app_context():
        run_id = mesh_of(visitor.app).start_run(Mail, {}).id
    advance(visitor.app, timedelta(hours=2))
    work(visitor.app)
    assert visitor.status(run_id) == "completed"
    addresses = [f"/runs/{run_id}?step=greet", f"/runs/{run_id}.json", f"/runs/{run_id}/payload/step/greet/1/input"]
    for address in addresses:
        page = visitor.get(address).text
        assert CANARY not in page, address
        assert "hello" in page
    shown = visitor.send(f"/runs/{run_id}/reveal/step/greet/1/input")
    assert CANARY in shown.text


@pytest.mark.rule("secret-names")
def test_a_deploy_does_not_show_what_a_step_was_given_from_under_a_secret_name(
    visitor: Visitor, migrated_sqlite_url
) -> None:
    mesh_of(visitor.app).register(Mail)
    with visitor.app.app_context():
        run_id = mesh_of(visitor.app).start_run(Mail, {}).id
    advance(visitor.app, timedelta(hours=2))
    work(visitor.app)
    without = Visitor(make_app(migrated_sqlite_url))
    assert CANARY not in without.get(f"/runs/{run_id}.json").text
    assert "hello" in without.get(f"/runs/{run_id}.json").text


def test_the_host_hides_what_it_likes(make) -> None:
    def hide(path: tuple[str | int, ...], value: Any, run: Any) -> Any:
        return REDACTED if path[-1:] == ("note",) and run.workflow == "checkout" else value

    visitor = make({"authorize": lambda *asked: True, "actor": lambda: "dana", "redact": hide})
    run_id = start(visitor.app, Checkout, "7")
    assert "leave at the door" not in visitor.get(f"/runs/{run_id}").text
    assert "leave at the door" not in visitor.get(f"/runs/{run_id}.json").text
    assert '"note": redacted' in visitor.read(f"/runs/{run_id}")


def test_pages_with_data_are_kept_nowhere(visitor: Visitor) -> None:
    run_id = start(visitor.app, Checkout, "7")
    lists = ("/", "/runs", "/failures", "/audit", "/workflows", "/schedules", "/system", "/bulk?word=decision")
    polls = (f"/pulse?view=run&run_id={run_id}", "/pulse?view=inbox", "/pulse?view=runs")
    for path in (*lists, *polls, f"/runs/{run_id}", f"/runs/{run_id}.json", f"/runs/{run_id}/approve", "/nowhere"):
        assert visitor.get(path).headers["Cache-Control"] == "no-store", path


def test_lists_carry_no_payload(visitor: Visitor) -> None:
    start(visitor.app, Checkout, "7")
    for path in ("/", "/runs"):
        assert "leave at the door" not in visitor.get(path).text


def test_what_is_long_is_offered_as_json(visitor: Visitor) -> None:
    run_id = start(visitor.app, Checkout, "7", note="long " * 5000)
    page = visitor.get(f"/runs/{run_id}").text
    assert "too long to be shown here" in text_of(page)
    assert len(page) < 60_000


def test_markup_in_data_stays_text(visitor: Visitor) -> None:
    run_id = start(visitor.app, Checkout, "<script>alert(1)</script>", note="<img src=x onerror=alert(1)>")
    for path in ("/", "/runs", f"/runs/{run_id}", f"/runs/{run_id}/approve", f"/runs/{run_id}?step=reserve"):
        page = visitor.get(path).text
        assert "<script>alert" not in page
        assert "<img" not in page


def test_the_host_hides_the_words_of_errors_too(make) -> None:
    def hide(path: tuple[str | int, ...], value: Any, run: Any) -> Any:
        return REDACTED if path[-1:] in (("message",), ("traceback",)) else value

    visitor = make({"authorize": lambda *asked: True, "actor": lambda: "dana", "redact": hide})
    run_id = start(visitor.app, Labels, "7")
    for path in ("/", f"/runs/{run_id}", f"/runs/{run_id}.json"):
        assert "out of paper" not in visitor.get(path).text, path


def test_every_copy_of_an_error_passes_the_hosts_hook(make) -> None:
    asked: list[tuple[str | int, ...]] = []

    def hide(path: tuple[str | int, ...], value: Any, run: Any) -> Any:
        asked.append(path)
        return (
            REDACTED if "out of paper" in str(value) and path[-1:] and path[-1] in ("message", "traceback") else value
        )

    visitor = make({"authorize": lambda *asked: True, "actor": lambda: "dana", "redact": hide})
    for workflow in (Labels, Payout, Shipping):
        run_id = start(visitor.app, workflow, "7")
        views = ("", "?view=events", "?view=graph", ".json")
        for path in ("/", "/failures", "/audit", *(f"/runs/{run_id}{view}" for view in views)):
            assert "out of paper" not in visitor.get(path).text, path
    places = [path[:-1] for path in asked if path[-1:] == ("message",)]
    assert ("last_error",) in places
    assert ("step_runs", 0, "attempts", 0, "error") in places


@pytest.mark.parametrize("whole", ["last_error", "error"])
def test_an_error_that_the_host_hides_whole_is_shown_as_hidden(make, whole: str) -> None:
    def hide(path: tuple[str | int, ...], value: Any, run: Any) -> Any:
        return REDACTED if path[-1:] == (whole,) else value

    visitor = make({"authorize": lambda *asked: True, "actor": lambda: "dana", "redact": hide})
    run_id = start(visitor.app, Labels, "7")
    for path in ("/", "/failures", f"/runs/{run_id}", f"/runs/{run_id}?view=events", f"/runs/{run_id}.json"):
        assert visitor.get(path).status_code == 200, path
