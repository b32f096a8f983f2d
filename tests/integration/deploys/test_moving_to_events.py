"""A deploy that puts an event in the place of an approval or of a step that polls, with runs under way."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from pydantic import BaseModel

from flask_squidmesh import (
    Approval,
    End,
    Fixed,
    Manual,
    Retry,
    RetryStep,
    Step,
    TransitionError,
    WaitForEvent,
    Workflow,
)
from flask_squidmesh.testing import drain
from tests.shop import Script, Shop

OpenShop = Callable[..., Shop]
EVENT = "payment.settled"


class Order(BaseModel):
    payment_id: str = "p-1"


def purchase(script: Script, paid: Any, leads: Callable[[Any, Any], list[Any]]) -> Any:
    charge, ship = Step(script.does("charge")), Step(script.does("ship"))
    body = {"place": Manual(Order), "charge": charge, "paid": paid, "ship": ship}
    return type("Purchase", (Workflow,), body | {"flow": [charge >> paid, *leads(paid, ship)]})


def asking(script: Script) -> Any:
    return purchase(script, Approval("Paid?"), lambda paid, ship: [paid >> ship, paid.on_reject >> End("refused")])


def polling(script: Script) -> Any:
    paid = Step(script.does("poll", RetryStep("not yet")), retry=Retry(100, backoff=Fixed(60)))
    return purchase(script, paid, lambda paid, ship: [paid >> ship])


def waiting(script: Script) -> Any:
    def leads(paid: Any, ship: Any) -> list[Any]:
        refused = paid.when("paid.status", equals="declined")
        return [refused >> End("refused"), paid >> ship, paid.on_timeout >> End("unpaid")]

    return purchase(script, WaitForEvent(EVENT, key="{payment_id}", within=timedelta(hours=1)), leads)


def settle(shop: Shop, status: str = "settled") -> None:
    shop.mesh.send_event(EVENT, key="p-1", payload={"status": status})
    drain()


@pytest.mark.rule("deploy-to-events")
@pytest.mark.parametrize(("option", "outcome", "shipped"), [("approve", None, ["ship"]), ("reject", "refused", [])])
def test_an_open_approval_stays_one_and_takes_no_event(
    open_shop: OpenShop, script: Script, option: str, outcome: str | None, shipped: list[str]
) -> None:
    run_id = open_shop(asking(script)).run("purchase")
    later = open_shop(waiting(script))
    settle(later)
    assert later.status(run_id) == "paused"
    later.mesh.decide_run(run_id, option, actor="gateway", comment="from the gateway")
    drain()
    assert (later.look(run_id).outcome, script.calls) == (outcome, ["charge", *shipped])


@pytest.mark.rule("deploy-to-events")
def test_a_run_that_has_not_come_to_the_approval_waits_for_the_event(open_shop: OpenShop, script: Script) -> None:
    run_id = open_shop(asking(script)).start("purchase")
    later = open_shop(waiting(script))
    later.later(0)
    with pytest.raises(TransitionError):
        later.mesh.approve_run(run_id, actor="gateway")
    settle(later)
    assert (later.status(run_id), script.calls) == ("completed", ["charge", "ship"])


@pytest.mark.rule("deploy-to-events")
@pytest.mark.parametrize("early", [True, False])
def test_a_step_that_polled_waits_from_its_next_attempt_on(open_shop: OpenShop, script: Script, early: bool) -> None:
    run_id = open_shop(polling(script)).run("purchase")
    later = open_shop(waiting(script))
    assert later.status(run_id) == "retrying"
    if early:
        settle(later)
    later.later(61)
    if not early:
        assert later.mesh.explain_run(run_id).reason == "waiting_for_event"
        later.clock.advance(timedelta(minutes=59))
        settle(later)
    assert (later.status(run_id), script.calls) == ("completed", ["charge", "poll", "ship"])
