"""Keeping claims alive while their steps run, from a thread of its own."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from datetime import timedelta
from math import inf
from typing import TypeVar

import sqlalchemy as sa

from ..clock import Clock
from ..errors import SchemaError
from ..storage import work_queue
from ..storage.database import Database
from ..storage.outages import DatabaseRefusal, judged
from ..storage.work_queue import Claim, UnansweredClaim
from ..storage.write_batch import ClaimLostError
from .outcomes import type_name
from .waking import WakeSignal

RENEWALS_PER_TIMEOUT = 3
AGAIN_SECONDS = 0.5
RENEWALS = "renewals"
FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 2.0
_PAUSE = threading.Event()
_Done = TypeVar("_Done")

logger = logging.getLogger("flask_squidmesh")


class ClaimKeeper:
    """Renews every claim that this process holds, a few times within the claim timeout.

    It does so over a connection of its own, which no step can take, and after an outage once the database answers.

    timeout: seconds for which a claim holds that is not renewed. in_context: an app context of our own.
    """

    def __init__(
        self,
        *,
        database: Database,
        clock: Clock,
        wake_signal: WakeSignal,
        timeout: float,
        in_context: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._database, self._clock, self._wake_signal = database, clock, wake_signal
        self._timeout, self._in_context = timeout, in_context
        self._held: set[str] = set()
        self._lost: set[str] = set()
        self._unanswered: list[UnansweredClaim] = []
        self._guard, self._giving_back = threading.Lock(), threading.Lock()
        self._called = threading.Event()
        self._thread: threading.Thread | None = None
        self.on_beat: list[Callable[[], None]] = []

    @property
    def renews(self) -> bool:
        """Whether claims are renewed at all, which takes a connection beside that of the steps."""
        return not self._database.shared_connection

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
            held = set(self._held)
        if held:
            timeout = timedelta(seconds=self._timeout)
            with self._database.write() as connection:
                kept = work_queue.renew(connection, self._database, held, timeout)
            with self._guard:
                self._lost |= (held - kept) & self._held
        self.give_back()
        for beat in self.on_beat:
            beat()

    def give_back(self) -> None:
        """Give back what is to be let go; where the thread is at it, wait until it has."""
        with self._giving_back:
            with self._guard:
                unanswered = list(self._unanswered)
            if not unanswered:
                return
            with self._database.write() as connection:
                work_queue.put_back_unanswered(connection, unanswered, self._clock.now())
            with self._guard:
                del self._unanswered[: len(unanswered)]
        self._wake_signal.set()

    def until_lost(self, claim: Claim, what: str, doing: Callable[[], _Done], *, whatever: bool = False) -> _Done:
        """Do it, and again while the database refuses it for a time. Meanwhile the claim is renewed.

        What the error does not say is tried for one claim timeout. what: for the log, such as "its outcome".
        whatever: whether it is tried again even where it is refused for good, because there is nothing else to do.

        Raises what the database refuses for good, and ClaimLostError once the claim is somebody else's, or has expired
        where nobody renews it.
        """
        unclear_until: float | None = None
        holds_until = inf
        pause = FIRST_PAUSE_SECONDS
        starved = False
        while True:
            try:
                if not starved:
                    return doing()
                with self._database.reserved("outcomes"):
                    return doing()
            except (sa.exc.SQLAlchemyError, SchemaError) as error:
                refusal = _judged(error)
                if refusal is DatabaseRefusal.UNCLEAR and unclear_until is None:
                    unclear_until = time.monotonic() + self._timeout
                unclear = unclear_until is not None and time.monotonic() < unclear_until
                lasting = refusal is DatabaseRefusal.FOR_GOOD or (refusal is DatabaseRefusal.UNCLEAR and not unclear)
                if lasting and not whatever:
                    raise
                logger.warning(
                    "squidmesh: run %s: step %s: %s has to wait for the database (%s)",
                    claim.run.id,
                    claim.visit.step,
                    what,
                    type(getattr(error, "orig", None) or error).__name__,
                )
                if holds_until == inf and not self.renews:
                    holds_until = time.monotonic() + self._timeout
                if isinstance(error, sa.exc.TimeoutError):  # somebody keeps the connections of the host's pool
                    starved = True
            _PAUSE.wait(pause)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
            if self.is_lost(claim.claim_id) or time.monotonic() > holds_until:
                raise ClaimLostError

    def _keep(self) -> None:
        if self._thread is None and self.renews:
            self._thread = threading.Thread(target=self._run, name="squidmesh-claims", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        interval = self._timeout / RENEWALS_PER_TIMEOUT
        pause = interval
        with self._database.reserved(RENEWALS):
            while self._after(pause):
                try:
                    with self._in_context():
                        self.renew()
                    pause = interval
                except BaseException as error:  # the database is away, or the host's code raises; the thread goes on
                    pause = min(AGAIN_SECONDS, interval)
                    logger.warning("squidmesh: claims could not be renewed (%s)", type_name(error))
        self._database.let_go(RENEWALS)

    def _after(self, pause: float) -> bool:
        """Sleep for so long, or until called; answer whether there still is something to keep."""
        self._called.wait(pause)
        self._called.clear()
        with self._guard:
            if self._held or self._unanswered or self.on_beat:
                return True
            self._thread = None
            return False


def _judged(error: sa.exc.SQLAlchemyError | SchemaError) -> DatabaseRefusal:
    """Without our tables nothing else could be recorded either, so that has to pass."""
    return DatabaseRefusal.FOR_A_TIME if isinstance(error, SchemaError) else judged(error)
