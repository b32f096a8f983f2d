"""What is shipped: the sdist holds all sources, and the wheel built from it all pages, static files and htmx."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PINNED_HTMX = "71ea67185bfa8c98c39d31717c6fce5d852370fcdfd129db4543774d3145c0de"
SOURCES = {".py", ".html", ".txt", ".css", ".js", ".svg", ".png", ".ico", ".mako", ".ini", ".md", ".po"}
WHERE_FILES_ARE = "from flask_squidmesh.dashboard.static_files import STATIC, TEMPLATES; print(TEMPLATES, STATIC)"

pytestmark = pytest.mark.source


@dataclass(frozen=True, slots=True, kw_only=True)
class Shipped:
    """The folders that the sdist and the wheel were unpacked to."""

    sdist: Path
    wheel: Path


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Shipped:
    folder = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "build", "--installer", "uv", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(build, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    with tarfile.open(next(folder.glob("*.tar.gz"))) as archive:
        archive.extraction_filter = getattr(tarfile, "data_filter", None)  # Python 3.11.2 has none
        archive.extractall(folder / "sources")
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        wheel.extractall(folder / "wheel")
    return Shipped(sdist=next(folder.glob("sources/*")), wheel=folder / "wheel")


def test_the_wheel_holds_every_template_and_static_file(shipped: Shipped) -> None:
    for path in [*_files(ROOT, "templates"), *_files(ROOT, "static")]:
        assert (shipped.wheel / "flask_squidmesh" / path).read_bytes() == (ROOT / path).read_bytes()


def test_the_wheel_holds_every_module_and_the_typing_marker(shipped: Shipped) -> None:
    assert _files(ROOT, "flask_squidmesh") <= _files(shipped.wheel, "flask_squidmesh")
    assert (shipped.wheel / "flask_squidmesh/py.typed").exists()


def test_the_wheel_holds_nothing_beside_the_package(shipped: Shipped) -> None:
    assert {path.name.partition("-")[0] for path in shipped.wheel.iterdir()} == {"flask_squidmesh"}


def test_htmx_is_the_pinned_one(shipped: Shipped) -> None:
    for folder in (ROOT, shipped.sdist, shipped.wheel / "flask_squidmesh"):
        htmx = folder / "static/vendor/htmx.min.js"
        assert hashlib.sha256(htmx.read_bytes()).hexdigest() == PINNED_HTMX, folder


def test_the_wheel_holds_every_translation_compiled(shipped: Shipped) -> None:
    sources = {path for path in _files(ROOT, "flask_squidmesh") if path.endswith(".po")}
    assert sources
    assert all((shipped.wheel / path).with_suffix(".mo").stat().st_size > 1000 for path in sources)


@pytest.mark.parametrize("folder", ["flask_squidmesh", "templates", "static", "tests", "tools", "example_app"])
def test_the_sdist_holds_every_source(shipped: Shipped, folder: str) -> None:
    assert _files(ROOT, folder) <= _files(shipped.sdist, folder)


def test_the_sdist_holds_what_building_and_reading_need(shipped: Shipped) -> None:
    files = {"pyproject.toml", "hatch_build.py", "Makefile", "README.md", "LICENSE", "CHANGELOG.md", "CONTRIBUTING.md"}
    assert files <= {path.name for path in shipped.sdist.iterdir()}


def test_the_metadata_names_licence_python_and_framework(shipped: Shipped) -> None:
    metadata = next(shipped.wheel.glob("*.dist-info/METADATA")).read_text().splitlines()
    assert "License-Expression: BSD-3-Clause" in metadata
    assert "Requires-Python: >=3.11" in metadata
    assert "Classifier: Framework :: Flask" in metadata
    assert "Classifier: Typing :: Typed" in metadata


def test_an_installed_wheel_finds_its_files_inside_the_package(shipped: Shipped) -> None:
    package = shipped.wheel / "flask_squidmesh"
    assert _places_seen_from(shipped.wheel) == [str(package / "templates"), str(package / "static")]


def test_a_checkout_finds_its_files_beside_the_package() -> None:
    assert _places_seen_from(ROOT) == [str(ROOT / "templates"), str(ROOT / "static")]


def _files(root: Path, folder: str) -> set[str]:
    """Paths below the folder, from the root, without what only a run of the program leaves there."""
    found = (path for path in (root / folder).rglob("*") if path.suffix in SOURCES)
    return {str(path.relative_to(root)) for path in found}


def _places_seen_from(path: Path) -> list[str]:
    environment = os.environ | {"PYTHONPATH": str(path)}
    asking = [sys.executable, "-c", WHERE_FILES_ARE]
    return subprocess.run(asking, env=environment, cwd=path, capture_output=True, text=True, check=True).stdout.split()
