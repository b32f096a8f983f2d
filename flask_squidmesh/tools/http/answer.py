"""What came back: a result for 200 to 399, an error for every other status."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Final, NoReturn

import httpx

from ..adapter import ToolError, ToolResult
from .request import NAME, HttpRequest, shown_url

LONGEST_RETRY_AFTER: Final = 86_400.0
MOST_BODY_SHOWN: Final = 2_000
RETRYABLE_REFUSALS: Final = frozenset({408, 429})

_JSON = re.compile(r"application/(?:[\w.+-]+\+)?json\s*(?:;|$)", re.IGNORECASE)


def result_of(request: HttpRequest, response: httpx.Response, content: bytes) -> ToolResult:
    """The answer of a call that succeeded."""
    payload = {
        "status": response.status_code,
        "headers": dict(response.headers),
        "body": _body(response, _text(response, content)),
    }
    return ToolResult(adapter=NAME, payload=payload, metadata=facts(request))


def error_of(request: HttpRequest, response: httpx.Response, content: bytes, now: datetime) -> ToolError:
    """The error for a status of 400 and above. Below 500 the other side refused, so nothing has happened there."""
    status = response.status_code
    text = request.secrets.hide(_text(response, content))
    short = len(text) <= MOST_BODY_SHOWN
    return ToolError(
        f"{request.message.url.host} answered {status}{_phrase(status)}.",
        adapter=NAME,
        kind="http",
        details={
            **facts(request),
            "status": status,
            "headers": request.secrets.shown_headers(response.headers),
            "body": _body(response, text) if short else text[: MOST_BODY_SHOWN - 1] + "…",
        },
        retryable=status >= 500 or status in RETRYABLE_REFUSALS,
        retry_after=retry_after(response.headers.get("retry-after"), now),
        certain=status < 500 or request.is_safe,
    )


def facts(request: HttpRequest) -> dict[str, str]:
    """What was asked, for people."""
    return {"method": request.message.method, "url": shown_url(request.message.url)}


def retry_after(header: str | None, now: datetime) -> float | None:
    """Seconds to wait, from a number of seconds or an HTTP date; at most a day. None where it says nothing readable."""
    if header is None:
        return None
    text = header.strip()
    if text.isascii() and text.isdigit():
        return min(float(text), LONGEST_RETRY_AFTER)
    try:
        until = parsedate_to_datetime(text)
    except ValueError:
        return None
    until = until if until.tzinfo else until.replace(tzinfo=UTC)
    return min(max((until - now).total_seconds(), 0.0), LONGEST_RETRY_AFTER)


def _phrase(status: int) -> str:
    return f" {HTTPStatus(status).phrase}" if status in HTTPStatus._value2member_map_ else ""


def _text(response: httpx.Response, content: bytes) -> str:
    try:
        return content.decode(response.encoding or "utf-8", "replace")
    except (LookupError, ValueError):  # a codec that is none for text, such as "hex"
        return content.decode("utf-8", "replace")


def _body(response: httpx.Response, text: str) -> object:
    """JSON where the answer says that it is, and holds it; else the text."""
    if not _JSON.match(response.headers.get("content-type", "")):
        return text
    try:
        found: object = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return text
    return found


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")
