"""A checkout whose capture is declined every time, to watch everything before it being undone."""

from __future__ import annotations

from typing import NoReturn

from flask_squidmesh import Fixed, Manual, Retry, RetryStep, Step, Workflow

from .checkout import Basket, authorise_payment, release_stock, reserve_stock, void_authorisation


def decline_capture() -> NoReturn:
    """Be declined."""
    raise RetryStep("the capture was declined", code="capture_declined")


class SagaCheckout(Workflow):
    """Reserve, authorise, fail to capture, undo both."""

    subject = "Order {order_id}, capture declined"

    saga_checkout = Manual(Basket)

    reserve_inventory = Step(reserve_stock, compensate=release_stock)
    authorise_card = Step(authorise_payment, compensate=void_authorisation)
    capture_card = Step(decline_capture, retry=Retry(2, backoff=Fixed(1)))

    flow = [reserve_inventory >> authorise_card >> capture_card]
