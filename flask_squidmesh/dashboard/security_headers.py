"""What every answer of ours says to the browser: what it may load, whom it may tell, what it may keep."""

from __future__ import annotations

from collections.abc import Mapping

from werkzeug.wrappers import Response

from ..runtime.runtime import current_runtime
from . import host_hooks
from .authorization import current_hooks
from .endpoints import memory
from .text.language import is_negotiated

POLICY: Mapping[str, str] = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data:",
    "connect-src": "'self'",
    "form-action": "'self'",
    "base-uri": "'none'",
    "frame-ancestors": "'none'",
}
WITH_NONCE = ("script-src", "style-src")


def apply(response: Response) -> Response:
    """Add our headers. Nobody keeps a copy of what we send, unless it set a Cache-Control of its own, as assets do."""
    policy = _policy()
    if policy is not None:
        response.headers["Content-Security-Policy"] = "; ".join(f"{name} {value}" for name, value in policy.items())
    response.headers["Referrer-Policy"] = "same-origin"
    response.headers["X-Content-Type-Options"] = "nosniff"
    if is_negotiated():
        response.vary.add("Accept-Language")
    if "Cache-Control" not in response.headers:
        response.headers["Cache-Control"] = "no-store"
    return response


def nonce() -> str | None:
    """The nonce of the host's policy for this request, None without."""
    hook = current_hooks().csp_nonce
    if hook is None:
        return None
    known = memory()
    if not known.has_nonce:
        known.nonce, known.has_nonce = host_hooks.nonce(hook), True
    return known.nonce


def _policy() -> Mapping[str, str] | None:
    chosen = _chosen()
    given = nonce()
    if chosen is None or given is None:
        return chosen
    return {name: f"{value} 'nonce-{given}'" if name in WITH_NONCE else value for name, value in chosen.items()}


def _chosen() -> Mapping[str, str] | None:
    setting = current_runtime().settings.dashboard.csp
    return POLICY if setting == "auto" else setting
