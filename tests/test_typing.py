"""A host's type checker accepts what is right and finds what is wrong: mypy and pyright, both at their strictest."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "tests" / "typing"
FOUND = re.compile(r"^(?P<file>.+?):(?P<line>\d+): error: ", re.MULTILINE)
Errors = dict[str, set[int]]

pytestmark = pytest.mark.source


def by_mypy(cache: Path) -> Errors:
    """With no configuration of ours, so that what it finds is what a host would be told."""
    options = ["--strict", "--config-file=", "--explicit-package-bases", f"--cache-dir={cache}"]
    said = subprocess.run(
        [sys.executable, "-m", "mypy", *options, str(FOLDER)], cwd=ROOT, capture_output=True, text=True, timeout=600
    )
    return _by_file((Path(found["file"]).name, int(found["line"])) for found in FOUND.finditer(said.stdout))


def by_pyright(folder: Path) -> Errors:
    settings = {"typeCheckingMode": "strict", "include": [str(FOLDER)], "extraPaths": [str(ROOT)]}
    (folder / "pyrightconfig.json").write_text(json.dumps(settings))
    command = [sys.executable, "-m", "basedpyright", "--outputjson", "--pythonpath", sys.executable, "-p", str(folder)]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    told = json.loads(said.stdout)["generalDiagnostics"]
    return _by_file((Path(each["file"]).name, each["range"]["start"]["line"] + 1) for each in told)


def _by_file(found: Iterable[tuple[str, int]]) -> Errors:
    errors: Errors = {}
    for file, line in found:
        errors.setdefault(file, set()).add(line)
    return errors


@pytest.mark.parametrize("check", [by_mypy, by_pyright])
def test_a_typical_host_is_accepted_and_every_mistake_is_found(check: Callable[[Path], Errors], tmp_path: Path) -> None:
    lines = (FOLDER / "mistakes.py").read_text().splitlines()
    wrong = {number for number, line in enumerate(lines, 1) if line.endswith("# wrong")}
    assert len(wrong) > 20
    assert check(tmp_path) == {"mistakes.py": wrong}
