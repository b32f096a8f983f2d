"""Imports between the layers go one way, as pyproject.toml declares, and one name means one thing."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "flask_squidmesh"

pytestmark = pytest.mark.source


def test_imports_go_one_way(capsys: pytest.CaptureFixture[str]) -> None:
    from importlinter.cli import lint_imports

    assert lint_imports(config_filename=str(ROOT / "pyproject.toml"), no_cache=True) == 0, capsys.readouterr().out


def test_no_two_modules_share_a_name() -> None:
    modules = [(path.stem, path) for path in PACKAGE.rglob("*.py") if path.stem != "__init__"]
    assert _shared(modules) == {}


def test_no_two_classes_share_a_name() -> None:
    assert _shared(_classes()) == {}


def _classes() -> Iterator[tuple[str, Path]]:
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                yield node.name.lstrip("_"), path


def _shared(named: Iterable[tuple[str, Path]]) -> dict[str, list[str]]:
    places: dict[str, list[str]] = defaultdict(list)
    for name, path in named:
        places[name].append(str(path.relative_to(PACKAGE)))
    return {name: sorted(found) for name, found in places.items() if len(found) > 1}
