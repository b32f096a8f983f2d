"""A long wait that an operator can cut short by cancelling."""

from __future__ import annotations

from datetime import timedelta

from pydantic import BaseModel

from flask_squidmesh import Log, Manual, Wait, Workflow


class Delivery(BaseModel):
    """Whose parcel is waited for. account_id: the buyer's address."""

    account_id: str


class CancellableWait(Workflow):
    """Wait for a delivery, then say that it came."""

    subject = "Delivery for {account_id}"

    cancellable_wait = Manual(Delivery)

    wait_for_cancellation = Wait(timedelta(minutes=30))
    record_delivery = Log("Delivery for {account_id} was recorded")

    flow = [wait_for_cancellation >> record_delivery]
