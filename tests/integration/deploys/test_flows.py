"""A deploy changes the order of a flow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from flask_squidmesh import Manual, Step, Wait, Workflow
from flask_squidmesh.testing import work_through
from tests.shop import Order, Script, Shop

OpenShop = Callable[..., Shop]


def ordered(script: Script, *names: str, **options: Any) -> type[Workflow]:
    """A flow of these steps; `settle` is a wait, and `pay` has the options."""
    steps = {
        name: Wait(60) if name == "settle" else Step(script.does(name), **(options if name == "pay" else {}))
        for name in names
    }
    line: Any = steps[names[0]]
    for name in names[1:]:
        line = line >> steps[name]
    return type("Ordered", (Workflow,), {"place": Manual(Order), **steps, "flow": [line]})


@pytest.mark.rule("deploy-moved")
@pytest.mark.parametrize("options", [{"irreversible": True}, {"compensatable": False}], ids=str)
@pytest.mark.parametrize("settled", [False, True], ids=["at once", "after a step under the new order"])
def test_what_cannot_be_undone_is_not_repeated_because_it_moved(
    open_shop: OpenShop, script: Script, options: dict[str, bool], settled: bool
) -> None:
    shop = open_shop(ordered(script, "pay", "settle", "tell", **options))
    run_id = shop.run("ordered")
    middle = ["tell"] if settled else []
    later = open_shop(ordered(script, "settle", *middle, "pay", "last", **options))
    work_through()
    assert (later.status(run_id), script.calls) == ("completed", ["pay", *middle, "last"])
