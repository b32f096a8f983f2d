"""System: which queues have work, who takes it, and who has fallen silent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from flask import redirect, request
from markupsafe import Markup
from werkzeug.wrappers import Response

from ...queries.fleet import Fleet
from ...queries.messages import Messages, UndeliveredNotice
from .. import layout, outside_data, page_data
from ..authorization import require
from ..available_commands import Button
from ..endpoints import url_of
from ..layout import Pulse, TemplateContext, render
from ..text.notice_words import about
from . import undelivered


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemPage(TemplateContext):
    """command: what starts a worker. messages: what is told to whom. undelivered: what could not be, with what can be
    done; about: what such a notice is about."""

    part: str = "squidmesh/_system.html"
    fleet: Fleet
    messages: Messages
    undelivered: list[tuple[UndeliveredNotice, list[Button]]]
    about: Callable[[UndeliveredNotice], Markup]
    command: str | None
    pulse: Pulse


def show() -> str:
    """The page."""
    require("list")
    return render("system.html", _content(page_data.fleet_now(), outside_data.messages_now()))


def refreshed(version: str) -> str | None:
    """The parts of the page that have changed since this version, None where nothing has."""
    require("list")
    fleet, messages = page_data.fleet_now(), outside_data.messages_now()
    if _version(fleet, messages) == version:
        return None
    return render("_pulse_fresh.html", _content(fleet, messages), swapped=True)


def _content(fleet: Fleet, messages: Messages) -> SystemPage:
    return SystemPage(
        fleet=fleet,
        messages=messages,
        undelivered=[(notice, undelivered.buttons(notice)) for notice in messages.undelivered],
        about=about,
        command=layout.configured_command(),
        pulse=layout.pulse("system", _version(fleet, messages)),
    )


def _version(fleet: Fleet, messages: Messages) -> str:
    return layout.version((fleet, messages))


def moved() -> Response:
    """Lead from the page's former address to the one that it has."""
    require("list")
    return redirect(url_of(".system", request.args.to_dict()), page_data.PERMANENT)
