"""Where a page of a list ended, as text for a URL: the creation time in microseconds and the id."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

from ..errors import FilterError, given

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def cursor_of(created_at: datetime, id: str) -> str:
    """The cursor behind this run."""
    return f"{(created_at - _EPOCH) // _MICROSECOND}_{id}"


def place_of(cursor: str) -> tuple[datetime, str]:
    """The creation time and id in a cursor. Raises FilterError for text that is none."""
    try:
        microseconds, _, id = cursor.partition("_")
        return _EPOCH + int(microseconds) * _MICROSECOND, str(UUID(id))
    except (ValueError, TypeError, OverflowError, AttributeError):
        raise FilterError(
            "after",
            f"after={given(cursor)} is no cursor. Pass `next` of the page before, or leave it out for the first.",
        ) from None
