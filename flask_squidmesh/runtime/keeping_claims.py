"""Keeping claims alive while their steps run, from a thread of its own."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING

from ..store import claiming

if TYPE_CHECKING:
    from .runtime import Runtime

RENEWALS_PER_TIMEOUT = 3

logger = logging.getLogger("flask_squidmesh")


class ClaimKeeper:
    """Renews every claim that this process holds, a few times within the claim timeout."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._held: set[str] = set()
        self._lost: set[str] = set()
        self._guard = threading.Lock()
        self._never = threading.Event()
        self._thread: threading.Thread | None = None
        self.on_beat: list[Callable[[], None]] = []

    def hold(self, claim_id: str) -> None:
        """Renew this claim from now on."""
        with self._guard:
            self._held.add(claim_id)
            if self._thread is None and not self._runtime.database.shared_connection:
                self._thread = threading.Thread(target=self._run, name="squidmesh-claims", daemon=True)
                self._thread.start()

    def release(self, claim_id: str) -> None:
        """The claim has ended."""
        with self._guard:
            self._held.discard(claim_id)
            self._lost.discard(claim_id)

    def is_lost(self, claim_id: str) -> bool:
        """Whether a renewal found the claim taken away."""
        return claim_id in self._lost

    def renew(self) -> None:
        """Renew all claims once."""
        with self._guard:
            held = set(self._held)
        if held:
            timeout = timedelta(seconds=self._runtime.settings.claim_timeout)
            with self._runtime.database.write() as connection:
                kept = claiming.renew(connection, self._runtime.database, held, timeout)
            with self._guard:
                self._lost |= (held - kept) & self._held
        for beat in self.on_beat:
            beat()

    def _run(self) -> None:
        interval = self._runtime.settings.claim_timeout / RENEWALS_PER_TIMEOUT
        while self._after(interval):
            try:
                with self._runtime.in_context():
                    self.renew()
            except Exception as error:  # the database is away; the next round tries again
                logger.warning("squidmesh: claims could not be renewed (%s)", type(error).__name__)

    def _after(self, interval: float) -> bool:
        """Sleep for the interval; answer whether there still is something to keep."""
        self._never.wait(interval)
        with self._guard:
            if self._held or self.on_beat:
                return True
            self._thread = None
            return False
