"""Where a redirect, most often to the host's log-in, leads a browser that asked in the background or sent a form."""

from __future__ import annotations

from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit, urlunsplit

from flask import current_app, request, url_for
from htmx_flask.requests import HtmxHeaders
from werkzeug.wrappers import Response

from .layout import local_path, render
from .text.language import _

NO_PAGES = (".pulse", ".preferences", ".bulk_go_on")
OF_OURS = (303, 308)


def lead(response: Response) -> Response:
    """Have the browser go there as a whole, and come back to a page and not to what it asked for in the background.

    htmx would follow a redirect by itself and swap in what it finds. The policy of our pages lets no form end on
    another origin, not by a redirect either, so that a form whose session has ended gets a page that leads on.
    """
    if not response.location:
        return response
    target = _with_way_back(response.location) if (request.endpoint or "").endswith(NO_PAGES) else response.location
    if HtmxHeaders(request.headers):
        del response.headers["Location"]
        response.headers["HX-Redirect"] = target
        response.status_code = 200
        response.set_data(b"")
    elif request.method == "POST" and _may_leave(response):
        page = render("moved.html", heading=_("Sign in again"), target=target)
        response = _like(response, current_app.make_response((page, 401)))
    else:
        response.location = target
    return response


def _with_way_back(target: str) -> str:
    """The target with the page in place of what it says to come back to.

    Where it says nothing of it, a poll leads to the page itself, from where the host leads on to its log-in.
    """
    parts, page = urlsplit(target), _page()
    given = parse_qsl(parts.query, keep_blank_values=True)
    back = [(name, _moved(value, page)) for name, value in given]
    if back == given:
        return page if request.method == "GET" else target
    return urlunsplit(parts._replace(query=urlencode(back)))


def _moved(address: str, page: str) -> str:
    """The address with the page in place of what was asked for; any other as it is."""
    parts, there = _split(address), urlsplit(page)
    return urlunsplit(parts._replace(path=there.path, query=there.query)) if parts.path == _here() else address


def _here() -> str:
    return request.script_root + request.path


def _page() -> str:
    """The page of this site that asked."""
    for told in (request.headers.get("HX-Current-URL"), request.referrer):
        parts = _split(told or "")
        path = local_path(urlunsplit(("", "", parts.path, parts.query, "")))
        if path and parts.netloc in ("", request.host) and parts.path != _here():
            return path
    return url_for(".inbox")


def _split(address: str) -> SplitResult:
    """The parts of an address that somebody else has written; none of what is no address."""
    try:
        return urlsplit(address)
    except ValueError:
        return urlsplit("")


def _may_leave(response: Response) -> bool:
    """Whether a form that is sent without a script might end on another origin; ours lead by a 303 or a 308."""
    target = urlsplit(response.location or "")
    elsewhere = bool(target.netloc) and (target.scheme or request.scheme, target.netloc) != (
        request.scheme,
        request.host,
    )
    return elsewhere or (response.status_code not in OF_OURS and request.headers.get("Sec-Fetch-Mode") == "navigate")


def _like(before: Response, after: Response) -> Response:
    """The new answer with the cookies of the one before."""
    for cookie in before.headers.getlist("Set-Cookie"):
        after.headers.add("Set-Cookie", cookie)
    return after
