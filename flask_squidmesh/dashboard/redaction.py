"""What is hidden before a value leaves the server, whichever way it leaves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

Path = tuple[str | int, ...]


class _Redacted(str):
    """Stands for a hidden value: text in JSON, a mark on a page."""

    __slots__ = ()


REDACTED: Final = _Redacted("[redacted]")
Replace = Callable[[Path, Any], Any]
Hides = Callable[[Path], bool]


def redacted(value: Any, *, hides: Hides, replace: Replace | None = None, path: Path = ()) -> Any:
    """The value without what must not be seen.

    hides(path): whether the value under the last key of the path is hidden whole. replace(path, value): the host's say
    on every value, called from the outside in. path: where the value stands.
    """
    if replace is not None:
        value = replace(path, value)
    match value:
        case Mapping():
            return {str(key): _member(item, hides, replace, (*path, str(key))) for key, item in value.items()}
        case list() | tuple():
            return [
                redacted(item, hides=hides, replace=replace, path=(*path, index)) for index, item in enumerate(value)
            ]
        case _:
            return value


def _member(item: Any, hides: Hides, replace: Replace | None, path: Path) -> Any:
    if item is not None and hides(path):
        return REDACTED
    return redacted(item, hides=hides, replace=replace, path=path)
