"""What a process may take of what dead workers held: when it looks for it, and what it claims only alone."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection
from math import inf
from typing import Final

from ..engine.facts import StepFact
from ..storage.work_queue import Claim

LOOKS_FOR_LOST = 12
"""How often work that a dead worker held is looked for within a claim timeout."""


COMPANY_SECONDS: Final = 0.2
"""Between two looks for what waits for the other threads of a process."""


class LostWorkLooks:
    """Says when it is time to look again for what dead workers of a queue held, which is a statement.

    at_once: whether the first look is; else it is due an interval from now.
    """

    def __init__(self, claim_timeout: float, *, at_once: bool) -> None:
        self._interval = claim_timeout / LOOKS_FOR_LOST
        self._first_at = 0.0 if at_once else time.monotonic() + self._interval
        self._next_at: dict[str, float] = {}

    def is_due(self, queue: str) -> bool:
        """Whether it is; then the next look is due an interval from now. Two threads may be told so at once."""
        now = time.monotonic()
        if now < self._next_at.get(queue, self._first_at):
            return False
        self._next_at[queue] = now + self._interval
        return True

    def hurry(self, queue: str) -> None:
        """The next look is due at once: there is more."""
        self._next_at[queue] = 0.0

    def wait_for_company(self, queue: str) -> None:
        """The next look is due soon: what there is waits for other threads of this process."""
        self._next_at[queue] = min(self._next_at.get(queue, inf), time.monotonic() + COMPANY_SECONDS)


BEGINS_WITHIN_SECONDS: Final = 5.0
SEEN_LATELY_SECONDS: Final = 3.0


class SuspectIsolation:
    """Says what this process may claim, given what else it performs. An earlier attempt of the same visit counts for
    nothing, as its claim is lost.

    Whatever was at work in a process that died may have killed it. Alone, only what is guilty takes a process with it,
    and only that comes to SQUIDMESH_MAX_ABANDONED.

    patience: seconds. For so long nothing new is claimed while a suspect waits for what is at work to end, and while it
    is at work itself. What has been at work for longer counts as no company any more: so a step that takes hours keeps
    neither a suspect nor anybody else waiting.
    """

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._guard = threading.Lock()
        self._begun: dict[str, list[float]] = {}
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
            if beside or self._has_company(visit, now):
                if now - self._waited_from > 2 * self._patience:
                    self._waited_from = now
                return False
            self._alone, self._alone_until = visit.id, now + BEGINS_WITHIN_SECONDS
            self._waited_from = float("-inf")
            return True

    def withdraw(self, visit_id: str) -> None:
        """What was admitted is not claimed after all, so nobody has to wait for it to begin."""
        with self._guard:
            if self._alone == visit_id and visit_id not in self._begun:
                self._alone = None

    def enter(self, claim: Claim) -> None:
        """The claim's step begins."""
        now = time.monotonic()
        with self._guard:
            self._begun.setdefault(claim.visit.id, []).append(now)
            if claim.visit.abandoned:
                self._alone, self._alone_until = claim.visit.id, now + self._patience

    def leave(self, claim: Claim) -> None:
        """What was performed under the claim has ended."""
        with self._guard:
            begun = self._begun.pop(claim.visit.id, [])
            if len(begun) > 1:
                self._begun[claim.visit.id] = begun[1:]
            if self._alone == claim.visit.id:
                self._alone = None

    def _has_company(self, visit: StepFact, now: float) -> bool:
        # A suspect that is at work for longer may be joined by another one, which may take it along. Otherwise one that
        # hangs would keep all suspects from being tried. Neither is attempted more often than SQUIDMESH_MAX_ABANDONED
        # allows, and to have lived for so long clears nobody, as what fills the memory takes its time.
        others = (begun for id, times in self._begun.items() if id != visit.id for begun in times)
        return any(now - begun < self._patience for begun in others)

    def _is_waited_for(self, now: float) -> bool:
        return now - self._seen_at < SEEN_LATELY_SECONDS and now - self._waited_from < self._patience
