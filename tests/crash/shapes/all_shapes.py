"""Every shape by its name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from . import deciding, deploying, failing, going, hearing, many, starting, telling, waiting
from .shape import Shape

SHAPES: Final[Mapping[str, Shape]] = {
    shape.name: shape
    for module in (going, deciding, waiting, hearing, failing, starting, many, deploying, telling)
    for shape in module.SHAPES
}
