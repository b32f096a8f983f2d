"""Our style sheet, scripts and icon, at addresses that hold a hash of their content and so never go stale."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

from flask import Response, abort, send_file, url_for

from .assets import STATIC

FILES = {
    "squidmesh.css": STATIC / "squidmesh.css",
    "squidmesh.js": STATIC / "squidmesh.js",
    "live.js": STATIC / "live.js",
    "ticking.js": STATIC / "ticking.js",
    "htmx.js": STATIC / "vendor" / "htmx.min.js",
    "icon.svg": STATIC / "icon.svg",
}
A_YEAR = 365 * 24 * 3600


def address(name: str) -> str | None:
    """Where the file is to be had now; None where it is missing, as htmx is in a checkout that was never built."""
    path = FILES[name]
    if not path.is_file():
        return None
    stem, extension = name.rsplit(".", 1)
    return url_for(".asset", name=f"{stem}.{_stamp(path, path.stat().st_mtime_ns)}.{extension}")


def serve(name: str) -> Response:
    """Send the file. An older hash gets today's content, which the browser then must not keep."""
    stem, _, rest = name.partition(".")
    stamp, _, extension = rest.partition(".")
    path = FILES.get(f"{stem}.{extension}")
    if path is None or not path.is_file():
        abort(404)
    response = send_file(path, max_age=0)
    if stamp == _stamp(path, path.stat().st_mtime_ns):
        response.headers["Cache-Control"] = f"public, max-age={A_YEAR}, immutable"
    return response


@lru_cache(maxsize=32)
def _stamp(path: Path, _changed: int) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]
