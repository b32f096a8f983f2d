"""What a start and a first claim cost, in commits and statements."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial

import pytest

from flask_squidmesh import Manual, Step, WaitForEvent, Workflow
from flask_squidmesh.testing import drain
from tests.shop import Order, Recording, Script, Shop

OpenShop = Callable[..., Shop]

BEGIN_OF_SQLITE = 1


class Costs:
    """A shop that has run once, so that nothing is done for the first time."""

    def __init__(
        self, open_shop: OpenShop, script: Script, *others: type[Workflow], executor: object = "database"
    ) -> None:
        class Single(Workflow):
            place = Manual(Order)
            work = Step(script.does("work"))

        self.workflow = Single
        self.shop = open_shop(Single, *others, executor=executor)
        self.shop.start(Single)
        self.shop.relay()
        drain()
        self.sqlite = self.shop.runtime.database.dialect == "sqlite"

    def of(self, call: Callable[[], object]) -> Counter[str]:
        with self.shop.counted() as counts:
            call()
        counts["statements"] -= BEGIN_OF_SQLITE * counts["commits"] if self.sqlite else 0
        return counts


@pytest.fixture
def costs(open_shop: OpenShop, script: Script) -> Costs:
    return Costs(open_shop, script)


@pytest.mark.rule("budget-commits")
def test_a_start_is_one_commit_of_few_statements(costs: Costs) -> None:
    of_start = costs.of(lambda: costs.shop.mesh.start_run(costs.workflow, {}))
    run, step_run, dispatch = 1, 1, 1
    assert of_start == {"commits": 1, "statements": run + step_run + dispatch if costs.sqlite else 1}


@pytest.mark.rule("budget-commits")
def test_a_start_with_a_key_is_one_commit_too(costs: Costs) -> None:
    of_start = costs.of(lambda: costs.shop.mesh.start_run(costs.workflow, {}, idempotency_key="k-1"))
    key, run, step_run, dispatch = 1, 1, 1, 1
    assert of_start == {"commits": 1, "statements": key + run + step_run + dispatch if costs.sqlite else 1}


@pytest.mark.rule("budget-commits")
def test_a_first_claim_is_one_commit_of_few_statements(costs: Costs) -> None:
    costs.shop.start(costs.workflow)
    of_claim = costs.of(lambda: costs.shop.claim_due())
    look, dispatch, step_run, run = 1, 1, 1, 1
    taking = dispatch + step_run + run if costs.sqlite else 1
    assert of_claim == {"commits": 1, "statements": look + taking}


@pytest.mark.rule("budget-commits")
def test_an_event_that_one_run_waits_for_is_three_commits(open_shop: OpenShop, script: Script) -> None:
    class Hearing(Workflow):
        place = Manual(Order)
        paid = WaitForEvent("paid", key="{order_id}")
        work = Step(script.does("work"))
        flow = [paid >> work]

    costs = Costs(open_shop, script, Hearing)
    for number in ("1", "2"):
        costs.shop.start(Hearing, {"order_id": number})
        of_event = costs.of(partial(costs.shop.mesh.send_event, "paid", key=number))
    keep, find = 2, 3
    read, take, forget = 5, 1, 2
    write = 9 if costs.sqlite else 1
    assert of_event == {"commits": 3, "statements": keep + find + read + take + write + forget}


@pytest.mark.rule("relay-queue-progress")
def test_noting_how_far_the_queue_has_come_adds_no_commit_and_little_in_a_few_seconds(costs: Costs) -> None:
    def of_claim() -> Counter[str]:
        costs.shop.start(costs.workflow)
        return costs.of(lambda: costs.shop.claim_due())

    usual = of_claim()
    costs.shop.clock.advance(6)
    look_again_to_take_more_than_the_claim, note = 0 if costs.sqlite else 1, 1
    assert of_claim() == usual + Counter(statements=look_again_to_take_more_than_the_claim + note)
    assert of_claim() == usual


@pytest.mark.rule("budget-joins")
@pytest.mark.parametrize("width", [2, 20])
def test_a_step_before_a_join_is_one_commit_of_three_statements(
    open_shop: OpenShop, script: Script, width: int
) -> None:
    parts = {f"part_{number}": Step(script.does(f"part_{number}"), after=[]) for number in range(width)}
    join = Step(script.does("join"), after=list(parts.values()))
    workflow = type("Joining", (Workflow,), {"place": Manual(Order), **parts, "join": join})
    costs = Costs(open_shop, script, workflow)
    shop = costs.shop
    run_id = shop.start(workflow)
    claims = shop.claim_due(limit=width)
    for claim in claims[:-1]:
        run, joins, written = 1, 1, 1 if not costs.sqlite else 5
        assert costs.of(partial(shop.runtime.deliverer.deliver, claim)) == {
            "commits": 1,
            "statements": run + joins + written,
        }
    shop.perform(claims[-1])
    drain()
    assert shop.status(run_id) == "completed"


def test_looking_for_work_in_vain_is_one_statement(costs: Costs) -> None:
    of_look = costs.of(lambda: costs.shop.claim_due())
    assert of_look == Counter({"commits": 1, "statements": 1} if costs.sqlite else {"statements": 1})


def test_a_hand_over_to_a_queue_of_the_hosts_adds_no_commit(open_shop: OpenShop, script: Script) -> None:
    costs = Costs(open_shop, script, executor=Recording())
    of_start = costs.of(lambda: costs.shop.start(costs.workflow))
    assert of_start["commits"] == 1


@pytest.mark.rule("relay-bounded")
def test_a_round_of_the_relay_does_not_grow_with_the_queue(costs: Costs) -> None:
    def of_round_with(more: int) -> Counter[str]:
        for _ in range(more):
            costs.shop.start(costs.workflow)
        costs.shop.clock.advance(70)
        [claim] = costs.shop.claim_due()
        costs.shop.perform(claim)
        return costs.of(lambda: costs.shop.relay())

    assert of_round_with(3) == of_round_with(30)
