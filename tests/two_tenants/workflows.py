"""What a tenant's runs do: everything that they say has the tenant's own word in it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from pydantic import BaseModel

from flask_squidmesh import (
    Approval,
    Cron,
    Exponential,
    FailStep,
    Manual,
    Pause,
    Retry,
    RetryStep,
    Step,
    StepContext,
    Wait,
    WaitForEvent,
    Workflow,
)


class Order(BaseModel):
    number: str
    customer: str
    amount: int = 120


def reserve(number: str, customer: str) -> dict[str, Any]:
    return {"reservation": f"r-{number} for {customer}"}


def release(reservation: str) -> None:
    raise FailStep(f"The depot cannot find {reservation}.")


def pay(number: str, customer: str) -> dict[str, Any]:
    return {"receipt": f"p-{number} from {customer}"}


def answer_no(number: str, customer: str) -> dict[str, Any]:
    return {"letter": f"no-{number} to {customer}"}


def deliver(customer: str) -> None:
    raise ValueError(f"The carrier knows no address of {customer}.")


def call_again(customer: str) -> None:
    raise RetryStep(f"The line of {customer} is busy.", after=600)


def bundle(ctx: StepContext, number: str, customer: str) -> dict[str, Any]:
    return {"parcel": ctx.start_child(Parcel, {"number": f"{number}-1", "customer": customer}, key="parcel")}


class Invoice(Workflow):
    """Pay what has been approved."""

    subject = "Invoice {number} of {customer}"
    submit = Manual(Order)
    reserve = Step(reserve)
    review = Approval("Pay {amount} EUR to {customer}?", within=timedelta(hours=4))
    pay = Step(pay)
    refuse = Step(answer_no)
    flow = [reserve >> review >> pay, review.on_reject >> refuse]


class Parcel(Workflow):
    """Hold a parcel until somebody has looked at it."""

    subject = "Parcel {number} of {customer}"
    pack = Manual(Order)
    look = Pause("Is the parcel of {customer} sealed?")


class Delivery(Workflow):
    """Hand a parcel over, which fails."""

    subject = "Delivery {number} to {customer}"
    send = Manual(Order)
    deliver = Step(deliver, retry=Retry(1))


class Return(Workflow):
    """Fail, and fail to undo what was done."""

    subject = "Return {number} of {customer}"
    take_back = Manual(Order)
    reserve = Step(reserve, compensate=release)
    deliver = Step(deliver, retry=Retry(1))
    flow = [reserve >> deliver]


class Transfer(Workflow):
    """Begin what cannot be undone and break off."""

    subject = "Transfer {number} to {customer}"
    order = Manual(Order)
    transfer = Step(deliver, irreversible=True)


class Call(Workflow):
    """Try for ever."""

    subject = "Call {customer} about {number}"
    ring = Manual(Order)
    call = Step(call_again, retry=Retry(5, backoff=Exponential(1, 30)))


class Reminder(Workflow):
    """Wait for two days."""

    subject = "Reminder {number} for {customer}"
    remind = Manual(Order)
    patience = Wait(timedelta(days=2))


class Payment(Workflow):
    """Wait for money."""

    subject = "Payment {number} of {customer}"
    ask = Manual(Order)
    paid = WaitForEvent("payment.settled", key="{number}")


class Bundle(Workflow):
    """Start a parcel."""

    subject = "Bundle {number} of {customer}"
    tie = Manual(Order)
    tie_up = Step(bundle)


class Nightly(Workflow):
    """What the host does for itself; no tenant is told of it."""

    subject = "Closing of the house"
    nightly = Cron("0 3 * * *", timezone="UTC")
    rest = Wait(1)


WORKFLOWS = (Invoice, Parcel, Delivery, Return, Transfer, Call, Reminder, Payment, Bundle, Nightly)
