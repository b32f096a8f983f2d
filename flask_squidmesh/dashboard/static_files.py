"""Our style sheet, scripts and icon, at addresses that hold a hash of their content and so never go stale."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from io import BytesIO
from pathlib import Path

from flask import Response, abort, send_file, url_for

_PACKAGE = Path(__file__).resolve().parent.parent
_HOME = _PACKAGE if _PACKAGE.joinpath("templates").is_dir() else _PACKAGE.parent

TEMPLATES = _HOME / "templates"
STATIC = _HOME / "static"


FILES = {
    "squidmesh.css": STATIC / "squidmesh.css",
    "squidmesh.js": STATIC / "squidmesh.js",
    "live.js": STATIC / "live.js",
    "htmx.js": STATIC / "vendor" / "htmx.min.js",
    "icon.svg": STATIC / "icon.svg",
}
SENT_WITH = {"live.js": (STATIC / "keeping.js", STATIC / "ticking.js")}
A_YEAR = 365 * 24 * 3600


def address(name: str) -> str | None:
    """Where the file is to be had now; None where it is missing, as htmx is in a checkout that was never built."""
    paths = _paths(name)
    if not _are_there(paths):
        return None
    stem, extension = name.rsplit(".", 1)
    return url_for(".asset", name=f"{stem}.{_stamp(paths, _changed(paths))}.{extension}")


def serve(name: str) -> Response:
    """Send the file, in one piece where it is kept in several. An older hash gets today's content, which the browser
    then must not keep.
    """
    stem, _, rest = name.partition(".")
    stamp, _, extension = rest.partition(".")
    paths = _paths(f"{stem}.{extension}")
    if not _are_there(paths):
        abort(404)
    today = _stamp(paths, _changed(paths))
    content = BytesIO(b"".join(path.read_bytes() for path in paths))
    response = send_file(content, download_name=f"{stem}.{extension}", max_age=0, etag=today)
    if stamp == today:
        response.headers["Cache-Control"] = f"public, max-age={A_YEAR}, immutable"
    return response


def _paths(name: str) -> tuple[Path, ...]:
    """The files that are sent as this one; nothing where we have none of that name."""
    return (FILES[name], *SENT_WITH.get(name, ())) if name in FILES else ()


def _are_there(paths: tuple[Path, ...]) -> bool:
    return bool(paths) and all(path.is_file() for path in paths)


def _changed(paths: tuple[Path, ...]) -> int:
    return max(path.stat().st_mtime_ns for path in paths)


@lru_cache(maxsize=32)
def _stamp(paths: tuple[Path, ...], _changed: int) -> str:
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()[:12]
