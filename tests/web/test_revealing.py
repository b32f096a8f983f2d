"""Parts of a run's data: whole as JSON, and with their hidden values for whoever may see them, on record."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from flask_squidmesh import Manual, Retry, RetryStep, Step, Workflow
from flask_squidmesh.dashboard import REDACTED
from tests.web.shop import CANARY, Billing, Checkout, Order, advance, mesh_of, start, work
from tests.web.visiting import Visitor, text_of

PARTS = ("payload", "context", "step/hold/1/input", "step/hold/1/output", "step/take/1/error", "step/take/1/state")


@pytest.mark.rule("pages-json")
@pytest.mark.parametrize("part", PARTS)
def test_every_part_can_be_had_as_json_without_what_is_hidden(visitor: Visitor, part: str) -> None:
    run_id = start(visitor.app, Billing, "7")
    answer = visitor.get(f"/runs/{run_id}/payload/{part}")
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.get_json()
    assert CANARY not in answer.text


@pytest.mark.rule("pages-json")
def test_what_is_long_is_a_link_to_its_part(visitor: Visitor) -> None:
    run_id = start(visitor.app, Checkout, "7", note="long " * 5000)
    assert f'href="/squidmesh/runs/{run_id}/payload/payload" download' in visitor.get(f"/runs/{run_id}").text
    assert visitor.get(f"/runs/{run_id}/payload/payload").get_json()["note"] == "long " * 5000


@pytest.mark.parametrize(
    "part", ["nothing", "step/hold/1", "step/hold/9/input", "step/hold/1/settings", "step/hold/1/attempt-9"]
)
def test_a_part_that_there_is_not_is_an_unknown_page(visitor: Visitor, part: str) -> None:
    run_id = start(visitor.app, Billing, "7")
    assert visitor.get(f"/runs/{run_id}/payload/{part}").status_code == 404


def test_parts_are_for_who_may_see_data(make: Any) -> None:
    visitor = make({"authorize": lambda action, run, permission: action != "payload", "actor": lambda: "dana"})
    run_id = start(visitor.app, Billing, "7")
    for path in ("payload/payload", "reveal/payload"):
        assert visitor.get(f"/runs/{run_id}/{path}").status_code == 403


@pytest.mark.rule("reveal")
def test_a_reveal_is_asked_for_and_kept_in_the_audit(visitor: Visitor) -> None:
    run_id = start(visitor.app, Checkout, "7")
    assert f"/runs/{run_id}/reveal/payload" in visitor.get(f"/runs/{run_id}").text
    asking = visitor.get(f"/runs/{run_id}/reveal/payload")
    assert CANARY not in asking.text
    assert visitor.events(run_id)[-1].type != "revealed"
    answer = visitor.send(f"/runs/{run_id}/reveal/payload", comment="the bank asks")
    assert CANARY in answer.text
    assert answer.headers["Cache-Control"] == "no-store"
    event = visitor.events(run_id)[-1]
    assert (event.type, event.actor, event.comment, event.metadata) == (
        "revealed",
        "dana",
        "the bank asks",
        {"part": "payload"},
    )
    assert "dana revealed what is hidden in payload the bank asks" in visitor.read(f"/runs/{run_id}")


@pytest.mark.rule("reveal")
def test_nothing_is_shown_that_could_not_be_put_on_record(visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_args: object, **_more: object) -> None:
        raise RuntimeError("the audit is full")

    run_id = start(visitor.app, Checkout, "7")
    fields = visitor.form(f"/runs/{run_id}/reveal/payload")
    monkeypatch.setattr("flask_squidmesh.storage.fact_rows.note", broken)
    with pytest.raises(RuntimeError, match="the audit is full"):
        visitor.send(f"/runs/{run_id}/reveal/payload", fields)


@pytest.mark.rule("reveal")
def test_what_the_host_hides_stays_hidden(make: Any) -> None:
    def hide(path: tuple[str | int, ...], value: Any, run: Any) -> Any:
        return REDACTED if path[-1:] == ("card_token",) else value

    visitor = make({"authorize": lambda *asked: True, "actor": lambda: "dana", "redact": hide})
    run_id = start(visitor.app, Checkout, "7")
    assert CANARY not in visitor.send(f"/runs/{run_id}/reveal/payload").text
    assert "/reveal/payload" not in visitor.get(f"/runs/{run_id}").text
    assert CANARY in visitor.send(f"/runs/{run_id}/reveal/step/reserve/1/output").text


@pytest.mark.parametrize(
    "settings", [{"SQUIDMESH_DASHBOARD_READ_ONLY": True}, {"SQUIDMESH_DASHBOARD_DISABLED_ACTIONS": ["reveal"]}]
)
def test_a_reveal_can_be_switched_off(make: Any, settings: dict[str, Any]) -> None:
    visitor = make(**settings)
    run_id = start(visitor.app, Checkout, "7")
    assert "/reveal/" not in visitor.get(f"/runs/{run_id}").text
    assert visitor.get(f"/runs/{run_id}/reveal/payload").status_code == 403


@pytest.mark.rule("reveal")
def test_a_reveal_needs_its_right_and_its_words(make: Any) -> None:
    visitor = make(SQUIDMESH_DASHBOARD_COMMENT_REQUIRED=["reveal"])
    run_id = start(visitor.app, Checkout, "7")
    answer = visitor.send(f"/runs/{run_id}/reveal/payload")
    assert (answer.status_code, CANARY in answer.text) == (422, False)
    fields = visitor.form(f"/runs/{run_id}/reveal/payload")
    visitor.app.extensions["mesh"].authorize(lambda action, run, permission: action != "reveal")
    assert visitor.send(f"/runs/{run_id}/reveal/payload", fields, comment="why not").status_code == 403
    assert [event.type for event in visitor.events(run_id)][-1] == "refused"


@pytest.mark.rule("pages-attempts")
def test_each_attempt_is_shown_with_its_own_worker_and_error(visitor: Visitor) -> None:
    said = iter(["carrier closed", "carrier busy", "carrier on strike"])

    def call(order_id: str) -> None:
        raise RetryStep(next(said), after=600)

    class Parcel(Workflow):
        order = Manual(Order)
        call_carrier = Step(call, retry=Retry(5))

    mesh_of(visitor.app).register(Parcel)
    run_id = start(visitor.app, Parcel)
    for _ in range(2):
        advance(visitor.app, timedelta(minutes=11))
        work(visitor.app)
    page = visitor.get(f"/runs/{run_id}?step=call_carrier&visit=1&attempt=2")
    inspector = page.text[page.text.index('id="inspector"') :].partition("</section>")[0]
    assert "Attempt 2 of 5" in text_of(inspector)
    assert "carrier busy" in inspector
    assert "carrier on strike" not in inspector
    assert inspector.count('aria-current="true"') == 1
    assert f"{run_id}?step=call_carrier&amp;visit=1&amp;attempt=3#inspector" in page.text


@pytest.mark.rule("pages-attempts")
def test_the_state_that_a_step_saw_ends_before_it(visitor: Visitor) -> None:
    run_id = start(visitor.app, Checkout, "7")
    visitor.send(f"/runs/{run_id}/approve")
    work(visitor.app)
    seen = visitor.get(f"/runs/{run_id}/payload/step/capture/1/state").get_json()
    assert (seen["order_id"], seen["reservation"], "charge" in seen) == ("7", "r-7", False)
    assert "The state it saw" in visitor.read(f"/runs/{run_id}?step=capture")
