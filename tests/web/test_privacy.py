"""What must not be seen leaves the server in no way; what may be seen is kept by nobody on the way."""

from __future__ import annotations

import json
from typing import Any

import pytest

from flask_squidmesh.dashboard import REDACTED
from tests.web.shop import CANARY, Billing, Checkout, Labels, start, work
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
    for path in (f"/runs/{run_id}", f"/runs/{run_id}.json", f"/runs/{run_id}/approve"):
        assert visitor.get(path).headers["Cache-Control"] == "no-store"


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
