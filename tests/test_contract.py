"""The contract's page names modules and tests that exist."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

pytestmark = pytest.mark.source

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "contract.md").read_text(encoding="utf-8")
TESTS = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")
MODULES = re.compile(r"`([\w/]+\.py)`")


def rows() -> Iterator[tuple[str, list[str]]]:
    """Every row of every table, as its section and its cells."""
    section = ""
    for line in PAGE.splitlines():
        if line.startswith("#"):
            section = line.lstrip("# ")
        elif line.startswith("| ") and not line.startswith("| What happens "):
            yield section, [cell.strip() for cell in line.strip("|").split("|")]


@cache
def functions_in(path: str) -> frozenset[str]:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef))


def test_every_row_has_a_rule_a_module_and_a_test() -> None:
    found = list(rows())
    assert len(found) > 300
    broken = [
        (section, cells)
        for section, cells in found
        if len(cells) != 4 or not cells[0] or not MODULES.search(cells[1]) or not TESTS.search(cells[2])
    ]
    assert broken == []


def test_every_module_exists() -> None:
    named = {module for _, cells in rows() for module in MODULES.findall(cells[1])}
    assert [module for module in sorted(named) if not (ROOT / "flask_squidmesh" / module).is_file()] == []


def test_every_test_exists() -> None:
    named = set(TESTS.findall(PAGE))
    missing = [
        f"{path}::{name}"
        for path, name in sorted(named)
        if not (ROOT / path).is_file() or name not in functions_in(path)
    ]
    assert missing == []


def test_every_section_is_in_the_contents() -> None:
    sections = re.findall(r"^##+ (.+)$", PAGE, re.MULTILINE)
    listed = re.findall(r"^ *- \[(.+)\]\(#", PAGE, re.MULTILINE)
    assert len(set(sections)) == len(sections)
    assert listed == [section for section in sections if section != "Contents"]
