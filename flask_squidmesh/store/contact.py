"""Since when a process has reached the database without a gap."""

from __future__ import annotations

import time
from math import inf

from ..clock import Clock


class Contact:
    """Since when this process has reached the database without a gap.

    Only a process that did so for a whole claim timeout may take over an expired claim: after an outage nobody could
    renew, and a claim that expired meanwhile says nothing about its worker.

    longest_silence: seconds between two answers that are no gap. Claims are renewed several times within their timeout,
    so that none of the living expires in a silence that is shorter.
    """

    def __init__(self, clock: Clock, longest_silence: float = inf) -> None:
        self._clock, self._longest_silence = clock, longest_silence
        self._since: float | None = None
        self._last = 0.0
        self._refused = False

    def made(self, *, written: bool = True) -> None:
        """A transaction went through. written: whether it could write, which alone ends an outage of writing."""
        now = time.monotonic()
        if now - self._last > self._longest_silence:
            self._since = None
        self._last = now
        self._refused = self._refused and not written
        if self._since is None and not self._refused:
            self._since = self._moment()

    def lost(self) -> None:
        """The database did not answer, or could not write."""
        self._since, self._refused = None, True

    def unbroken_for(self, seconds: float) -> bool:
        """Whether contact has held for so long, with no silence of that length in it."""
        if self._since is not None and time.monotonic() - self._last > seconds:
            self._since = None
        return self._since is not None and self._moment() - self._since >= seconds

    def _moment(self) -> float:
        return time.monotonic() + self._clock.offset.total_seconds()
