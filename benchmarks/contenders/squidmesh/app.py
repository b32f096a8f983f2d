"""A small Flask app and the workflows that are measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, Final

from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from pydantic import BaseModel

from flask_squidmesh import Manual, SquidMesh, Step, WaitForEvent, Workflow
from flask_squidmesh.runtime.runtime import Runtime

FURTHER_CONNECTIONS: Final = 3
PAID: Final = "order.paid"

mesh = SquidMesh()
began: list[Callable[[], None]] = []


def make_app(url: str, threads: int) -> Flask:
    """The app.

    :param url: Of its database, as libpq has it or `sqlite:///FILE`.
    :param threads: How many connections may be busy at once.
    """
    app = Flask("benchmark")
    app.config["SQLALCHEMY_DATABASE_URI"] = url.replace("postgresql://", "postgresql+psycopg://", 1)
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = {"pool_size": threads + FURTHER_CONNECTIONS}
    app.config["SQUIDMESH_EXECUTOR"] = "database"
    SQLAlchemy(app)
    mesh.init_app(app)
    return app


def runtime_of(app: Flask) -> Runtime:
    """What belongs to the app."""
    runtime: Runtime = app.extensions["squidmesh"]
    return runtime


def nothing() -> None:
    """A step that costs nothing itself."""


def tell() -> None:
    """A step that says when it began."""
    for listener in began:
        listener()


def workflow(name: str, **parts: Any) -> type[Workflow]:
    """A registered workflow of these steps, with a trigger that takes no payload unless `started` is another."""
    return mesh.register(type(name, (Workflow,), {"__module__": __name__, "started": Manual(), **parts}))


def _chain(name: str, length: int) -> type[Workflow]:
    steps = [Step(nothing) for _ in range(length)]
    if length == 1:
        return workflow(name, step_1=steps[0])
    return workflow(name, **{f"step_{number}": step for number, step in enumerate(steps, 1)}, flow=[in_a_row(steps)])


def in_a_row(steps: Sequence[Step]) -> Any:
    """The steps one after the other, as `flow` has them."""
    route: Any = steps[0]
    for step in steps[1:]:
        route = route >> step
    return route


One = _chain("One", 1)
Ten = _chain("Ten", 10)
Telling = workflow("Telling", step_1=Step(tell))


class Order(BaseModel):
    """What an order brings."""

    order_id: str = "none"


_charge, _ship = Step(tell), Step(tell)
_paid = WaitForEvent(PAID, key="{order_id}", within=timedelta(minutes=10))
Ordering = workflow(
    "Ordering", started=Manual(Order), charge=_charge, paid=_paid, ship=_ship, flow=[_charge >> _paid >> _ship]
)
