"""Ids of runs as callers give them."""

from __future__ import annotations

from uuid import UUID

from ..errors import RunNotFoundError


def run_id_of(given: UUID | str) -> str:
    """The id as text in its usual form. Raises RunNotFoundError for anything that is no UUID."""
    try:
        return str(given if isinstance(given, UUID) else UUID(given))
    except (ValueError, TypeError, AttributeError):
        raise RunNotFoundError(given) from None
