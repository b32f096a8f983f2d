"""What the figures depend on: the machine, its servers and the versions of everything."""

from __future__ import annotations

import os
import platform
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Final

from .servers import Servers

PACKAGES: Final = (
    *("flask-squidmesh", "flask", "sqlalchemy", "psycopg"),
    *("dbos", "absurd-sdk", "procrastinate", "celery", "redis", "prefect"),
)
DURABILITY: Final = ("fsync", "synchronous_commit", "full_page_writes", "wal_sync_method", "shared_buffers")


def surroundings(servers: Servers) -> Iterator[str]:
    """One line for each thing that a reader has to know."""
    load = " ".join(f"{each:.1f}" for each in os.getloadavg())
    yield f"{datetime.now(UTC):%Y-%m-%d}, {_processor()}, {os.cpu_count()} cores, {_memory()}; load at the start {load}"
    yield f"{platform.system()} {platform.release()}; databases on {_file_system(Path(tempfile.gettempdir()))}"
    settings = ", ".join(f"{name} {servers.says(name)}" for name in DURABILITY)
    yield f"PostgreSQL {servers.says('server_version')} with its defaults: {settings}"
    yield f"SQLite {sqlite3.sqlite_version}; Redis {_redis() if servers.redis else 'missing'}"
    yield f"Python {platform.python_version()}; " + ", ".join(f"{name} {_version(name)}" for name in PACKAGES)


def _processor() -> str:
    lines = _text("/proc/cpuinfo").splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()


def _memory() -> str:
    lines = _text("/proc/meminfo").splitlines()
    kib = next((int(line.split()[1]) for line in lines if line.startswith("MemTotal")), 0)
    return f"{kib / 1024**2:.0f} GiB"


def _file_system(folder: Path) -> str:
    """The kind of the file system that the folder is on, by the longest mount point above it."""
    mounts = [line.split()[1:3] for line in _text("/proc/mounts").splitlines()]
    above = [(point, kind) for point, kind in mounts if folder.resolve().is_relative_to(point)]
    return max(above, key=lambda mount: len(mount[0]), default=("", "an unknown file system"))[1]


def _redis() -> str:
    said = subprocess.run(["redis-server", "--version"], capture_output=True, text=True).stdout
    return next((word.removeprefix("v=") for word in said.split() if word.startswith("v=")), "of unknown version")


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "missing"


def _text(path: str) -> str:
    return Path(path).read_text() if Path(path).exists() else ""
