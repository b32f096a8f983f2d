"""Keeping claims alive while their steps run, from a thread of its own."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import TYPE_CHECKING

from ..storage import work_queue
from ..storage.work_queue import Claim, UnansweredClaim
from .outcomes import type_name

if TYPE_CHECKING:
    from .runtime import Runtime

RENEWALS_PER_TIMEOUT = 3
AGAIN_SECONDS = 0.5
RENEWALS = "renewals"

logger = logging.getLogger("flask_squidmesh")


class ClaimKeeper:
    """Renews every claim that this process holds, a few times within the claim timeout.

    It does so over a connection of its own, which no step can take, and after an outage once the database answers.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._held: set[str] = set()
        self._lost: set[str] = set()
        self._unanswered: list[UnansweredClaim] = []
        self._guard = threading.Lock()
        self._called = threading.Event()
        self._thread: threading.Thread | None = None
        self.on_beat: list[Callable[[], None]] = []

    @property
    def renews(self) -> bool:
        """Whether claims are renewed at all, which takes a connection beside that of the steps."""
        return not self._runtime.database.shared_connection

    def hold(self, claim_id: str) -> None:
        """Renew this claim from now on."""
        with self._guard:
            self._held.add(claim_id)
            self._keep()

    def release(self, claim_id: str) -> None:
        """The claim has ended."""
        with self._guard:
            self._held.discard(claim_id)
            self._lost.discard(claim_id)

    def is_lost(self, claim_id: str) -> bool:
        """Whether a renewal found the claim taken away."""
        return claim_id in self._lost

    def let_go(self, claims: Iterable[Claim], *, performed: bool = False) -> None:
        """Have these claims given back, as far as they stand: the answer to the commit that made them was lost.

        performed: whether the step was, so that only a claim on the one that follows it is given back.
        """
        with self._guard:
            self._unanswered.extend(UnansweredClaim(claim, performed) for claim in claims)
            if self._unanswered:
                self._keep()
                self._called.set()

    def renew(self) -> None:
        """Renew all claims once, and give back what is to be let go."""
        with self._guard:
            held, unanswered = set(self._held), list(self._unanswered)
        if held:
            timeout = timedelta(seconds=self._runtime.settings.claim_timeout)
            with self._runtime.database.write() as connection:
                kept = work_queue.renew(connection, self._runtime.database, held, timeout)
            with self._guard:
                self._lost |= (held - kept) & self._held
        if unanswered:
            self._give_back(unanswered)
        for beat in self.on_beat:
            beat()

    def _give_back(self, unanswered: list[UnansweredClaim]) -> None:
        with self._runtime.database.write() as connection:
            work_queue.put_back_unanswered(connection, unanswered, self._runtime.clock.now())
        with self._guard:
            del self._unanswered[: len(unanswered)]
        self._runtime.bell.ring()

    def _keep(self) -> None:
        if self._thread is None and self.renews:
            self._thread = threading.Thread(target=self._run, name="squidmesh-claims", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        interval = self._runtime.settings.claim_timeout / RENEWALS_PER_TIMEOUT
        pause = interval
        with self._runtime.database.reserved(RENEWALS):
            while self._after(pause):
                try:
                    with self._runtime.in_context():
                        self.renew()
                    pause = interval
                except BaseException as error:  # the database is away, or the host's code raises; the thread goes on
                    pause = min(AGAIN_SECONDS, interval)
                    logger.warning("squidmesh: claims could not be renewed (%s)", type_name(error))
        self._runtime.database.let_go(RENEWALS)

    def _after(self, pause: float) -> bool:
        """Sleep for so long, or until called; answer whether there still is something to keep."""
        self._called.wait(pause)
        self._called.clear()
        with self._guard:
            if self._held or self._unanswered or self.on_beat:
                return True
            self._thread = None
            return False
