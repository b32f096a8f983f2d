"""Workers: which queues have work, who takes it, and who has fallen silent."""

from __future__ import annotations

from flask import render_template

from ...runtime.runtime import current_runtime
from .. import data
from ..access import require


def show() -> str:
    """The page."""
    require("list")
    executor = current_runtime().executor
    return render_template("squidmesh/workers.html", fleet=data.fleet_now(), command=executor.worker_command)
