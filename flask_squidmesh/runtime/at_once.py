"""Writing a decision without a transaction around it, because it is one statement."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..engine.facts import RunFact
from ..store.batching import Batch

if TYPE_CHECKING:
    from .runtime import Runtime


def written_at_once(runtime: Runtime, run: RunFact, batch: Batch) -> bool:
    """Make the writes of a decision about the run, and commit them.

    False where the fence holds them back; then nothing is written.
    """
    runtime.turns.take(run)
    found = False
    try:
        found = runtime.database.commit(batch)
        return found
    finally:
        if not found:
            runtime.turns.forget(run)
