"""The one place that reads the time."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple, Protocol

FRESH_SECONDS: Final = 30.0
STEP_SECONDS: Final = 0.05


class Clock(Protocol):
    """Tells the time. `offset` is how far it stands from the machine's clock, so that SQL can be shifted alike."""

    def now(self) -> datetime:
        """The time, aware, in UTC."""
        ...

    @property
    def offset(self) -> timedelta:
        """This clock minus the machine's clock."""
        ...


class SystemClock:
    """The machine's clock."""

    offset = timedelta(0)

    def now(self) -> datetime:
        """The time, aware, in UTC."""
        return datetime.now(UTC)


class SettableClock:
    """A clock that tests move: it runs on with the machine's clock, from wherever it was moved."""

    def __init__(self) -> None:
        self._offset = timedelta(0)

    @property
    def offset(self) -> timedelta:
        """How far it stands from the machine's clock."""
        return self._offset

    def now(self) -> datetime:
        """The time, aware, in UTC."""
        return datetime.now(UTC) + self._offset

    def advance(self, by: timedelta | float) -> None:
        """Move the clock forward by a timedelta or by seconds."""
        self._offset += by if isinstance(by, timedelta) else timedelta(seconds=by)

    def move_to(self, time: datetime) -> None:
        """Move the clock to this time, forward or back. Raises ValueError for a time without a zone."""
        if time.tzinfo is None:
            raise ValueError(f"The clock cannot move to {time}, which has no zone. Write datetime(..., tzinfo=UTC).")
        self._offset = time - datetime.now(UTC)


class _Comparison(NamedTuple):
    """How far the reference is ahead of the machine's clock, and how far that was ahead of a steady one then."""

    lag: timedelta
    ahead: float
    moment: float


class ReferenceClock:
    """Tells the time of a reference, the database, whatever the machine's clock says, and moved as the app's clock is.

    The two are compared now and then, see `compare`. It never runs ahead of the reference: what is due by it is due
    there too.

    source: the app's clock, whose `now()` without its `offset` is the machine's time. reach: has them compared for the
    first time, where somebody wants to know the time before anything has led to that.
    """

    def __init__(self, source: Clock, reach: Callable[[], None]) -> None:
        self.source, self._reach = source, reach
        self._compared: _Comparison | None = None
        self._reach_again = 0.0

    @property
    def offset(self) -> timedelta:
        """How far the app's clock was moved."""
        return self.source.offset

    @property
    def lag(self) -> timedelta:
        """How far the reference is ahead of the machine's clock, as of now."""
        compared = self._compared
        return timedelta(0) if compared is None else _lag(compared, self._machine())

    @property
    def is_fresh(self) -> bool:
        """Whether they were compared lately, and the machine's clock has not been set to another time since."""
        compared, steady = self._compared, time.monotonic()
        return (
            compared is not None
            and steady - compared.moment < FRESH_SECONDS
            and not _stepped(compared, self._machine(), steady)
        )

    def now(self) -> datetime:
        """The time, aware, in UTC; the machine's while the reference is out of reach."""
        if self._compared is None and time.monotonic() >= self._reach_again:
            self._reach_again = time.monotonic() + FRESH_SECONDS
            with suppress(Exception):  # whoever works with the reference meets the same fault, and tells it
                self._reach()
        shown, compared = self.source.now(), self._compared
        return shown if compared is None else shown + _lag(compared, shown - self.source.offset)

    def compare(self, ask: Callable[[], datetime | None]) -> None:
        """Compare the machine's clock with the reference.

        ask: answers what the reference shows, and None where it does not. It did so at some moment of the call, so
        the lag lies between two bounds; what was known before stays where it lies there, then no lag at all.
        """
        known, before = self.lag, self._machine()
        shown = ask()
        after, moment = self._machine(), time.monotonic()
        if shown is None or after < before:
            return
        least, most = shown - after, shown - before
        lag = next((each for each in (known, timedelta(0)) if least <= each <= most), least)
        self._compared = _Comparison(lag, after.timestamp() - moment, moment)

    def _machine(self) -> datetime:
        return self.source.now() - self.source.offset


def _lag(compared: _Comparison, machine: datetime) -> timedelta:
    """How far the reference is ahead of the machine's clock, which shows this now."""
    stepped = _stepped(compared, machine, time.monotonic())
    return compared.lag - timedelta(seconds=stepped) if stepped else compared.lag


def _stepped(compared: _Comparison, machine: datetime, steady: float) -> float:
    """How many seconds the machine's clock was set forward since then; 0 where it only runs a little fast or slow."""
    stepped = machine.timestamp() - steady - compared.ahead
    return 0.0 if -STEP_SECONDS <= stepped <= STEP_SECONDS else stepped
