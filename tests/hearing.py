"""Signals that were sent meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def told(*signals: Any) -> Iterator[list[dict[str, Any]]]:
    """What each of them said, in the order they were sent."""
    heard: list[dict[str, Any]] = []

    def hear(_: object, **said: Any) -> None:
        heard.append(said)

    for signal in signals:
        signal.connect(hear)
    yield heard
    for signal in signals:
        signal.disconnect(hear)
