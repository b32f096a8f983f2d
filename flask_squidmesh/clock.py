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
    """A clock that tests move: it runs with the machine's clock, shifted by what `advance` added."""

    def __init__(self) -> None:
        self._offset = timedelta(0)

    @property
    def offset(self) -> timedelta:
        """What has been added so far."""
        return self._offset

    def now(self) -> datetime:
        """The time, aware, in UTC."""
        return datetime.now(UTC) + self._offset

    def advance(self, by: timedelta | float) -> None:
        """Move the clock forward by a timedelta or by seconds."""
        self._offset += by if isinstance(by, timedelta) else timedelta(seconds=by)
