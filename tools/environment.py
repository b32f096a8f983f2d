"""Makes a virtual environment with this project in it; does nothing while what it is made of stays as it was.

usage: python3 tools/environment.py FOLDER EXTRA [REQUIREMENT ...]
"""

from __future__ import annotations

import hashlib
import importlib.util
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
DESCRIPTION = [
    *(PROJECT / "pyproject.toml", PROJECT / "hatch_build.py"),
    *sorted(PROJECT.glob("flask_squidmesh/translations/*/LC_MESSAGES/*.po")),
]
VENDORED = PROJECT / "static" / "vendor" / "htmx.min.js"


def main(folder: Path, extra: str, requirements: list[str]) -> None:
    """Bring the environment up to date.

    :param folder: Where the environment is or will be.
    :param extra: The optional dependencies of pyproject.toml to install.
    :param requirements: Further requirements, in pip's words.
    """
    stamp = folder / f".installed-{extra}"
    wanted = _fingerprint(requirements)
    if VENDORED.exists() and stamp.exists() and stamp.read_text() == wanted:
        return
    _check_python()
    _make_venv(folder)
    _install(folder, ["--editable", f"{PROJECT}[{extra}]", *requirements])
    stamp.write_text(wanted)


def _fingerprint(requirements: list[str]) -> str:
    content = b"".join(path.read_bytes() for path in DESCRIPTION) + repr((sys.version, requirements)).encode()
    return hashlib.sha256(content).hexdigest()


def _check_python() -> None:
    if sys.version_info < (3, 11):  # noqa: UP036
        sys.exit(f"{sys.executable} is Python {sys.version.split()[0]}, but 3.11 is needed: make PYTHON=python3.11 ...")
    if importlib.util.find_spec("ensurepip") is None or importlib.util.find_spec("venv") is None:
        sys.exit(f"{sys.executable} cannot make virtual environments: apt-get install python3-venv (on Debian, Ubuntu)")


def _make_venv(folder: Path) -> None:
    """A folder whose Python no longer runs, or is another version, is made anew."""
    version = [str(folder / "bin" / "python"), "-c", "import sys, pip; print(sys.version)"]
    try:
        found = subprocess.run(version, capture_output=True, text=True).stdout.strip()
    except OSError:
        found = ""
    if found != sys.version:
        print(f"Making {folder}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)


def _install(folder: Path, requirements: list[str]) -> None:
    """With uv, which takes seconds; where there is none, with pip, which takes a minute."""
    python = str(folder / "bin" / "python")
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    uv = [python, "-m", "uv", "pip", "install", "--python", python, "--quiet", "--reinstall-package", "flask-squidmesh"]
    print(f"Installing into {folder}", flush=True)
    if _succeeds([*pip, "uv"]) and _succeeds([*uv, *requirements]):
        return
    if not _succeeds([*pip, *requirements]):
        sys.exit("The packages could not be installed: see pip's words above; a package index must be in reach")


def _succeeds(command: list[str]) -> bool:
    return subprocess.run(command, cwd=PROJECT).returncode == 0


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]).absolute(), sys.argv[2], sys.argv[3:])
