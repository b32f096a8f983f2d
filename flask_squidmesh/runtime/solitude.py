"""A step whose last attempt ended with its process is attempted alone in its next one, as far as that can be had.

Whatever was at work in a process that died may have killed it: these are suspects. Of two that are never at work
together only what is guilty takes a process with it again and again, and only that comes to SQUIDMESH_MAX_ABANDONED. To
spare the others too, a suspect begins where nothing else is at work, and nothing begins beside it at first.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Collection
from typing import Final

from ..engine.facts import StepFact
from ..store.claiming import Claim

BEGINS_WITHIN_SECONDS: Final = 5.0
SEEN_LATELY_SECONDS: Final = 3.0
MOST_WAITING: Final = 1_000


class Solitude:
    """Says what this process may claim, given what it performs: other visits, for one of the same has lost its claim.

    patience: for how many seconds nothing new is claimed while a suspect waits for the others to end, and again once it
    has begun. A suspect that waited in vain begins beside them, and others beside one that takes longer, so that steps
    which take hours hold nobody up.
    """

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._guard = threading.Lock()
        self._performed: Counter[str] = Counter()
        self._suspects: set[str] = set()
        self._alone: str | None = None
        self._alone_until = 0.0
        self._waiting_since: dict[str, float] = {}
        self._others_wait_until = float("-inf")
        self._seen_at = float("-inf")

    def admits(self, visit: StepFact, beside: Collection[Claim] = ()) -> bool:
        """Whether the visit may be claimed now. beside: what is claimed together with it."""
        now = time.monotonic()
        with self._guard:
            if self._alone is not None and now < self._alone_until:
                return self._alone == visit.id
            if not visit.abandoned:
                return now - self._seen_at >= SEEN_LATELY_SECONDS or now >= self._others_wait_until
            if self._suspects - {visit.id}:
                self._waiting_since.pop(visit.id, None)
                return False
            if beside or (self._performed.keys() - {visit.id} and not self._has_waited(visit, now)):
                self._wait_for(visit, now)
                return False
            self._waiting_since.pop(visit.id, None)
            self._alone, self._alone_until = visit.id, now + BEGINS_WITHIN_SECONDS
            return True

    def enter(self, claim: Claim) -> None:
        """The claim's step begins."""
        with self._guard:
            self._performed[claim.visit.id] += 1
            if claim.visit.abandoned:
                self._suspects.add(claim.visit.id)
                self._alone, self._alone_until = claim.visit.id, time.monotonic() + self._patience

    def leave(self, claim: Claim) -> None:
        """What was performed under the claim has ended."""
        with self._guard:
            self._performed -= Counter([claim.visit.id])
            if claim.visit.id not in self._performed:
                self._suspects.discard(claim.visit.id)
            if self._alone == claim.visit.id:
                self._alone = None

    def _wait_for(self, visit: StepFact, now: float) -> None:
        """Have the others wait, for so long from when the visit began to wait."""
        if len(self._waiting_since) >= MOST_WAITING:  # most have gone to other processes
            self._waiting_since.clear()
        since = self._waiting_since.setdefault(visit.id, now)
        self._seen_at, self._others_wait_until = now, since + self._patience

    def _has_waited(self, visit: StepFact, now: float) -> bool:
        return now - self._waiting_since.get(visit.id, now) >= self._patience
