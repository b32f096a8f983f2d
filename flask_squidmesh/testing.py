"""For a host's tests: perform what is due, move the clock, and look at what came of it."""

from __future__ import annotations

from .clock import SettableClock
from .runtime.claiming_work import claim_due
from .runtime.performing import deliver
from .runtime.runtime import current_runtime

__all__ = ["SettableClock", "drain"]


def drain(*, limit: int = 1_000) -> int:
    """Perform everything that is due now, in this thread, until the runs are blocked; return how many deliveries.

    What waits for later is left: move the clock and drain again. limit: deliveries after which RuntimeError is
    raised, because the runs keep making work. Claims that have expired are taken over at once.
    """
    runtime = current_runtime()
    done = 0
    while claims := claim_due(runtime, runtime.config.queue, limit=10, take_over=True):
        for claim in claims:
            done += 1
            if done > limit:
                raise RuntimeError(f"drain performed {limit} deliveries and there is more; is a workflow looping?")
            deliver(runtime, claim)
    return done
