"""A step that takes its time, and looks up now and then whether it is still wanted."""

from __future__ import annotations

import time

from pydantic import BaseModel, Field
from sqlalchemy import func, select

from flask_squidmesh import Manual, Step, StepContext, Workflow

from ..models import Product, db

GLANCE_SECONDS = 1.0


class Count(BaseModel):
    """How long the count takes."""

    seconds: int = Field(default=60, gt=0)


def count_shelves(ctx: StepContext, seconds: int) -> dict[str, int]:
    """Count slowly. An operator who cancels the run ends the count within a second."""
    done = time.monotonic() + seconds
    while (left := done - time.monotonic()) > 0 and not (ctx.cancelled or ctx.lost):
        time.sleep(min(left, GLANCE_SECONDS))
    return {"pieces": int(db.session.scalar(select(func.coalesce(func.sum(Product.stock), 0))) or 0)}


class StockCount(Workflow):
    """Count what is on the shelves."""

    subject = "Stock count of {seconds} s"

    stock_count = Manual(Count)

    count = Step(count_shelves)
