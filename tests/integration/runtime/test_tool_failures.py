"""How a run goes on after a failed call: the runtime reads a ToolError as what it says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from flask_squidmesh import Manual, Retry, Step, StepContext, Workflow
from flask_squidmesh.tools import ToolError
from flask_squidmesh.tools.http import HttpAdapter
from tests.shop import Order, Shop, error_of

OpenShop = Callable[..., Shop]

Answer = tuple[int, dict[str, str], dict[str, Any]]

BUSY: Answer = (429, {"Retry-After": "40"}, {})
BROKEN: Answer = (502, {}, {})
REFUSED: Answer = (402, {}, {"why": "no credit"})
DONE: Answer = (201, {}, {"id": "p-1"})


class Warehouse:
    """Gives one answer after the other, then the last one for ever; keeps the idempotency keys it was asked with."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.keys: list[str] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.keys.append(request.headers["idempotency-key"])
        status, headers, body = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return httpx.Response(status, headers=headers, json=body)


warehouse = Warehouse()
http = HttpAdapter(allowed_hosts=["warehouse.example"], transport=httpx.MockTransport(warehouse))


def book(ctx: StepContext, order_id: str) -> dict[str, Any]:
    answer = http.post(
        "https://warehouse.example/parcels",
        json={"order": order_id},
        headers={"Idempotency-Key": ctx.idempotency_key},
    )
    return {"parcel": answer.payload["body"]["id"]}


def book_for_good(ctx: StepContext, order_id: str) -> dict[str, Any]:
    try:
        return book(ctx, order_id)
    except ToolError as error:
        raise error.as_step_signal() from None


class Shipping(Workflow):
    place = Manual(Order)
    book = Step(book, retry=Retry(3))


class ShippingForGood(Workflow):
    place = Manual(Order)
    book = Step(book_for_good, retry=Retry(3), irreversible=True)


class ShippingBlindly(Workflow):
    place = Manual(Order)
    book = Step(book, retry=Retry(3), irreversible=True)


class ShippingRegardless(Workflow):
    place = Manual(Order)
    book = Step(book, retry=Retry(3, on=ToolError), irreversible=True)


@pytest.fixture
def shop(open_shop: OpenShop) -> Shop:
    warehouse.answers, warehouse.keys = [DONE], []
    return open_shop(Shipping, ShippingForGood, ShippingBlindly, ShippingRegardless)


def needs_of(shop: Shop, run_id: str) -> str | None:
    needs = shop.look(run_id).needs
    return needs.kind if needs else None


@pytest.mark.rule("retry-tools")
def test_a_retryable_failure_waits_as_long_as_the_other_side_asks(shop: Shop) -> None:
    warehouse.answers = [BUSY, DONE]
    run_id = shop.run(Shipping)
    assert shop.status(run_id) == "retrying"
    shop.later(20)
    assert len(warehouse.keys) == 1
    shop.later(21)
    assert shop.look(run_id).context == {"parcel": "p-1"}
    assert warehouse.keys == [f"{run_id}:book:1"] * 2, "both attempts have one idempotency key"


@pytest.mark.rule("retry-tools")
def test_a_failure_that_is_not_retryable_is_final(shop: Shop) -> None:
    warehouse.answers = [REFUSED]
    run_id = shop.run(Shipping)
    assert shop.status(run_id) == "failed"
    assert len(warehouse.keys) == 1
    error = error_of(shop.look(run_id))
    assert (error["type"], error["code"], error["retryable"]) == ("ToolError", "http", False)
    assert (error["details"]["status"], error["details"]["body"]) == (402, {"why": "no credit"})


@pytest.mark.rule("retry-tools")
@pytest.mark.parametrize("answer", [BUSY, BROKEN, REFUSED])
def test_in_an_irreversible_step_every_failure_needs_a_person(shop: Shop, answer: Answer) -> None:
    warehouse.answers = [answer]
    run_id = shop.run(ShippingBlindly)
    assert shop.status(run_id) == "paused"
    assert needs_of(shop, run_id) == "interrupted"


def test_an_irreversible_step_may_say_what_is_certain(shop: Shop) -> None:
    warehouse.answers = [BUSY, REFUSED]
    run_id = shop.run(ShippingForGood)
    assert shop.status(run_id) == "retrying"
    shop.later(41)
    assert shop.status(run_id) == "failed"
    assert error_of(shop.look(run_id))["type"] == "FailStep"


def test_what_is_not_certain_still_needs_a_person(shop: Shop) -> None:
    warehouse.answers = [BROKEN]
    run_id = shop.run(ShippingForGood)
    assert needs_of(shop, run_id) == "interrupted"


def test_a_policy_that_names_tool_errors_speaks_for_an_irreversible_step(shop: Shop) -> None:
    warehouse.answers = [BROKEN, BUSY, DONE]
    run_id = shop.run(ShippingRegardless)
    assert len(warehouse.keys) == 2
    shop.later(41)
    assert shop.status(run_id) == "completed"


def test_a_refusal_fails_an_irreversible_step_whose_policy_names_tool_errors(shop: Shop) -> None:
    warehouse.answers = [REFUSED]
    run_id = shop.run(ShippingRegardless)
    assert (shop.status(run_id), len(warehouse.keys)) == ("failed", 1)


def test_a_policy_that_names_other_errors_does_not_retry_tool_errors(shop: Shop) -> None:
    class ShippingElsewhere(Workflow):
        place = Manual(Order)
        book = Step(book, retry=Retry(3, on=KeyError))

    shop.mesh.register(ShippingElsewhere)
    warehouse.answers = [BUSY]
    assert shop.status(shop.run(ShippingElsewhere)) == "failed"
