"""How the parameters of a step come out of the state."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from decimal import Decimal
from functools import partial
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, ConfigDict, Field, computed_field

from flask_squidmesh.definition.binding import BindingError, Bound, bind, needed_by, opening_keys, parameters_of
from flask_squidmesh.definition.context import CompensationContext, StepContext
from flask_squidmesh.definition.spec import StepSpec

CONTEXT = StepContext(run_id="r", workflow="w", step="s", visit=1, attempt=1, idempotency_key="k")


class Order(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    order_id: str
    due: date = date(2026, 1, 1)
    sku: str = Field("kettle", alias="SKU")

    @computed_field  # type: ignore[prop-decorator]
    @property
    def title(self) -> str:
        return self.order_id.upper()


class Other(BaseModel):
    order_id: int


class Charge:
    def __call__(self, amount: Decimal) -> None: ...

    def method(self, amount: Decimal) -> None: ...


def plain(order_id: str, amount: Decimal = Decimal(1)) -> None: ...


def with_context(ctx: Any, moment: StepContext | None, order_id: str) -> None: ...


def with_payload(order: Order, again: Annotated[Order | None, "doc"], other: Other) -> None: ...


def with_rest(order_id: str, **rest: Any) -> None: ...


def untyped(order_id, lines=()): ...


def limited(quantity: Annotated[int, Field(gt=0)], lines: list[Order]) -> None: ...


def compensation(ctx: CompensationContext, charge: str) -> None: ...


async def later(order_id: str) -> None: ...


PAYLOAD = {"order_id": "o-1", "due": "2026-03-04", "sku": "pan", "title": "O-1"}


def call(function: Callable[..., Any], state: dict[str, Any], **options: Any) -> Bound:
    parameters = parameters_of(function, payload_models=[Order], **options)
    return bind(parameters, payload=PAYLOAD, state=state, context=CONTEXT, payload_model=Order)


def errors(function: Callable[..., Any], state: dict[str, Any], **options: Any) -> dict[str, str]:
    with pytest.raises(BindingError) as caught:
        call(function, state, **options)
    assert caught.value.error["type"] == "InputError"
    found: dict[str, str] = caught.value.error["details"]["validation_errors"]
    return found


def sources(function: Callable[..., Any], **options: Any) -> list[tuple[str, str, tuple[str, ...], bool]]:
    found = parameters_of(function, payload_models=[Order], **options)
    return [(each.name, each.source, each.path, each.required) for each in found]


@pytest.mark.rule("binding")
def test_parameters_are_found_by_name() -> None:
    assert sources(plain) == [
        ("order_id", "state", ("order_id",), True),
        ("amount", "state", ("amount",), False),
    ]


def test_the_context_goes_to_its_name_or_its_annotation() -> None:
    assert [source for _, source, _, _ in sources(with_context)] == ["context", "context", "state"]
    assert call(with_context, {"order_id": "o"}).arguments == {"ctx": CONTEXT, "moment": CONTEXT, "order_id": "o"}
    assert [each.source for each in parameters_of(compensation, compensation=True)] == ["context", "state"]


def test_the_payload_goes_to_its_model() -> None:
    assert [source for _, source, _, _ in sources(with_payload)] == ["payload", "payload", "state"]
    bound = call(with_payload, {"other": {"order_id": "7"}})
    assert bound.arguments["order"] == Order(order_id="o-1", due=date(2026, 3, 4), SKU="pan")
    assert bound.arguments["other"] == Other(order_id=7)
    assert bound.input["order"] == {"order_id": "o-1", "due": "2026-03-04", "sku": "pan"}


@pytest.mark.rule("binding")
def test_input_renames_by_path() -> None:
    renamed = {"order_id": "order.id", "amount": ("charge", "to.tal")}
    state = {"order": {"id": "o"}, "charge": {"to.tal": "2.50"}}
    bound = call(plain, state, input=renamed)
    assert bound.arguments == {"order_id": "o", "amount": Decimal("2.50")}
    assert bound.input == {"order_id": "o", "amount": "2.50"}


@pytest.mark.parametrize(
    ("function", "names"),
    [
        (partial(plain, amount=Decimal(3)), ["order_id"]),
        (partial(plain, "o-1"), ["amount"]),
        (partial(partial(plain, amount=Decimal(3)), "o-1"), []),
        (Charge(), ["amount"]),
        (Charge().method, ["amount"]),
        (lambda order_id: None, ["order_id"]),
        (later, ["order_id"]),
        (untyped, ["order_id", "lines"]),
    ],
)
def test_callables_of_every_kind(function: Callable[..., Any], names: list[str]) -> None:
    assert [each.name for each in parameters_of(function)] == names


def test_arguments_are_coerced_and_defaults_left_to_the_function() -> None:
    bound = call(plain, {"order_id": "o", "else": 1})
    assert bound.arguments == {"order_id": "o"}
    assert call(plain, {"order_id": "o", "amount": 3}).arguments["amount"] == Decimal(3)


@pytest.mark.rule("state-unchanged")
def test_a_function_cannot_change_the_state() -> None:
    state = {"order_id": {"deep": [1]}}
    bound = call(untyped, state)
    order: Any = bound.arguments["order_id"]
    order["deep"].append(2)
    assert state == {"order_id": {"deep": [1]}}
    assert bound.input == {"order_id": {"deep": [1]}}


def test_kwargs_take_the_rest() -> None:
    bound = call(with_rest, {"order_id": "o", "a": 1, "b": [2]})
    assert bound.arguments == {"order_id": "o", "a": 1, "b": [2]}
    assert bound.input == bound.arguments
    renamed = call(with_rest, {"order_id": "o", "deep": {"a": 1}}, input={"x": "deep.a"})
    assert renamed.arguments == {"order_id": "o", "x": 1, "deep": {"a": 1}}


@pytest.mark.rule("incident-not-begun")
def test_everything_missing_or_ill_typed_comes_at_once() -> None:
    found = errors(limited, {"quantity": 0, "lines": [{"order_id": 3}, "secret"]})
    assert found == {
        "quantity": "Input should be greater than 0",
        "lines": "[0].order_id: Input should be a valid string, found a number; "
        "[1]: Input should be an object, found text",
    }
    assert errors(limited, {}, input={"quantity": "order.count"}) == {
        "quantity": "required, but neither the payload nor an earlier step's output holds order.count",
        "lines": "required, but neither the payload nor an earlier step's output holds lines",
    }


@pytest.mark.rule("incident-not-begun")
def test_the_error_is_a_sentence_without_values() -> None:
    with pytest.raises(BindingError) as caught:
        call(plain, {"order_id": 4711})
    assert str(caught.value) == (
        "The step's input is not valid: order_id: Input should be a valid string, found a number"
    )
    assert caught.value.error["message"] == str(caught.value)


@pytest.mark.rule("binding-missing-path")
def test_a_path_through_something_that_is_no_mapping_is_missing() -> None:
    assert "order_id" in errors(plain, {"order": "o-1"}, input={"order_id": "order.id"})


@pytest.mark.rule("binding-only-bound")
@pytest.mark.parametrize(
    ("function", "options", "expected"),
    [
        (plain, {}, {"order_id", "amount"}),
        (plain, {"input": {"order_id": "order.id"}}, {"order", "amount"}),
        (with_context, {}, {"order_id"}),
        (with_payload, {}, {"other"}),
        (with_rest, {}, None),
        (lambda: None, {}, set()),
    ],
)
def test_only_what_is_bound_is_needed(function: Callable[..., Any], options: Any, expected: Any) -> None:
    parameters = parameters_of(function, payload_models=[Order], **options)
    assert needed_by(parameters) == expected


def test_what_asks_people_needs_the_names_in_its_texts_and_paths() -> None:
    asks = StepSpec(name="a", kind="approval", prompt="{amount} {{x}} {order_id}", within_at=("order", "due"))
    assert opening_keys(asks) == frozenset({"amount", "order_id", "order"})
    assert opening_keys(StepSpec(name="a", kind="wait", until=("ship", "on"))) == frozenset({"ship"})
    assert opening_keys(StepSpec(name="a", kind="pause")) == frozenset()
