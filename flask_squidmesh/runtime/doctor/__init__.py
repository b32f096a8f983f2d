"""Looks for rows that cannot be: what must hold of them, what was found instead, and the mending that is safe."""

from .examining import examine
from .findings import Finding
from .repairing import repair

__all__ = ["Finding", "examine", "repair"]
