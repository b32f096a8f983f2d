"""What is hidden before a value leaves the server, whichever way it leaves."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

Path = tuple[str | int, ...]


class _Redacted(str):
    """Stands for a hidden value: text in JSON, a mark on a page."""

    __slots__ = ()


REDACTED: Final = _Redacted("[redacted]")
Replace = Callable[[Path, Any], Any]


def redacted(value: Any, *, keys: Sequence[re.Pattern[str]], replace: Replace | None = None, path: Path = ()) -> Any:
    """The value without what must not be seen.

    keys: a value under a key that one of them matches is hidden whole. replace(path, value): the host's say on every
    value, called from the outside in.
    """
    if replace is not None:
        value = replace(path, value)
    match value:
        case Mapping():
            return {str(key): _member(key, item, keys, replace, path) for key, item in value.items()}
        case list() | tuple():
            return [redacted(item, keys=keys, replace=replace, path=(*path, index)) for index, item in enumerate(value)]
        case _:
            return value


def _member(key: Any, item: Any, keys: Sequence[re.Pattern[str]], replace: Replace | None, path: Path) -> Any:
    if item is not None and any(pattern.search(str(key)) for pattern in keys):
        return REDACTED
    return redacted(item, keys=keys, replace=replace, path=(*path, str(key)))
