"""Looks for rows that cannot be: what must hold of them, what was found instead, and the mending that is safe."""

from .case import Finding
from .examination import Doctor

__all__ = ["Doctor", "Finding"]
