"""What the shop sold, every working day at nine in Berlin, or whenever somebody asks for it."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from typing import Any

from pydantic import BaseModel, Field
from sqlalchemy import func, select

from flask_squidmesh import Cron, Log, Manual, Retry, Step, StepContext, Workflow, scheduled_day

from ..models import Order, db, euros
from .mailing import send_once


class Digest(BaseModel):
    """Whom to tell, and about which day."""

    channel: str = "ops"
    day: date = Field(default_factory=scheduled_day)


def deliver_digest(ctx: StepContext, channel: str, day: date) -> dict[str, Any]:
    """Count the day's orders and send the numbers."""
    begin = datetime.combine(day, time.min)
    that_day = Order.placed_at.between(begin, begin + timedelta(days=1))
    sold = select(func.count(), func.coalesce(func.sum(Order.total_cents), 0)).where(that_day)
    orders, cents = db.session.execute(sold).one()
    send_once(ctx.idempotency_key, f"{channel}@shop.test", f"{day}: {orders} orders, {euros(cents)} EUR")
    db.session.commit()
    return {"orders": orders}


class DailyDigest(Workflow):
    """Send the day's numbers to a channel."""

    subject = "Digest of {day} for {channel}"

    manual_digest = Manual(Digest)
    daily_digest = Cron("0 9 * * 1-5", Digest, timezone="Europe/Berlin", idempotency="return_existing")

    announce = Log("Digest for {day}", level="info")
    deliver = Step(deliver_digest, retry=Retry(3))

    flow = [announce >> deliver]
