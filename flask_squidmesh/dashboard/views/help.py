"""What the marks mean, and what the keys do."""

from __future__ import annotations

from ..access import require
from ..marks import MARKS
from ..rendering import render


def show() -> str:
    """The page."""
    require("list")
    return render("help.html", marks=MARKS.values())
