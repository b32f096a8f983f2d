"""Payloads: defaults, coercion, and everything wrong at once."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated, Any

import pytest
from pydantic import (
    AliasChoices,
    AliasPath,
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    computed_field,
    field_serializer,
    field_validator,
    model_validator,
)

from flask_squidmesh.definition.payloads import scheduled_day, validate
from flask_squidmesh.definition.spec import TriggerSpec
from flask_squidmesh.definition.values import ValueNotJsonError, step_output
from flask_squidmesh.errors import PayloadError


class Address(BaseModel):
    street: str
    city: str = "Bonn"


class Order(BaseModel):
    order_id: str
    sku: str
    quantity: int = 1
    amount: Decimal = Decimal("9.90")
    address: Address | None = None

    @computed_field  # type: ignore[prop-decorator]
    @property
    def total(self) -> Decimal:
        return self.amount * self.quantity


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")
    a: int = 1


class Closed(BaseModel):
    model_config = ConfigDict(extra="forbid")
    a: int = 1


class Ignoring(BaseModel):
    model_config = ConfigDict(extra="ignore")
    a: int = 1


class Aliased(BaseModel):
    order_id: str = Field(alias="orderId")
    sku: str = Field(validation_alias=AliasChoices("SKU", AliasPath("item", "sku")))


class Dated(BaseModel):
    day: date = Field(default_factory=scheduled_day)


class Checked(BaseModel):
    rate: float = 0.5
    first: int = 0
    last: int = 1

    @field_validator("rate")
    @classmethod
    def _low(cls, rate: float) -> float:
        if rate > 1 and rate != float("inf"):
            raise ValueError("the rate must not be over 1")
        return rate

    @model_validator(mode="after")
    def _ordered(self) -> Checked:
        if self.first > self.last:
            raise ValueError("first comes before last")
        return self


def trigger(model: type[BaseModel] | None = None, **more: Any) -> TriggerSpec:
    return TriggerSpec(**{"name": "place", "kind": "manual", "model": model, **more})


def refused(model: type[BaseModel] | None, payload: Any) -> PayloadError:
    with pytest.raises(PayloadError) as caught:
        validate(trigger(model), payload)
    return caught.value


FULL = {"order_id": "o-1", "sku": "kettle", "quantity": 2, "amount": "9.90", "address": None, "total": "19.80"}


@pytest.mark.rule("payload-defaults", "payload-coerced")
@pytest.mark.parametrize(
    "payload",
    [
        {"order_id": "o-1", "sku": "kettle", "quantity": 2},
        {"order_id": "o-1", "sku": "kettle", "quantity": "2"},
        Order(order_id="o-1", sku="kettle", quantity=2),
    ],
)
def test_a_payload_is_resolved(payload: Any) -> None:
    assert validate(trigger(Order), payload) == FULL


@pytest.mark.rule("payload-defaults")
def test_a_given_null_is_no_missing_field() -> None:
    class Loose(BaseModel):
        note: str | None = "none given"
        amount: int = 1

    assert validate(trigger(Loose), {"note": None}) == {"note": None, "amount": 1}
    assert list(refused(Loose, {"amount": None}).invalid_types) == ["amount"]


@pytest.mark.parametrize("payload", [None, {}])
def test_no_model_takes_nothing(payload: Any) -> None:
    assert validate(trigger(), payload) == {}


def test_no_payload_is_an_empty_one() -> None:
    assert validate(trigger(Open), None) == {"a": 1}


@pytest.mark.rule("payload-faults-together")
def test_everything_wrong_comes_at_once() -> None:
    error = refused(Order, {"quantity": "many", "zeal": 1, "amount": [], "colour": "red"})
    assert error.missing_fields == ["order_id", "sku"]
    assert error.unknown_fields == ["colour", "zeal"]
    assert error.invalid_types == {
        "quantity": "Input should be a valid integer, unable to parse string as an integer, found text",
        "amount": "Decimal input should be an integer, float, string or Decimal object, found a list",
    }
    assert str(error) == (
        "The payload does not fit trigger place, which takes order_id, sku, quantity, amount, address: "
        "missing order_id, sku; unknown colour, zeal; "
        "quantity: Input should be a valid integer, unable to parse string as an integer, found text; "
        "amount: Decimal input should be an integer, float, string or Decimal object, found a list."
    )


@pytest.mark.rule("payload-values-unrepeated")
def test_values_are_never_repeated() -> None:
    error = refused(Order, {"order_id": 4711, "sku": ["hunter2"], "quantity": "hunter2", "address": "hunter2"})
    assert "hunter2" not in str(error)
    assert "4711" not in str(error)


@pytest.mark.rule("payload-nested-faults")
@pytest.mark.parametrize(
    ("model", "payload", "unknown"),
    [
        (None, {"b": 1, "a": 2}, ["a", "b"]),
        (Order, {"order_id": "o", "sku": "s", "b": 1}, ["b"]),
        (Order, {"order_id": "o", "sku": "s", 3: 1}, ["3"]),
        (Order, {"order_id": "o", "sku": "s", "address": {"street": "x", "zip": 1}}, ["address.zip"]),
        (Closed, {"b": 1}, ["b"]),
        (Open, {4: 1}, ["4"]),
    ],
)
def test_unknown_fields_are_refused(model: type[BaseModel] | None, payload: Any, unknown: list[str]) -> None:
    error = refused(model, payload)
    assert error.unknown_fields == unknown
    assert error.missing_fields == []
    assert error.invalid_types == {}


@pytest.mark.rule("payload-extras")
def test_a_model_may_say_what_happens_to_extras() -> None:
    assert validate(trigger(Open), {"b": 2}) == {"a": 1, "b": 2}
    assert validate(trigger(Ignoring), {"b": 2}) == {"a": 1}


@pytest.mark.rule("payload-nested-faults")
def test_nested_faults_are_named_within_their_field() -> None:
    error = refused(Order, {"order_id": "o", "sku": "s", "address": {"city": 5}})
    assert error.missing_fields == []
    assert error.invalid_types == {
        "address": "street: Field required; city: Input should be a valid string, found a number"
    }


@pytest.mark.rule("payload-mapping")
@pytest.mark.parametrize("payload", [[], "text", 3])
def test_a_payload_must_be_a_mapping(payload: Any) -> None:
    assert refused(Order, payload).invalid_types == {"payload": "must be a mapping or an instance of Order"}
    assert refused(None, payload).invalid_types == {"payload": "must be empty"}


@pytest.mark.rule("payload-aliases")
@pytest.mark.parametrize(
    "payload",
    [{"orderId": "o", "SKU": "s"}, {"order_id": "o", "sku": "s"}, {"orderId": "o", "item": {"sku": "s"}}],
)
def test_aliases_and_names_are_both_accepted_and_names_are_kept(payload: Any) -> None:
    assert validate(trigger(Aliased), payload) == {"order_id": "o", "sku": "s"}


def test_faults_of_aliased_fields_carry_their_names() -> None:
    error = refused(Aliased, {"orderId": 3})
    assert list(error.invalid_types) == ["order_id"]
    assert error.missing_fields == ["sku"]


def test_what_the_model_itself_refuses_is_told_in_its_words() -> None:
    assert refused(Checked, {"rate": 2}).invalid_types == {"rate": "Value error, the rate must not be over 1"}
    assert refused(Checked, {"first": 3}).invalid_types == {"payload": "Value error, first comes before last"}


class Untyped(BaseModel):
    a: Any = None
    more: list[Any] = []
    cut: Any = None
    noted: Annotated[Any, PlainSerializer(lambda _value: None)] = None

    @field_serializer("cut")
    def none_for_all(self, _value: Any) -> None: ...


@pytest.mark.parametrize(
    ("given", "field", "where"),
    [({"a": math.nan}, "a", ""), ({"a": {"b": [math.inf]}}, "a", "b[0]: "), ({"more": [1, math.nan]}, "more", "[1]: ")],
)
def test_a_number_that_would_be_kept_as_null_is_refused_with_its_field(
    given: dict[str, Any], field: str, where: str
) -> None:
    told = {field: f"{where}a number must be finite, found NaN or an infinity"}
    assert refused(Untyped, given).invalid_types == told
    assert refused(Untyped, Untyped(**given)).invalid_types == told
    with pytest.raises(ValueNotJsonError, match="must be finite"):
        step_output(Untyped(**given))
    assert step_output(Untyped(cut=math.nan, noted=math.nan)) == {"a": None, "more": [], "cut": None, "noted": None}


def test_what_json_cannot_hold_is_refused() -> None:
    assert refused(Checked, {"rate": float("inf")}).invalid_types == {
        "rate": "a number must be finite, found NaN or an infinity"
    }
    assert refused(Open, {"b": [1, float("nan")]}).invalid_types == {
        "b": "[1]: a number must be finite, found NaN or an infinity"
    }
    assert refused(Open, {"b": [object()]}).invalid_types == {
        "b": "[0]: a object is not JSON; return text, numbers, lists, mappings, pydantic models or dataclasses of them"
    }


def test_an_instance_of_another_model_is_read_as_a_mapping() -> None:
    assert validate(trigger(Ignoring), Open(a=5)) == {"a": 5}


CRON = trigger(Dated, kind="cron", expression="0 0 * * *", timezone="Europe/Berlin")
LATE = datetime(2026, 3, 1, 23, 30, tzinfo=UTC)


@pytest.mark.rule("cron-payload")
@pytest.mark.parametrize(
    ("spec", "times", "day"),
    [
        (CRON, {"window": LATE}, "2026-03-02"),
        (CRON, {"now": LATE}, "2026-03-02"),
        (CRON, {"window": LATE, "now": datetime(2030, 1, 1, tzinfo=UTC)}, "2026-03-02"),
        (trigger(Dated), {"now": LATE}, "2026-03-01"),
        (replace(CRON, timezone="America/New_York"), {"window": LATE}, "2026-03-01"),
    ],
)
def test_the_scheduled_day_is_the_windows_in_the_triggers_zone(spec: TriggerSpec, times: Any, day: str) -> None:
    assert validate(spec, None, **times) == {"day": day}


@pytest.mark.rule("payload-defaults")
def test_the_scheduled_day_is_today_outside_of_a_start() -> None:
    before, found, after = datetime.now(UTC).date(), scheduled_day(), datetime.now(UTC).date()
    assert before <= found <= after
