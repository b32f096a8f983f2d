"""Paths into the state, such as "account.tier"."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from .spec import Path

MISSING: Final = object()


def parse(path: Any) -> Path | None:
    """A path from its text or its parts; None for anything that is not one."""
    parts = tuple(path.split(".")) if isinstance(path, str) else path
    if not isinstance(parts, (tuple, list)) or not parts:
        return None
    return tuple(parts) if all(isinstance(part, str) and part.strip() for part in parts) else None


def lookup(state: Mapping[str, Any], path: Path) -> Any:
    """The value at the path, or MISSING."""
    value: Any = state
    for part in path:
        if not isinstance(value, Mapping) or part not in value:
            return MISSING
        value = value[part]
    return value
