"""Two lines in the books that are written together with the step's completion, or not at all."""

from __future__ import annotations

from pydantic import BaseModel

from flask_squidmesh import FailStep, Manual, Step, StepContext, Workflow

from ..models import LedgerEntry, db


class LedgerCheckout(BaseModel):
    """Whose account is booked, and whether it fails half-way."""

    account_id: str
    fail_after_reserve: bool = False


def post_local_ledger_entries(ctx: StepContext, account_id: str, fail_after_reserve: bool) -> None:
    """Write both lines. No commit here: the run's own commit carries them."""
    db.session.add(LedgerEntry(run_id=ctx.run_id, account=account_id, entry="reserve"))
    db.session.flush()
    if fail_after_reserve:
        raise FailStep("asked to fail after the first line", code="ledger_failed")
    db.session.add(LedgerEntry(run_id=ctx.run_id, account=account_id, entry="capture"))


class LocalLedgerCheckout(Workflow):
    """Book in the run's own transaction."""

    subject = "Ledger of {account_id}"

    local_ledger_checkout = Manual(LedgerCheckout)

    post_entries = Step(post_local_ledger_entries, transaction=True)
