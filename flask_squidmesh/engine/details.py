"""Facts with names: typed for whoever writes and reads them here, a mapping for whoever reads them from outside."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar


@dataclass(frozen=True, kw_only=True, eq=False)
class Details(Mapping[str, Any]):
    """Base of frozen dataclasses that are mappings of their fields too, but for those that are None.

    STAYING: the fields that are in the mapping even where they are None. Tuples are lists there.
    """

    STAYING: ClassVar[frozenset[str]] = frozenset()

    def __getitem__(self, name: str) -> Any:
        if name not in self._said():
            raise KeyError(name)
        value = getattr(self, name)
        return list(value) if isinstance(value, tuple) else value

    def __iter__(self) -> Iterator[str]:
        return iter(self._said())

    def __len__(self) -> int:
        return len(self._said())

    def _said(self) -> list[str]:
        names = (each.name for each in fields(self))
        return [name for name in names if name in self.STAYING or getattr(self, name) is not None]


def as_data(value: Any) -> Any:
    """Details as plain dictionaries, whatever holds them."""
    if isinstance(value, Mapping):
        return {name: as_data(item) for name, item in value.items()}
    return [as_data(item) for item in value] if isinstance(value, (list, tuple)) else value
