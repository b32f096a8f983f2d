"""A payload that the database would give back as another one starts nothing, whoever starts it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pydantic import BaseModel, field_validator

from flask_squidmesh import Cron, Manual, PayloadError, Step, StepContext, Workflow
from flask_squidmesh.storage import tables
from flask_squidmesh.testing import drain
from tests.shop import Order, Script, Shop, error_of

OpenShop = Callable[..., Shop]


class Cents(BaseModel):
    amount: int = 5

    @field_validator("amount")
    @classmethod
    def in_cents(cls, amount: int) -> int:
        return amount * 100


def paying(script: Script) -> type[Workflow]:
    class Paying(Workflow):
        by_hand = Manual(Cents)
        monthly = Cron("0 9 1 * *", Cents)
        pay = Step(script.does("pay"))
        flow = [pay]

    return Paying


@pytest.mark.rule("payload-reads-back")
def test_a_start_is_refused_and_writes_nothing(open_shop: OpenShop, script: Script) -> None:
    shop = open_shop(workflow := paying(script))
    for session in (None, shop.db.session):
        with pytest.raises(PayloadError) as refusal:
            shop.start(workflow, {"amount": 500}, idempotency_key="o-1", session=session)
        assert list(refusal.value.invalid_types) == ["amount"]
    assert shop.rows(tables.runs) == shop.rows(tables.start_keys) == []


@pytest.mark.rule("payload-reads-back")
def test_a_child_and_a_schedule_are_refused_alike(open_shop: OpenShop, script: Script) -> None:
    class Parent(Workflow):
        place = Manual(Order)
        spawn = Step(script.does("spawn", lambda ctx: spawn_child(ctx)))
        flow = [spawn]

    def spawn_child(ctx: StepContext) -> None:
        ctx.start_child("paying", {"amount": 5}, key="part")

    shop = open_shop(Parent, paying(script))
    run_id = shop.run(Parent)
    assert error_of(shop.look(run_id))["type"] == "PayloadError"
    with pytest.raises(PayloadError):
        shop.runtime.scheduler.fire("paying", "monthly")
    drain()
    assert script.calls == ["spawn"]
    [said] = [finding.text for finding in shop.runtime.app_check.results() if finding.subject == "schedules"]
    assert said.startswith("The schedule monthly of paying cannot start its run: ")
