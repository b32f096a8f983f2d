"""What is wrong with a workflow's events is told when its class is created, all at once."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from pydantic import BaseModel

from flask_squidmesh import (
    CancelOn,
    ConfigurationError,
    DefinitionError,
    Escalate,
    Manual,
    OnEvent,
    Step,
    WaitForEvent,
    Workflow,
)
from flask_squidmesh.definition.workflow import Registry


class Order(BaseModel):
    order_id: str
    api_token: str = ""
    paid: bool = False


class Settlement(BaseModel):
    status: str


class Other(BaseModel):
    status: str


def ship() -> None: ...


def problems(*steps: Any, flow: Any = None, cancel_on: Any = None, **elements: Any) -> tuple[str, ...]:
    """What is wrong with the class that has these."""
    body: dict[str, Any] = {"place": Manual(Order), **elements}
    if flow is not None:
        body["flow"] = flow
    keywords = {} if cancel_on is None else {"cancel_on": cancel_on}
    try:
        type("Shipping", (Workflow,), body, **keywords)
    except DefinitionError as error:
        return tuple(error.problems)
    return ()


@pytest.mark.rule("events-declared")
@pytest.mark.parametrize(
    ("step", "problem"),
    [
        ({"name": "no name"}, "step it: 'no name' is no name of an event"),
        ({"name": ""}, "step it: '' is no name of an event"),
        ({"name": 5}, "step it: 5 is no name of an event"),
        ({"key": "p-1"}, "step it: the key 'p-1' is the same for every run"),
        ({"key": ""}, "step it: the key must be non-empty text"),
        ({"key": "{order_id!r}"}, "step it: the key holds {order_id!r}"),
        ({"key": "{order_id}{"}, "step it: the key has unmatched braces"),
        ({"key": "{api_token}"}, "step it: the key names {api_token}, which is a secret"),
        ({"key": "{nobody}"}, "step it: the key names {nobody}, but no payload field"),
        ({"model": 5}, "step it: the event's model must be a pydantic BaseModel class"),
        ({"lookback": timedelta(0)}, "step it: lookback=datetime.timedelta(0) must be a positive time"),
        ({"accept": "some"}, "step it: accept='some' is unknown"),
        ({"within": -1}, "step it: within=-1 must be a positive time"),
        ({"within": 60, "remind": 90}, "step it: reminds after 0:01:30, when its time is over"),
        ({"escalate": Escalate(after=5)}, "step it: escalates to nobody"),
        ({"output": "a b"}, "step it: output='a b' must be a plain name"),
    ],
    ids=str,
)
def test_what_is_wrong_with_a_wait(step: dict[str, Any], problem: str) -> None:
    said: dict[str, Any] = {"name": "payment.settled", "key": "{order_id}", **step}
    [found] = problems(it=WaitForEvent(said.pop("name"), **said))
    assert found.startswith(problem)


@pytest.mark.rule("events-declared")
def test_its_payload_takes_the_place_of_no_payload_field() -> None:
    [found] = problems(paid=WaitForEvent("payment.settled", key="{order_id}"))
    assert found.startswith("step paid: its payload would take the place of the payload field 'paid'")


@pytest.mark.rule("events-declared")
def test_routes_that_it_does_not_have() -> None:
    it, then = WaitForEvent("payment.settled", key="{order_id}"), Step(ship)
    found = problems(
        it=it, then=then, flow=[it >> then, it.on_error >> then, it.on_timeout >> then, it.on("yes") >> then]
    )
    assert [each.split(": ")[0] for each in found] == [
        "transition it.on_error >> then",
        "transition it.on_timeout >> then",
        'transition it.on("yes") >> then',
    ]
    assert "it has no within= that could pass" in found[1]


@pytest.mark.rule("events-declared")
def test_conditions_read_what_came_and_nothing_else() -> None:
    it, then, other = WaitForEvent("payment.settled", key="{order_id}"), Step(ship), Step(ship)
    flow = [it.when("it.status", equals="settled") >> then, it >> other]
    assert problems(it=it, then=then, other=other, flow=flow) == ()
    it, then, other = WaitForEvent("payment.settled", key="{order_id}"), Step(ship), Step(ship)
    flow = [it.when("status", equals="settled") >> then, it >> other]
    [found] = problems(it=it, then=then, other=other, flow=flow)
    assert "reads 'status', but no payload field and no earlier output" in found


@pytest.mark.rule("events-declared")
@pytest.mark.parametrize(
    ("cancel_on", "problem"),
    [
        ("order.withdrawn", "cancel_on='order.withdrawn' must be a CancelOn"),
        (CancelOn("no name", key="{order_id}"), "cancel_on: 'no name' is no name of an event"),
        (CancelOn("order.withdrawn", key="all"), "cancel_on: the key 'all' is the same for every run"),
        (CancelOn("order.withdrawn", key="{api_token}"), "cancel_on: the key names {api_token}, which is a secret"),
        (CancelOn("order.withdrawn", key="{nobody}"), "cancel_on: the key names {nobody}, and the payload of trigger"),
        (CancelOn("order.withdrawn", key="{order_id}", compensate=1), "cancel_on: compensate=1 must be True or False"),  # type: ignore[arg-type]
    ],
    ids=str,
)
def test_what_is_wrong_with_what_cancels(cancel_on: Any, problem: str) -> None:
    [found] = problems(step=Step(ship), cancel_on=cancel_on)
    assert found.startswith(problem)


@pytest.mark.rule("events-declared")
def test_what_is_wrong_with_a_trigger() -> None:
    found = problems(step=Step(ship), created=OnEvent("no name", Order), again=OnEvent("order.created", 5))  # type: ignore[arg-type]
    assert [each.split(";")[0] for each in found] == [
        "trigger created: 'no name' is no name of an event",
        "trigger again: the payload's model must be a pydantic BaseModel class with fields, found 5",
    ]


@pytest.mark.rule("events-declared")
def test_a_workflow_has_one_trigger_for_an_event() -> None:
    found = problems(step=Step(ship), one=OnEvent("order.created", Order), two=OnEvent("order.created", Order))
    assert found == (
        "trigger two: event order.created starts this workflow by trigger one already, and one event starts one run; "
        "remove one of the two",
    )


@pytest.mark.rule("events-declared")
def test_all_of_it_at_once() -> None:
    found = problems(
        it=WaitForEvent("no name", key="all", accept="some"),  # type: ignore[arg-type]
        cancel_on=CancelOn("no name", key="all"),
    )
    assert len(found) == 5


@pytest.mark.rule("events-models")
def test_an_event_has_one_model_in_a_workflow() -> None:
    it, that = (
        WaitForEvent("payment.settled", key="{order_id}", model=Settlement),
        WaitForEvent("payment.settled", key="{order_id}", model=Other),
    )
    [found] = problems(it=it, that=that, flow=[it >> that])
    assert found.startswith("step that: event payment.settled has the model Other here and Settlement in step it")


@pytest.mark.rule("events-models")
def test_an_event_has_one_model_in_the_app() -> None:
    def workflow(name: str, model: type[BaseModel] | None) -> type[Workflow]:
        it = WaitForEvent("payment.settled", key="{order_id}", model=model)
        return type(name, (Workflow,), {"place": Manual(Order), "it": it})

    registry = Registry()
    registry.register(workflow("One", Settlement), workflow("Two", Settlement), workflow("Three", None))
    with pytest.raises(ConfigurationError, match=r"Event payment\.settled has the model Other in workflow four"):
        registry.register(workflow("Four", Other))
    assert registry.event_model("payment.settled") is Settlement
    assert "four" not in registry


@pytest.mark.rule("events-declared")
def test_a_workflow_says_none_where_its_base_has_one() -> None:
    class Base(Workflow, abstract=True, cancel_on=CancelOn("order.withdrawn", key="{order_id}")):
        pass

    class Shipping(Base):
        place = Manual(Order)
        step = Step(ship)

    class Keeping(Base, cancel_on=None):
        place = Manual(Order)
        step = Step(ship)

    assert Shipping.__squidmesh__.cancel_on is not None
    assert Keeping.__squidmesh__.cancel_on is None
    assert Shipping.__squidmesh__.fingerprint != Keeping.__squidmesh__.fingerprint
