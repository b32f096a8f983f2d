"""Runs tests on every Python that this machine has, with the lowest and the newest versions that pyproject.toml admits.

The short form is part of `make test`: the lowest versions on the lowest Python, and a selection of tests on the others.
It needs the environment `.venv`, for its uv; each row of the matrix has one of its own beside that.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

PROJECT: Final = Path(__file__).resolve().parent.parent
OWN: Final = str(PROJECT / ".venv" / "bin" / "python")
PYTHONS: Final = ("3.11", "3.12", "3.13", "3.14")
FORMS: Final = ("binary", "python")
MINUTES: Final = 40

ALL: Final = ("tests/unit", "tests/integration", "tests/cli")
TOUCHING_SQLALCHEMY: Final = (
    *(f"tests/cli/test_{each}.py" for each in ("commands", "doctor", "pruning")),
    *(f"tests/integration/{each}" for each in ("hosts", "reading")),
    *(f"tests/integration/test_{each}.py" for each in ("schema", "missing_tables", "wire", "batching", "writing")),
    *(f"tests/integration/runtime/test_{each}.py" for each in ("engine_options", "host_engines", "clocks")),
    *(f"tests/integration/runtime/test_{each}.py" for each in ("starting", "performing", "deciding", "compensating")),
    *(f"tests/integration/runtime/test_{each}.py" for each in ("transaction_steps", "uncommitted", "outages", "cron")),
    *(f"tests/integration/runtime/test_{each}.py" for each in ("relaying", "takeover", "replaying", "racing")),
)
TOUCHING_PYTHON: Final = ("tests/unit", "tests/cli/test_commands.py", "tests/integration/runtime/test_performing.py")
TOUCHING_PSYCOPG: Final = (
    *("tests/integration/test_wire.py", "tests/integration/test_batching.py", "tests/integration/test_writing.py"),
    *("tests/integration/runtime/test_performing.py", "tests/integration/runtime/test_waking.py"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One environment, and the tests that run in it. versions: which of those that pyproject.toml admits."""

    python: Path
    minor: str
    versions: Literal["lowest", "newest"]
    tests: Sequence[str]
    psycopg: str | None = None
    form: str | None = None

    @property
    def name(self) -> str:
        """What it is called in the summary."""
        driver = f", psycopg {self.psycopg or self.versions} ({self.form})" if self.form else ""
        return f"Python {self.minor}, {self.versions} versions{driver}"

    @property
    def folder(self) -> Path:
        """Where its environment is."""
        return PROJECT / f".venv-{self.minor}-{self.versions}"


def main(*, short: bool, only: str) -> int:
    """Run the rows with this text in their name, say how each went, and answer how many failed."""
    found = dict(_pythons())
    for minor in PYTHONS:
        print(f"Python {minor}: {found.get(minor, 'not on this machine')}", flush=True)
    rows = [row for row in (_short(found) if short else _whole(found)) if only in row.name]
    results = [(row, *_run(row)) for row in rows]
    print("\nThe matrix:")
    for row, passed, seconds in results:
        print(f"  {'passed' if passed else 'FAILED'}  {row.name}, {seconds:.0f} s")
    return sum(not passed for _, passed, _ in results)


def _short(found: Mapping[str, Path]) -> Iterator[Row]:
    lowest, *others = found
    yield Row(python=found[lowest], minor=lowest, versions="lowest", tests=TOUCHING_SQLALCHEMY)
    if _has_libpq():
        yield Row(python=found[lowest], minor=lowest, versions="lowest", tests=TOUCHING_PSYCOPG, form="python")
    for minor in others:
        yield Row(python=found[minor], minor=minor, versions="newest", tests=TOUCHING_PYTHON)


def _whole(found: Mapping[str, Path]) -> Iterator[Row]:
    for minor, python in found.items():
        yield Row(python=python, minor=minor, versions="lowest", tests=ALL)
        yield Row(python=python, minor=minor, versions="newest", tests=ALL)
    lowest = next(iter(found))
    for version in _releases("psycopg"):
        for form in FORMS if _has_libpq() else FORMS[:1]:
            yield Row(
                python=found[lowest],
                minor=lowest,
                versions="newest",
                tests=TOUCHING_PSYCOPG,
                psycopg=version,
                form=form,
            )


def _pythons() -> Iterator[tuple[str, Path]]:
    """Those on PATH, of pyenv and of uv that can be run."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    uv = Path.home() / ".local" / "share" / "uv" / "python"
    for minor in PYTHONS:
        on_path = shutil.which(f"python{minor}")
        places = [Path(on_path)] if on_path else []
        places += sorted(pyenv.glob(f"{minor}.*/bin/python3")) + sorted(uv.glob(f"cpython-{minor}.*/bin/python3"))
        fitting = [place for place in places if _version_of(place) == minor]
        if fitting:
            yield minor, fitting[0]


def _version_of(python: Path) -> str | None:
    asked = [str(python), "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
    said = subprocess.run(asked, capture_output=True, text=True)
    return said.stdout.strip() if said.returncode == 0 else None


def _has_libpq() -> bool:
    """Whether psycopg's implementation in Python finds libpq, which only its compiled one brings along."""
    asked = [OWN, "-c", "import psycopg"]
    return subprocess.run(asked, env={**os.environ, "PSYCOPG_IMPL": "python"}, capture_output=True).returncode == 0


def _releases(package: str) -> list[str]:
    """The releases from the lowest that pyproject.toml admits on, oldest first."""
    described = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["dependencies"]
    floor = next(text for text in described if re.match(rf"{package}\W", text)).partition(">=")[2]
    said = subprocess.run([OWN, "-m", "pip", "index", "versions", package], capture_output=True, text=True, check=True)
    listed = re.findall(r"\d+(?:\.\d+)+", said.stdout.partition("Available versions:")[2].partition("\n")[0])
    return sorted((version for version in listed if _order(version) >= _order(floor)), key=_order)


def _order(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def _run(row: Row) -> tuple[bool, float]:
    print(f"\n== {row.name}", flush=True)
    began = time.monotonic()
    passed = _install(row) and _tested(row)
    return passed, time.monotonic() - began


def _install(row: Row) -> bool:
    uv, python = [OWN, "-m", "uv"], str(row.folder / "bin" / "python")
    made = row.folder.exists() or _succeeds([*uv, "venv", "--quiet", "--python", str(row.python), str(row.folder)])
    resolution = ["--resolution", "lowest-direct"] if row.versions == "lowest" else ["--upgrade"]
    wanted = ["--editable", f"{PROJECT}[test]", *([f"psycopg[binary]=={row.psycopg}"] if row.psycopg else [])]
    return made and _succeeds([*uv, "pip", "install", "--quiet", "--python", python, *resolution, *wanted])


def _tested(row: Row) -> bool:
    options = ["-q", "--numprocesses=logical", "--maxprocesses=8", "-m", "not browser and not source"]
    variables = {"PSYCOPG_IMPL": row.form} if row.form else {}
    return _succeeds([str(row.folder / "bin" / "python"), "-m", "pytest", *options, *row.tests], variables)


def _succeeds(command: Sequence[str], variables: Mapping[str, str] | None = None) -> bool:
    environment = {**os.environ, **(variables or {})}
    try:
        return subprocess.run(command, cwd=PROJECT, env=environment, timeout=MINUTES * 60).returncode == 0
    except subprocess.TimeoutExpired:
        print(f"It did not end within {MINUTES} minutes.")
        return False


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help="what `make test` runs")
    parser.add_argument("--only", default="", help="rows with this text in their name, such as 'psycopg 3.2'")
    chosen = parser.parse_args()
    sys.exit(1 if main(short=chosen.short, only=chosen.only) else 0)
