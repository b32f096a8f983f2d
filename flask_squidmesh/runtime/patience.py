"""Trying again what the database refuses for a time, until the claim under which it is done is known to be lost."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from math import inf
from typing import TYPE_CHECKING, TypeVar

import sqlalchemy as sa

from ..errors import SchemaError
from ..store.claiming import Claim
from ..store.outages import Refusal, judged
from ..store.writing import ClaimLostError

if TYPE_CHECKING:
    from .runtime import Runtime

FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 2.0
_PAUSE = threading.Event()
_Done = TypeVar("_Done")

logger = logging.getLogger("flask_squidmesh")


def until_lost(
    runtime: Runtime, claim: Claim, what: str, doing: Callable[[], _Done], *, whatever: bool = False
) -> _Done:
    """Do it, and again while the database refuses it for a time. Meanwhile the claim is renewed.

    What the error does not say is tried for one claim timeout. what: for the log, such as "its outcome".
    whatever: whether it is tried again even where it is refused for good, because there is nothing else to do.

    Raises what the database refuses for good, and ClaimLostError once the claim is somebody else's, or has expired
    where nobody renews it.
    """
    unclear_until: float | None = None
    holds_until = inf
    pauses = _pauses()
    reserve: AbstractContextManager[None] = nullcontext()
    while True:
        try:
            with reserve:
                return doing()
        except (sa.exc.SQLAlchemyError, SchemaError) as error:
            refusal = _judged(error)
            if refusal is Refusal.UNCLEAR and unclear_until is None:
                unclear_until = time.monotonic() + runtime.settings.claim_timeout
            unclear = unclear_until is not None and time.monotonic() < unclear_until
            lasting = refusal is Refusal.FOR_GOOD or (refusal is Refusal.UNCLEAR and not unclear)
            if lasting and not whatever:
                raise
            logger.warning(
                "squidmesh: run %s: step %s: %s has to wait for the database (%s)",
                claim.run.id,
                claim.visit.step,
                what,
                type(getattr(error, "orig", None) or error).__name__,
            )
            if holds_until == inf and not runtime.claims.renews:
                holds_until = time.monotonic() + runtime.settings.claim_timeout
            if isinstance(error, sa.exc.TimeoutError):  # somebody keeps the connections of the host's pool
                reserve = runtime.database.reserved("outcomes")
        _PAUSE.wait(next(pauses))
        if runtime.claims.is_lost(claim.claim_id) or time.monotonic() > holds_until:
            raise ClaimLostError


def _judged(error: sa.exc.SQLAlchemyError | SchemaError) -> Refusal:
    """Without our tables nothing else could be recorded either, so that has to pass."""
    return Refusal.FOR_A_TIME if isinstance(error, SchemaError) else judged(error)


def _pauses() -> Iterator[float]:
    pause = FIRST_PAUSE_SECONDS
    while True:
        yield pause
        pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
