"""System: which queues have work, who takes it, and who has fallen silent."""

from __future__ import annotations

from dataclasses import dataclass

from flask import redirect, request
from werkzeug.wrappers import Response

from ...queries.fleet import Fleet
from .. import layout, page_data
from ..authorization import require
from ..endpoints import url_of
from ..layout import Pulse, TemplateContext, render


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemPage(TemplateContext):
    """command: what starts a worker."""

    part: str = "squidmesh/_system.html"
    fleet: Fleet
    command: str | None
    pulse: Pulse


def show() -> str:
    """The page."""
    require("list")
    return render("system.html", _content(page_data.fleet_now()))


def refreshed(version: str) -> str | None:
    """The parts of the page that have changed since this version, None where nothing has."""
    require("list")
    fleet = page_data.fleet_now()
    if layout.version(fleet) == version:
        return None
    return render("_pulse_fresh.html", _content(fleet), swapped=True)


def _content(fleet: Fleet) -> SystemPage:
    return SystemPage(
        fleet=fleet,
        command=layout.configured_command(),
        pulse=layout.pulse("system", layout.version(fleet)),
    )


def moved() -> Response:
    """Lead from the page's former address to the one that it has."""
    require("list")
    return redirect(url_of(".system", request.args.to_dict()), page_data.PERMANENT)
