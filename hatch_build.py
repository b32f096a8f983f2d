"""Puts htmx into static/vendor/ whenever a wheel, an sdist or an editable install is built."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCE = "static/django_htmx/htmx-2.min.js"
SHA256 = "71ea67185bfa8c98c39d31717c6fce5d852370fcdfd129db4543774d3145c0de"


class VendorHtmx(BuildHookInterface[Any]):
    """Copies htmx out of the pinned django-htmx package, which is a build requirement and never imported."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        target = Path(self.root, "static", "vendor", "htmx.min.js")
        if not target.is_file() or not _is_pinned(target.read_bytes()):
            content = _packaged_htmx()
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)


def _is_pinned(content: bytes) -> bool:
    return hashlib.sha256(content).hexdigest() == SHA256


def _packaged_htmx() -> bytes:
    package = importlib.util.find_spec("django_htmx")
    if package is None or package.origin is None:
        raise RuntimeError(
            "django-htmx, which htmx comes out of, is not in the build environment; build with isolation"
        )
    content = Path(package.origin).parent.joinpath(SOURCE).read_bytes()
    if not _is_pinned(content):
        raise RuntimeError(
            f"{SOURCE} of django-htmx is not the expected {SHA256}; look at the new htmx and change SHA256"
        )
    return content
