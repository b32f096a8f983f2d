"""Brings the translations in line with the texts of the code and the templates, and compiles them.

usage: python tools/translations.py
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po, write_po

PROJECT = Path(__file__).resolve().parent.parent
FOLDER = PROJECT / "flask_squidmesh" / "translations"
UNUSED_HEADERS = ('"Report-', '"POT-', '"PO-', '"Last-', '"Language-', '"Generated-')
KEYWORDS: dict[str, Any] = {"_": None, "N_": None, "plural": (2, 3)}

sys.path.insert(0, str(PROJECT))
from hatch_build import compile_translations  # noqa: E402


def extracted() -> Catalog:
    """Every text of the pages that is to be translated."""
    catalogue = Catalog(project="flask-squidmesh", charset="utf-8", fuzzy=False)
    mappings = tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]["babel"]["mappings"]
    found = extract_from_dir(
        PROJECT,
        method_map=[(mapping["pattern"], mapping["method"]) for mapping in mappings],
        keywords=KEYWORDS,
    )
    for name, _line, message, _comments, _context in found:
        catalogue.add(message, locations=[(name, None)])  # type: ignore[list-item]
    return catalogue


def files() -> Iterator[Path]:
    """The translations, one file for each language."""
    return FOLDER.glob("*/LC_MESSAGES/squidmesh.po")


def read(path: Path) -> Catalog:
    """One translation."""
    with path.open("rb") as file:
        return read_po(file)


def update(path: Path) -> None:
    """Add the texts that are new, and drop those that are gone."""
    catalogue = read(path)
    catalogue.update(extracted(), no_fuzzy_matching=True, update_creation_date=False)
    written = BytesIO()
    write_po(written, catalogue, width=120, ignore_obsolete=True, sort_by_file=True, include_lineno=False)
    lines = written.getvalue().decode().lstrip().splitlines(keepends=True)
    path.write_text("".join(line for line in lines if not line.startswith(UNUSED_HEADERS)))


if __name__ == "__main__":
    for path in files():
        update(path)
    compile_translations(FOLDER)
