"""The workflows of the documentation, as their authors write them: they build, and `make lint` finds no cast needed."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from functools import partial
from typing import Any

from pydantic import BaseModel, Field

from flask_squidmesh.definition import (
    Approval,
    CompensationContext,
    Cron,
    Exponential,
    Fixed,
    Log,
    Manual,
    Pause,
    Retry,
    Step,
    StepContext,
    Wait,
    Workflow,
    scheduled_day,
)
from flask_squidmesh.definition.spec import Backoff, Condition, ErrorRoute, Route
from flask_squidmesh.errors import FailStep, RetryStep


class Order(BaseModel):
    order_id: str
    sku: str
    quantity: int = 1


class Account(BaseModel):
    account_id: str


class Digest(BaseModel):
    channel: str = "ops"
    day: date = Field(default_factory=scheduled_day)


class GatewayBusy(Exception):
    pass


class steps:
    @staticmethod
    def reserve_inventory(order: Order) -> dict[str, Any]:
        return {"reservation": order.sku * order.quantity}

    @staticmethod
    def release_inventory(ctx: CompensationContext, reservation: str) -> None: ...

    @staticmethod
    def authorize_payment(order_id: str) -> dict[str, Any]:
        return {"authorization": {"id": order_id}, "amount": Decimal("19.90")}

    @staticmethod
    def void_authorization(undo: CompensationContext) -> None: ...

    @staticmethod
    def capture_payment(ctx: StepContext, authorization: dict[str, Any], amount: Decimal) -> dict[str, Any]:
        if ctx.attempt < 3:
            raise RetryStep("gateway busy", after=30)
        if amount > 1000:
            raise FailStep("card declined", code="declined")
        return {"charge": authorization["id"]}

    @staticmethod
    async def send_receipt(charge: str) -> None: ...

    @staticmethod
    def release_and_tell(order_id: str) -> None: ...

    @staticmethod
    def deliver_digest(digest: Digest) -> None: ...

    @staticmethod
    def load_account(account_id: str) -> dict[str, Any]:
        return {"id": account_id, "tier": "gold"}

    @staticmethod
    def load_invoice(account_id: str, currency: str) -> dict[str, Any]:
        return {"currency": currency}

    @staticmethod
    def notify(account_id: str, tier: str) -> None: ...

    @staticmethod
    def classify() -> dict[str, Any]:
        return {"decision": "auto", "score": 0.5}

    @staticmethod
    def nothing() -> None: ...


class Checkout(Workflow):
    """Reserve, authorise, have it reviewed, capture."""

    version = "2026-11"
    subject = "Order {order_id}"

    place_order = Manual(Order)

    reserve = Step(steps.reserve_inventory, compensate=steps.release_inventory)
    authorize = Step(steps.authorize_payment, compensate=steps.void_authorization)
    review = Approval(
        prompt="Capture {amount} EUR for order {order_id}?",
        output="review",
        within=timedelta(hours=4),
        permission="payments.review",
    )
    settle = Wait(timedelta(seconds=5))
    capture = Step(steps.capture_payment, retry=Retry(5, backoff=Exponential(1, 30)), irreversible=True)
    receipt = Step(steps.send_receipt, compensatable=False)
    decline = Step(steps.release_and_tell)

    flow = [
        reserve >> authorize >> review >> settle >> capture >> receipt,
        review.on_reject >> decline,
    ]


class DailyDigest(Workflow):
    manual_digest = Manual(Digest)
    daily_digest = Cron("0 9 * * 1-5", Digest, timezone="Europe/Berlin", idempotency="return_existing")

    announce = Log("Digest for {day}", level="info")
    deliver = Step(steps.deliver_digest, retry=Retry(3))

    flow = [announce >> deliver]


class PrepareNotice(Workflow):
    prepare = Manual(Account)
    load_account = Step(steps.load_account, output="account")
    load_invoice = Step(partial(steps.load_invoice, currency="EUR"), output="invoice")
    notify = Step(
        steps.notify,
        after=[load_account, load_invoice],
        input={"account_id": "account.id", "tier": ("account", "tier")},
    )


class Routing(Workflow):
    aliases = ("triage",)
    max_visits = 10

    start = Manual()
    classify = Step(steps.classify, output="routing", retry=Retry(5, backoff=Fixed(2), jitter=0.1, on=(GatewayBusy,)))
    auto_approve = Step(steps.nothing)
    escalate = Pause(prompt="Score {routing}", within=60)
    manual_review = Approval()
    check_gateway = Step(steps.nothing)
    issue_credit = Step(steps.nothing)

    flow = [
        classify.when("routing.decision", equals="auto") >> auto_approve >> check_gateway,
        classify.when("routing.score", greater_than=Decimal("0.9")) >> escalate >> classify,
        classify >> manual_review >> auto_approve,
        manual_review.on_reject >> classify,
        check_gateway.on_error(recovery="compensation") >> issue_credit,
    ]


def test_a_flow_becomes_routes_in_order() -> None:
    spec = Checkout.__squidmesh__
    assert (spec.name, spec.title, spec.version, spec.style) == ("checkout", "Checkout", "2026-11", "flow")
    assert spec.description == "Reserve, authorise, have it reviewed, capture."
    assert spec.entry == ("reserve",)
    assert [*spec.steps] == ["reserve", "authorize", "review", "settle", "capture", "receipt", "decline"]
    assert spec.steps["review"].ok == (Route(target="settle"),)
    assert spec.steps["review"].error == ErrorRoute(target="decline")
    assert spec.steps["receipt"].ok == ()


def test_steps_keep_what_their_author_said() -> None:
    found = Checkout.__squidmesh__.steps
    assert found["capture"].retry.max_attempts == 5
    assert found["capture"].retry.backoff == Backoff(first=1, most=30)
    assert found["capture"].blocks_replay
    assert found["receipt"].blocks_replay
    assert not found["reserve"].blocks_replay
    assert found["settle"].duration == timedelta(seconds=5)
    assert found["review"].within == timedelta(hours=4)
    assert found["review"].permission == "payments.review"
    compensation = found["reserve"].compensate
    assert compensation is not None
    assert compensation.name == "release_inventory"


def test_the_first_trigger_is_the_default_one() -> None:
    spec = DailyDigest.__squidmesh__
    assert spec.name == "daily_digest"
    assert spec.title == "Daily digest"
    assert spec.default_trigger.name == "manual_digest"
    cron = spec.triggers["daily_digest"]
    assert (cron.kind, cron.expression, cron.timezone) == ("cron", "0 9 * * 1-5", "Europe/Berlin")


def test_dependencies_make_roots_and_joins() -> None:
    spec = PrepareNotice.__squidmesh__
    assert spec.style == "dependency"
    assert spec.entry == ("load_account", "load_invoice")
    assert spec.steps["notify"].after == ("load_account", "load_invoice")
    assert [each.path for each in spec.steps["notify"].parameters] == [("account", "id"), ("account", "tier")]


def test_a_partial_fills_parameters() -> None:
    assert [each.name for each in PrepareNotice.__squidmesh__.steps["load_invoice"].parameters] == ["account_id"]


def test_conditions_stand_in_order_before_the_fallback() -> None:
    spec = Routing.__squidmesh__
    assert spec.aliases == ("triage",)
    assert spec.max_visits == 10
    assert spec.steps["classify"].ok == (
        Route(
            target="auto_approve",
            condition=Condition(path=("routing", "decision"), operator="equals", value="auto"),
        ),
        Route(
            target="escalate",
            condition=Condition(path=("routing", "score"), operator="greater_than", value=Decimal("0.9")),
        ),
        Route(target="manual_review"),
    )
    assert spec.steps["check_gateway"].error == ErrorRoute(target="issue_credit", recovery="compensation")
