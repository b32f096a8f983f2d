"""Payloads that would not come back from the database as they went are refused, by field."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, StrEnum
from pathlib import PurePosixPath
from typing import Annotated, Any, Generic, Literal, TypeVar
from uuid import UUID, uuid4

import pytest
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    Json,
    PlainSerializer,
    PrivateAttr,
    RootModel,
    SecretStr,
    computed_field,
    field_serializer,
    field_validator,
    model_serializer,
    model_validator,
)

from flask_squidmesh.definition.payloads import validate
from flask_squidmesh.definition.spec import TriggerSpec
from flask_squidmesh.definition.values import ValueNotJsonError, step_output
from flask_squidmesh.errors import PayloadError

Item = TypeVar("Item")


class Color(Enum):
    RED = "red"


class Size(StrEnum):
    LARGE = "large"


class Cat(BaseModel):
    kind: Literal["cat"] = "cat"
    lives: int = 9


class Dog(BaseModel):
    kind: Literal["dog"] = "dog"
    tricks: set[str] = set()


class Box(BaseModel, Generic[Item]):
    item: Item


class Cents(BaseModel):
    amount: int

    @field_validator("amount")
    @classmethod
    def in_cents(cls, amount: int) -> int:
        return amount * 100


class Stripped(BaseModel):
    name: str

    @field_validator("name")
    @classmethod
    def strip(cls, name: str) -> str:
        return name.strip().lower()


class Rounded(BaseModel):
    amount: Decimal

    @field_serializer("amount")
    def rounded(self, amount: Decimal) -> str:
        return f"{amount:.1f}"


class German(BaseModel):
    day: date

    @field_serializer("day")
    def in_german(self, day: date) -> str:
        return f"{day:%d.%m.%Y}"


class Iso(BaseModel):
    day: date

    @field_serializer("day")
    def as_iso(self, day: date) -> str:
        return day.isoformat()


class Excluding(BaseModel):
    token: str = Field(default="none", exclude=True)


class ExcludingRequired(BaseModel):
    token: str = Field(exclude=True)


class Totalled(BaseModel):
    model_config = ConfigDict(extra="forbid")
    net: int

    @computed_field  # type: ignore[prop-decorator]
    @property
    def gross(self) -> int:
        return self.net * 2


class Holding(BaseModel):
    part: Totalled


class Parsed(BaseModel):
    settings: Json[dict[str, int]]


class Reshaped(BaseModel):
    left: int
    right: int

    @model_serializer
    def as_pair(self) -> dict[str, Any]:
        return {"pair": [self.left, self.right]}


class Counting(BaseModel):
    number: int

    @model_validator(mode="before")
    @classmethod
    def count(cls, data: dict[str, Any]) -> dict[str, Any]:
        return {**data, "number": int(data["number"]) + 1}


class Secretive(BaseModel):
    user: str
    password: SecretStr


class Revealing(BaseModel):
    password: Annotated[SecretStr, PlainSerializer(lambda secret: secret.get_secret_value())]


class Nesting(BaseModel):
    logins: list[Secretive]


class Anything(BaseModel):
    data: Any


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")
    a: int = 1


class Private(BaseModel):
    a: int = 1
    _stamp: UUID = PrivateAttr(default_factory=uuid4)


class Base(BaseModel):
    a: int = 1


class Wider(Base):
    b: int = 2


class OfBase(BaseModel):
    base: Base


class OwnEquality(Cents):
    def __eq__(self, other: object) -> bool:
        return True


class Aliased(BaseModel):
    order_id: str = Field(alias="orderId", serialization_alias="OrderID")
    day: date = Field(alias="Day")


class Rich(BaseModel):
    price: Decimal = Decimal("1.50")
    rate: float = 0.1
    at: datetime = datetime(2026, 3, 29, 2, 30, tzinfo=UTC)
    naive: datetime = datetime(2026, 3, 29, 2, 30)
    day: date = date(2026, 3, 29)
    hour: time = time(2, 30)
    span: timedelta = timedelta(days=1, microseconds=1)
    id: UUID = UUID(int=7)
    tags: frozenset[str] = frozenset({"b", "a"})
    pair: tuple[int, str] = (1, "x")
    color: Color = Color.RED
    size: Size = Size.LARGE
    path: PurePosixPath = PurePosixPath("/tmp/x")
    rows: dict[int, list[Decimal]] = {1: [Decimal("2.0")]}
    number: int | str = "5"
    pet: Annotated[Cat | Dog, Field(discriminator="kind")] = Dog(tricks={"sit", "roll"})
    box: Box[Decimal] = Box[Decimal](item=Decimal("0.10"))
    nothing: None = None
    blob: bytes = b"abc"


def stored(model: type[BaseModel], payload: Any) -> dict[str, Any]:
    return validate(TriggerSpec(name="place", kind="manual", model=model), payload)


@pytest.mark.rule("payload-reads-back")
@pytest.mark.parametrize(
    ("model", "given", "field"),
    [
        (Cents, {"amount": 500}, "amount"),
        (Cents, Cents(amount=500), "amount"),
        (Rounded, {"amount": "1.239"}, "amount"),
        (German, {"day": "2026-03-29"}, "day"),
        (Excluding, {"token": "t"}, "token"),
        (ExcludingRequired, {"token": "t"}, "token"),
        (Holding, {"part": {"net": 5}}, "part"),
        (Parsed, {"settings": '{"a": 1}'}, "settings"),
        (Reshaped, Reshaped(left=1, right=2), "left"),
        (Counting, {"number": 1}, "number"),
        (Secretive, {"user": "u", "password": "sw0rdf1sh"}, "password"),
        (Nesting, {"logins": [{"user": "u", "password": "sw0rdf1sh"}]}, "logins"),
        (Anything, {"data": Decimal("1.5")}, "data"),
        (Anything, {"data": {"on": date(2026, 3, 29)}}, "data"),
        (Anything, {"data": {1, 2}}, "data"),
        (Anything, {"data": {1: "one"}}, "data"),
        (Anything, {"data": Color.RED}, "data"),
        (Anything, {"data": Cat()}, "data"),
        (Open, Open.model_validate({"day": date(2026, 3, 29)}), "day"),
        (OfBase, OfBase(base=Wider()), "base"),
        (Base, Wider(), "b"),
        (OwnEquality, {"amount": 500}, "amount"),
        (Box[Json[int]], {"item": "5"}, "item"),
    ],
)
def test_what_does_not_come_back_as_it_went_is_refused(model: type[BaseModel], given: Any, field: str) -> None:
    with pytest.raises(PayloadError) as refusal:
        stored(model, given)
    assert {name.partition("[")[0] for name in refusal.value.invalid_types} >= {field}
    assert f"{field}" in str(refusal.value)
    assert "sw0rdf1sh" not in str(refusal.value)


@pytest.mark.rule("payload-reads-back")
@pytest.mark.parametrize(
    ("model", "given"),
    [
        (Rich, {}),
        (Rich, Rich(number=5, pet=Cat())),
        (Stripped, {"name": "  Ada "}),
        (Iso, {"day": "2026-03-29"}),
        (Excluding, {}),
        (Totalled, {"net": 5}),
        (Revealing, {"password": "sw0rdf1sh"}),
        (Anything, {"data": {"a": [1, 2.5, None, True, "x", {"deep": []}]}}),
        (Anything, {"data": (1, 2)}),
        (Anything, {"data": Size.LARGE}),
        (Open, {"a": 2, "more": [1, "x"]}),
        (Private, Private()),
        (Aliased, {"orderId": "o-1", "Day": "2026-03-29"}),
        (Box[Dog], {"item": {"tricks": ["sit"]}}),
        (RootModel[dict[str, int]], RootModel[dict[str, int]]({"a": 1})),
    ],
)
def test_what_comes_back_as_it_went_is_taken(model: type[BaseModel], given: Any) -> None:
    kept = stored(model, given)
    computed = model.model_computed_fields
    again = model.model_validate({key: value for key, value in kept.items() if key not in computed}, by_name=True)
    meant = given if isinstance(given, model) else model.model_validate(given)
    assert in_any_order(again.model_dump(mode="json")) == in_any_order(meant.model_dump(mode="json"))


def in_any_order(value: Any) -> Any:
    """JSON whose lists are sorted, as a set comes in another order when it is read again."""
    if isinstance(value, dict):
        return {key: in_any_order(each) for key, each in value.items()}
    return sorted(map(in_any_order, value), key=repr) if isinstance(value, list) else value


def test_a_class_that_cannot_compare_is_compared_by_what_is_in_it() -> None:
    class Point:
        def __init__(self, x: int) -> None:
            self.x = x

    def read(value: Any) -> Any:
        return value if isinstance(value, Point) else Point(int(value))

    class Placed(BaseModel):
        model_config = ConfigDict(arbitrary_types_allowed=True)
        at: Annotated[Point, BeforeValidator(read), PlainSerializer(lambda point: point.x)]

    class Shifting(BaseModel):
        model_config = ConfigDict(arbitrary_types_allowed=True)
        at: Annotated[Point, BeforeValidator(read), PlainSerializer(lambda point: point.x + 1)]

    assert stored(Placed, {"at": 3}) == {"at": 3}
    with pytest.raises(PayloadError):
        stored(Shifting, {"at": 3})


def test_the_innermost_place_is_named() -> None:
    class Lines(BaseModel):
        lines: list[Rounded]

    with pytest.raises(PayloadError) as refusal:
        stored(Lines, {"lines": [{"amount": "1.5"}, {"amount": "1.55"}]})
    assert refusal.value.invalid_types["lines"].startswith("[1].amount: ")


@pytest.mark.rule("output-secret")
@pytest.mark.parametrize(
    "make",
    [
        lambda: {"password": SecretStr("sw0rdf1sh")},
        lambda: Secretive(user="u", password=SecretStr("sw0rdf1sh")),
        lambda: {"logins": [Secretive(user="u", password=SecretStr("sw0rdf1sh"))]},
    ],
)
def test_a_step_cannot_return_a_secret_that_would_be_kept_as_asterisks(make: Callable[[], Any]) -> None:
    with pytest.raises(ValueNotJsonError, match=r"password.* a secret .*asterisks") as refusal:
        step_output(make())
    assert "sw0rdf1sh" not in str(refusal.value)


def test_a_step_may_return_asterisks_and_secrets_that_are_revealed() -> None:
    assert step_output({"stars": "**********"}) == {"stars": "**********"}
    assert step_output(Revealing(password=SecretStr("x"))) == {"password": "x"}
