"""What the marks mean, and what the keys do."""

from __future__ import annotations

from flask import render_template

from ..access import require
from ..marks import MARKS


def show() -> str:
    """The page."""
    require("list")
    return render_template("squidmesh/help.html", marks=MARKS.values())
