"""The one place that reads the time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Protocol


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
