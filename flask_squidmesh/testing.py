"""For a host's tests: perform what is due, move the clock, and look at what came of it."""

from __future__ import annotations

from .clock import SettableClock
from .runtime.claiming_work import claim_due
from .runtime.performing import deliver
from .runtime.runtime import Runtime, current_runtime
from .runtime.scheduling import activate_next

__all__ = ["SettableClock", "drain"]


def drain(*, limit: int = 1_000) -> int:
    """Perform everything that is due now, in this thread, until the runs are blocked; return how many deliveries.

    What waits for later is left: move the clock and drain again. limit: deliveries after which RuntimeError is
    raised, because the runs keep making work. Claims that have expired are taken over at once.
    """
    runtime = current_runtime()
    done = 0
    while _performed_one(runtime):
        done += 1
        if done > limit:
            raise RuntimeError(f"drain performed {limit} deliveries and there is more; is a workflow looping?")
    return done


def _performed_one(runtime: Runtime) -> bool:
    queue = runtime.config.queue
    for claim in claim_due(runtime, queue, limit=1, take_over=True):
        deliver(runtime, claim)
        return True
    return activate_next(runtime, queue)
