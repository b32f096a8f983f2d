"""Workers: which queues have work, who takes it, and who has fallen silent."""

from __future__ import annotations

from dataclasses import dataclass

from ...queries.fleet import Fleet
from ...runtime.runtime import current_runtime
from .. import layout, page_data
from ..authorization import require
from ..layout import Pulse, TemplateContext, render


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkersPage(TemplateContext):
    """command: what starts a worker."""

    part: str = "squidmesh/_workers.html"
    fleet: Fleet
    command: str | None
    pulse: Pulse


def show() -> str:
    """The page."""
    require("list")
    return render("workers.html", _content(page_data.fleet_now()))


def refreshed(version: str) -> str | None:
    """The parts of the page that have changed since this version, None where nothing has."""
    require("list")
    fleet = page_data.fleet_now()
    if layout.version(fleet) == version:
        return None
    return render("_pulse_fresh.html", _content(fleet), swapped=True)


def _content(fleet: Fleet) -> WorkersPage:
    return WorkersPage(
        fleet=fleet,
        command=current_runtime().executor.worker_command,
        pulse=layout.pulse("workers", layout.version(fleet)),
    )
