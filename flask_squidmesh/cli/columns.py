"""Rows as lines of text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any


def aligned(columns: Sequence[str], rows: Sequence[Any]) -> Iterator[str]:
    """The rows as lines of text under a heading; none when there are no rows."""
    if not rows:
        return
    cells = [columns, *([_cell(row, column) for column in columns] for row in rows)]
    widths = [max(len(row[number]) for row in cells) for number in range(len(columns))]
    for row in cells:
        yield "  ".join(f"{text:<{width}}" for text, width in zip(row, widths, strict=True)).rstrip()


def _cell(row: Any, column: str) -> str:
    value = getattr(row, column)
    if isinstance(value, datetime):
        return value.isoformat(sep=" ", timespec="minutes")
    return "–" if value is None else str(value)
