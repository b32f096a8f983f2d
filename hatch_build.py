"""Fetches htmx and compiles the translations whenever a wheel, an sdist or an editable install is built."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path
from typing import Any

from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCE = "static/django_htmx/htmx-2.min.js"
SHA256 = "71ea67185bfa8c98c39d31717c6fce5d852370fcdfd129db4543774d3145c0de"


class BuildFiles(BuildHookInterface[Any]):
    """Makes the files that are in no commit: static/vendor/htmx.min.js and the translations' .mo files."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        vendor_htmx(Path(self.root, "static", "vendor", "htmx.min.js"))
        compile_translations(Path(self.root, "flask_squidmesh", "translations"))


def vendor_htmx(target: Path) -> None:
    """Copy htmx out of the pinned django-htmx package, which is a build requirement and never imported."""
    if not target.is_file() or not _is_pinned(target.read_bytes()):
        content = _packaged_htmx()
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)


def compile_translations(folder: Path) -> None:
    """Make a .mo file beside each .po file."""
    for source in folder.glob("*/LC_MESSAGES/*.po"):
        with source.open("rb") as text, source.with_suffix(".mo").open("wb") as compiled:
            write_mo(compiled, read_po(text))


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
