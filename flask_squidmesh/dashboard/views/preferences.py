"""What a reader prefers, kept in cookies of their own, and what the marks and keys mean."""

from __future__ import annotations

from urllib.parse import urlsplit

from flask import redirect, request, url_for
from werkzeug.wrappers import Response

from .. import layout
from ..authorization import require
from ..layout import render
from ..text.badges import MARKS

A_YEAR = 365 * 24 * 3600


def enter() -> None:
    """Anybody may: it changes nothing but cookies of their own."""


def change(_about: None) -> Response:
    """Keep the theme or the zone of times, and go back to where the reader was."""
    response = redirect(layout.local_path(request.form.get("next")) or url_for(".inbox"), 303)
    if request.form.get("theme") in layout.THEMES:
        remember(response, layout.THEME_COOKIE, request.form["theme"])
    if request.form.get("zone") in layout.ZONES:
        remember(response, layout.ZONE_COOKIE, request.form["zone"])
    return response


def keep_live(response: Response) -> Response:
    """Remember that the reader paused refreshing, or began it again, by the link in the bar."""
    if request.args.get("live") in ("0", "1"):
        remember(response, layout.LIVE_COOKIE, request.args["live"])
    return response


def remember(response: Response, cookie: str, value: str) -> None:
    """Keep a preference for a year, on the dashboard's pages only."""
    path = urlsplit(url_for(".inbox")).path
    response.set_cookie(
        cookie, value, max_age=A_YEAR, path=path, httponly=True, samesite="Lax", secure=request.is_secure
    )


def show() -> str:
    """The page."""
    require("list")
    return render("help.html", marks=MARKS.values())
