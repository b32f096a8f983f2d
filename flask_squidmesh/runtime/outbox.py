"""Writing down what subscribers are to be told, with the decision that makes it true."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from ..engine.changes import Changes
from ..engine.facts import RunFact
from ..storage import outbox_entries
from ..subscriptions import Subscriptions
from .waking import WakeSignal


class Outbox:
    """Makes the entries of a decision, and wakes those of this process who deliver them."""

    def __init__(self, subscriptions: Subscriptions) -> None:
        self.subscriptions, self.wake_signal = subscriptions, WakeSignal()

    def entries(self, run: RunFact, changes: Changes, now: datetime) -> Sequence[dict[str, Any]]:
        """The entries to be written with the changes; none where nobody subscribes to what they tell."""
        if not changes.told or not self.subscriptions:
            return ()
        return outbox_entries.entry_rows(
            self.subscriptions,
            changes.told,
            run_id=run.id,
            subject=run.id,
            tenant=run.tenant,
            workflow=run.workflow,
            number=run.revision + 1,
            now=now,
        )

    def committed(self, changes: Changes) -> None:
        """After the commit: have what it tells delivered soon."""
        if changes.told and self.subscriptions:
            self.wake_signal.set()
