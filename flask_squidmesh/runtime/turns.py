"""Whose turn it is: the oldest work first, yet no run with many steps keeps all others waiting."""

from __future__ import annotations

import time
from datetime import datetime
from typing import TYPE_CHECKING

from ..store.claiming import Claim
from .claiming_work import look, look_for_lost

if TYPE_CHECKING:
    from .runtime import Runtime


LOOKS_IN_FRONT = 8
LOOKS_FOR_LOST = 12
"""Within a claim timeout."""


class Turns:
    """Looks at a queue by turns at its front and further behind.

    The steps of a fan-out are due at one moment. Every other look goes on behind what the one before it has seen, from
    moment to moment to the end of the queue and then from the front again, so that half of the work is done in that
    order, whatever stands in front. Where that finds nothing, the next looks are at the front only.

    left_some: whether there was more due at the last look than it took.
    """

    def __init__(self, runtime: Runtime, queue: str) -> None:
        self._runtime, self._queue = runtime, queue
        self._behind: datetime | None = None
        self._front_is_next = True
        self._only_front = 0
        self._looks_for_lost_at = 0.0
        self.left_some = True

    def claim(self, *, limit: int, news: bool = True) -> list[Claim]:
        """Claim due work for as many idle threads; none where nothing is due.

        news: whether there may be work that was not there at the last look.
        """
        if lost := self._from_the_dead(limit):
            return lost
        if news:
            self._only_front = 0
        goes_behind = not self._front_is_next and self._behind is not None and not self._only_front
        claims = self._from_behind(limit) if goes_behind else []
        return claims or self._from_front(limit)

    def _from_the_dead(self, limit: int) -> list[Claim]:
        """Where there was more than could be taken, what has expired may stand far behind it; a look now and then."""
        if not self.left_some or time.monotonic() < self._looks_for_lost_at:
            return []
        self._looks_for_lost_at = time.monotonic() + self._runtime.settings.claim_timeout / LOOKS_FOR_LOST
        return look_for_lost(self._runtime, self._queue, limit=limit)

    def _from_behind(self, limit: int) -> list[Claim]:
        looked = look(self._runtime, self._queue, limit=limit, after=self._behind)
        self._behind, self._front_is_next, self.left_some = looked.last, True, True
        self._only_front = 0 if looked.claims else LOOKS_IN_FRONT
        return looked.claims

    def _from_front(self, limit: int) -> list[Claim]:
        looked = look(self._runtime, self._queue, limit=limit)
        if self._behind is None or looked.last is None:
            self._behind = looked.last
        self._front_is_next, self.left_some = False, looked.left_some
        self._only_front = max(self._only_front - 1, 0)
        return looked.claims
