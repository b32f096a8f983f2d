"""What a person may put into a run's state by saying what a step would have returned."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypedDict

import pytest
from pydantic import BaseModel

from flask_squidmesh import Manual, ManualActionError, Step, StepContext, Workflow
from flask_squidmesh.testing import drain
from tests.shop import Order, Script, Shop

OpenShop = Callable[..., Shop]


class ChargedModel(BaseModel):
    charge: str
    amount: int


@dataclass
class ChargedData:
    charge: str
    amount: int


class ChargedDict(TypedDict):
    charge: str
    amount: int


def charging(script: Script, *outcomes: Any, returns: Any = None, **options: Any) -> type[Workflow]:
    """A workflow whose step ends in the dark, and then again and again until nothing is left to be tried."""

    def charge(ctx: StepContext) -> Any:
        return script.does("charge", *outcomes)(ctx)

    if returns is not None:
        charge.__annotations__["return"] = returns

    class Charging(Workflow):
        place = Manual(Order)
        load = Step(script.does("load", {"rate": 2}))
        charge_ = Step(charge, irreversible=True, **options)
        tell = Step(script.does("tell", lambda ctx: {"seen": dict(ctx.state)}))
        flow = [load >> charge_ >> tell]

    return Charging


def stands(open_shop: OpenShop, script: Script, **options: Any) -> tuple[Shop, str]:
    workflow = charging(script, OSError("unknown"), **options)
    shop = open_shop(workflow)
    run_id = shop.run(workflow)
    assert shop.mesh.explain_run(run_id).reason == "interrupted"
    return shop, run_id


@pytest.mark.rule("resolve-new-keys")
@pytest.mark.parametrize("output", [{"amount": 500}, {"charge": "c", "rate": 9}], ids=["payload", "earlier output"])
def test_keys_that_a_step_never_returns_overwrite_nothing_unless_that_is_meant(
    open_shop: OpenShop, script: Script, output: dict[str, Any]
) -> None:
    shop, run_id = stands(open_shop, script)
    with pytest.raises(ManualActionError, match="would overwrite what the run's state holds") as refused:
        shop.mesh.resolve_step(run_id, actor="lee", output=output)
    assert refused.value.field == "allow_new_keys"
    assert shop.status(run_id) == "paused"
    shop.mesh.resolve_step(run_id, actor="lee", output=output, allow_new_keys=True)
    drain()
    assert output.items() <= shop.look(run_id).context["seen"].items()


@pytest.mark.rule("resolve-new-keys")
@pytest.mark.parametrize("output", [{"charge": "c", "note": "n"}, {"amount": 5}, {}], ids=["new", "the same", "none"])
def test_what_overwrites_nothing_needs_no_word(open_shop: OpenShop, script: Script, output: dict[str, Any]) -> None:
    shop, run_id = stands(open_shop, script)
    shop.mesh.resolve_step(run_id, actor="lee", output=output)
    drain()
    assert shop.status(run_id) == "completed"


@pytest.mark.rule("resolve-new-keys")
@pytest.mark.parametrize("returns", [ChargedModel, ChargedData, ChargedDict, ChargedModel | None])
def test_a_step_may_overwrite_what_it_declares(open_shop: OpenShop, script: Script, returns: Any) -> None:
    shop, run_id = stands(open_shop, script, returns=returns)
    with pytest.raises(ManualActionError, match="rate"):
        shop.mesh.resolve_step(run_id, actor="lee", output={"amount": 6, "rate": 9})
    shop.mesh.resolve_step(run_id, actor="lee", output={"amount": 6})
    drain()
    assert shop.look(run_id).context["seen"]["amount"] == 6


@pytest.mark.rule("resolve-new-keys")
def test_what_has_a_key_of_its_own_overwrites_nothing(open_shop: OpenShop, script: Script) -> None:
    shop, run_id = stands(open_shop, script, output="charged")
    shop.mesh.resolve_step(run_id, actor="lee", output={"amount": 500, "rate": 9})
    drain()
    seen = shop.look(run_id).context["seen"]
    assert (seen["charged"], seen["amount"], seen["rate"]) == ({"amount": 500, "rate": 9}, 5, 2)


@pytest.mark.rule("resolve-new-keys")
def test_a_step_may_overwrite_what_it_returned_before(open_shop: OpenShop, script: Script) -> None:
    class Looping(Workflow):
        place = Manual(Order)
        charge = Step(script.does("charge", {"amount": 6, "again": 1}, OSError("unknown")), irreversible=True)
        tell = Step(script.does("tell"))
        flow = [charge.when("again", equals=1) >> charge, charge >> tell]

    shop = open_shop(Looping)
    run_id = shop.run(Looping)
    with pytest.raises(ManualActionError, match="order_id"):
        shop.mesh.resolve_step(run_id, actor="lee", output={"amount": 7, "order_id": "x"})
    shop.mesh.resolve_step(run_id, actor="lee", output={"amount": 7, "again": 2})
    drain()
    assert (shop.status(run_id), shop.look(run_id).context["amount"]) == ("completed", 7)
