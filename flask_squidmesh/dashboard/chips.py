"""Counts that are filters."""

from __future__ import annotations

from dataclasses import dataclass

from ..reading.views import Count
from .marks import Mark


@dataclass(frozen=True, slots=True)
class Chip:
    """One count with its address. mark: None for all."""

    mark: Mark | None
    count: Count | None
    address: str
    current: bool
