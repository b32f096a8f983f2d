"""A step whose last attempt ended with its process is attempted alone in its next one.

Whatever was at work in a process that died may have killed it. Alone, only what is guilty takes a process with it, and
only that comes to SQUIDMESH_MAX_ABANDONED.
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


class Solitude:
    """Says what this process may claim, given what it performs: other visits, for one of the same has lost its claim.

    patience: for how many seconds nothing new is claimed while a suspect waits for the others to end. As long after
    that it is not waited for, so that a step which takes hours holds nobody up.
    """

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._guard = threading.Lock()
        self._performed: Counter[str] = Counter()
        self._alone: str | None = None
        self._alone_until = 0.0
        self._waited_from = float("-inf")
        self._seen_at = float("-inf")

    def admits(self, visit: StepFact, beside: Collection[Claim] = ()) -> bool:
        """Whether the visit may be claimed now. beside: what is claimed together with it."""
        now = time.monotonic()
        with self._guard:
            if self._alone is not None and now < self._alone_until:
                return self._alone == visit.id
            if not visit.abandoned:
                return not self._is_waited_for(now)
            self._seen_at = now
            if self._performed.keys() - {visit.id} or beside:
                if now - self._waited_from > 2 * self._patience:
                    self._waited_from = now
                return False
            self._alone, self._alone_until = visit.id, now + BEGINS_WITHIN_SECONDS
            self._waited_from = float("-inf")
            return True

    def enter(self, claim: Claim) -> None:
        """The claim's step begins."""
        with self._guard:
            self._performed[claim.visit.id] += 1
            if claim.visit.abandoned:
                self._alone, self._alone_until = claim.visit.id, float("inf")

    def leave(self, claim: Claim) -> None:
        """What was performed under the claim has ended."""
        with self._guard:
            self._performed -= Counter([claim.visit.id])
            if self._alone == claim.visit.id:
                self._alone = None

    def _is_waited_for(self, now: float) -> bool:
        return now - self._seen_at < SEEN_LATELY_SECONDS and now - self._waited_from < self._patience
