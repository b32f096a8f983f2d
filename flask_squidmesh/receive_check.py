"""Whether a request gets as far as the addresses that receive events: the app itself is asked."""

from __future__ import annotations

from collections.abc import Iterator
from contextvars import Context
from typing import Any, Final
from urllib.parse import urlsplit

from flask import Flask
from flask.testing import EnvironBuilder
from werkzeug.test import run_wsgi_app

from .receiving import NAME, PROBE, Probe
from .runtime.app_check import CheckResult
from .runtime.outcomes import let_ctrl_c_through, type_name

SUBJECT: Final = "receive"
PROGRAM: Final = "squidmesh-check"


def look_at_addresses(app: Flask) -> Iterator[CheckResult]:
    """Ask the app for each address by a POST of `{}` as JSON, through its middleware and the host's own functions.

    It is not signed and brings no event: neither the host's `verify` nor its function is called. Its scheme, host and
    prefix are those of SQUIDMESH_EXTERNAL_URL.
    """
    external_url = app.config.get("SQUIDMESH_EXTERNAL_URL")
    for rule in app.url_map.iter_rules():
        if rule.endpoint.startswith(f"{NAME}."):
            yield _finding(app, rule.rule, external_url)


def _finding(app: Flask, address: str, external_url: str | None) -> CheckResult:
    prefix = urlsplit(external_url or "").path.rstrip("/")
    refused = _refusal(app, address, external_url)
    if refused and prefix:  # the app's own middleware may be what takes the prefix off
        refused = _refusal(app, f"{prefix}{address}", external_url and external_url.removesuffix("/")[: -len(prefix)])
    if refused is None:
        return CheckResult(subject=SUBJECT, text=f"a request gets as far as {address}")
    return CheckResult(subject=SUBJECT, text=f"A request does not get as far as {address}: {refused}", wrong=True)


def _refusal(app: Flask, path: str, base_url: str | None) -> str | None:
    """What stands between a request and the view at the path; None where nothing does."""
    probe = Probe()
    environ = EnvironBuilder(
        app,
        path,
        base_url=base_url,
        method="POST",
        data=b"{}",
        content_type="application/json",
        headers={"User-Agent": PROGRAM},
        environ_overrides={PROBE: probe, "REMOTE_ADDR": "127.0.0.1"},
    ).get_environ()
    try:
        _, status, headers = Context().run(_answered, app, environ)  # in an app context of its own
    except BaseException as error:
        let_ctrl_c_through(error)
        return None if probe.arrived else f"{type_name(error)} was raised before. See to your before_request functions."
    return None if probe.arrived else _said(status, headers.get("Location"))


def _answered(app: Flask, environ: dict[str, Any]) -> Any:
    return run_wsgi_app(app, environ, buffered=True)


def _said(status: str, location: str | None) -> str:
    said = f"a POST of JSON is answered {status.title()}" + (f", on to {location.split('?')[0]}" if location else "")
    if status.startswith("3") and (location or "").startswith("https://"):
        return f"{said}. Where the app is reached by https, say so with SQUIDMESH_EXTERNAL_URL."
    if status.startswith("404"):
        return f"{said}. Where the app hangs below a prefix, say so with SQUIDMESH_EXTERNAL_URL."
    if status.startswith(("2", "405")):
        return f"{said}. Another view or a middleware of yours takes the address: give one of them another."
    return (
        f"{said}. Leave it out of what asks for a person, a token or a type of content: in before_request by "
        f'`request.blueprint == "{NAME}"`, in middleware by its path.'
    )
