"""Where a redirect, most often to the host's log-in, leads a browser that asked in the background or sent a form."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit, urlunsplit

from flask import current_app, request, url_for
from htmx_flask.requests import HtmxHeaders
from markupsafe import Markup
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response

from ..runtime.runtime import current_runtime
from .endpoints import check_form
from .layout import local_path, render
from .payload_form import PREFIX
from .text.language import N_, _

NO_PAGES = (".pulse", ".preferences", ".bulk_go_on")
OF_OURS = (303, 308)
LABELS: Mapping[str, str] = {"comment": N_("Comment"), "output": N_("Output"), "reason": N_("Reason")}


def lead(response: Response) -> Response:
    """Have the browser go there as a whole, and come back to a page and not to what it asked for in the background.

    htmx would follow a redirect by itself and swap in what it finds. The policy of our pages lets no form end on
    another origin, not by a redirect either, so that a form whose session has ended gets a page that leads on; it
    shows what was typed, which would be lost behind the log-in. The script sends a form again as a page that gets it.
    """
    if not response.location:
        return response
    typed = _typed() if request.method == "POST" and not _is_ours(response) else []
    target = _with_way_back(response.location) if is_no_page() else response.location
    if HtmxHeaders(request.headers) and not typed:
        del response.headers["Location"]
        response.headers["HX-Redirect"] = target
        response.status_code = 200
        response.set_data(b"")
    elif typed or (request.method == "POST" and _may_leave(response)):
        page = render("moved.html", heading=_("Sign in again"), target=target, typed=typed)
        response = _like(response, current_app.make_response((page, 401)))
    else:
        response.location = target
    return response


def _with_way_back(target: str) -> str:
    """The target with the page in place of what it says to come back to.

    Where it says nothing of it, a poll leads to the page itself, from where the host leads on to its log-in.
    """
    parts, page = urlsplit(target), page_that_asked()
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


def page_that_asked() -> str:
    """The page of this site that asked, where the address that was asked for is none."""
    for told in (request.headers.get("HX-Current-URL"), request.referrer):
        parts = _split(told or "")
        path = local_path(urlunsplit(("", "", parts.path, parts.query, "")))
        if path and parts.netloc in ("", request.host) and parts.path != _here():
            return path
    job_id = (request.view_args or {}).get("job_id")
    return url_for(".bulk_job", job_id=job_id) if job_id else url_for(".inbox")


def is_no_page() -> bool:
    """Whether nothing is shown at the address that was asked for."""
    return (request.endpoint or "").endswith(NO_PAGES)


def _typed() -> list[tuple[str, str]]:
    """What a person typed into the form, each with its label; nothing of a form that another site may have made."""
    if request.headers.get("Sec-Fetch-Site", "same-origin") != "same-origin":
        return []
    try:
        check_form()
    except HTTPException:
        return []
    hides, found = current_runtime().hides, [(_(label), request.form.get(name, "")) for name, label in LABELS.items()]
    for name, text in request.form.items():
        field = name.removeprefix(PREFIX)
        if field != name and not hides(field):
            found.append((Markup.escape(field), text))
    return [(label, text.strip()) for label, text in found if text.strip()]


def _split(address: str) -> SplitResult:
    """The parts of an address that somebody else has written; none of what is no address."""
    try:
        return urlsplit(address)
    except ValueError:
        return urlsplit("")


def _is_ours(response: Response) -> bool:
    """Whether it leads to a page of ours; ours lead by a 303 or a 308."""
    return response.status_code in OF_OURS and not _leads_elsewhere(response)


def _leads_elsewhere(response: Response) -> bool:
    target = urlsplit(response.location or "")
    origin = (target.scheme or request.scheme, target.netloc)
    return bool(target.netloc) and origin != (request.scheme, request.host)


def _may_leave(response: Response) -> bool:
    """Whether a form that is sent without a script might end on another origin."""
    is_navigation = request.headers.get("Sec-Fetch-Mode") == "navigate"
    return _leads_elsewhere(response) or (response.status_code not in OF_OURS and is_navigation)


def _like(before: Response, after: Response) -> Response:
    """The new answer with the cookies of the one before."""
    for cookie in before.headers.getlist("Set-Cookie"):
        after.headers.add("Set-Cookie", cookie)
    return after
