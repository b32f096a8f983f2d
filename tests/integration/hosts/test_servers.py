"""Servers for real, whose processes are forked before or after the host has used its database."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from flask_squidmesh.storage.tables import runs
from tests.children import die_with_parent, free_port
from tests.requirements import missing
from tests.waiting import eventually

from .forking_host import DATABASE

HOST = "tests.integration.hosts.forking_host:create_app()"
ROOT = Path(__file__).parents[3]
PROCESSES = 2
REQUESTS = 12
ENDED = object()


def gunicorn(port: int, *options: str) -> list[str]:
    if importlib.util.find_spec("gunicorn") is None:
        missing("gunicorn is not installed: pip install gunicorn")
    if "gevent" in options:
        pytest.importorskip("gevent", reason="gevent is not installed: pip install gevent")
    processes = ["--workers", str(PROCESSES), "--bind", f"127.0.0.1:{port}"]
    return [sys.executable, "-m", "gunicorn", *processes, *options, HOST]


def uwsgi(port: int, *options: str) -> list[str]:
    found = os.environ.get("SQUIDMESH_TEST_UWSGI") or shutil.which("uwsgi")
    if found is None:
        pytest.skip("uWSGI is not installed: pip install uwsgi, which needs a compiler, and set SQUIDMESH_TEST_UWSGI")
    served = ["--http-socket", f"127.0.0.1:{port}", "--module", HOST, "--need-app", "--die-on-term"]
    return [found, "--master", "--processes", str(PROCESSES), "--enable-threads", "--threads", "4", *served, *options]


SERVERS: dict[str, tuple[Callable[..., list[str]], tuple[str, ...], bool]] = {
    "gunicorn": (gunicorn, ("--threads", "4"), False),
    "gunicorn-preload": (gunicorn, ("--threads", "4", "--preload"), True),
    "gunicorn-gevent": (gunicorn, ("--worker-class", "gevent"), False),
    "gunicorn-gevent-preload": (gunicorn, ("--worker-class", "gevent", "--preload"), True),
    "uwsgi": (uwsgi, (), True),
    "uwsgi-lazy-apps": (uwsgi, ("--lazy-apps",), False),
}
"""By name: the command, its options, and whether the app is made before the processes are forked."""


@contextmanager
def served(command: list[str], url: str, log: Path) -> Iterator[Callable[[], Any]]:
    """Have the app served; a function that answers ENDED where the server has ended."""
    path = os.pathsep.join([str(ROOT), *(each for each in sys.path if each)])
    with log.open("wb") as told:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, DATABASE: url, "PYTHONPATH": path},
            stdout=told,
            stderr=subprocess.STDOUT,
            preexec_fn=die_with_parent,
        )
        try:
            yield lambda: ENDED if process.poll() is not None else None
        finally:
            process.terminate()
            try:
                process.wait(20)
            finally:
                process.kill()


def asked(port: int) -> dict[str, Any]:
    request = urllib.request.Request(f"http://127.0.0.1:{port}/runs", data=b"", method="POST")
    with urllib.request.urlopen(request, timeout=30) as response:
        answer: dict[str, Any] = json.load(response)
        return answer


def answered(port: int) -> dict[str, Any] | None:
    try:
        return asked(port)
    except (ConnectionError, urllib.error.URLError):
        return None


@pytest.mark.rule("fork-anew")
@pytest.mark.parametrize("server", SERVERS)
def test_each_process_of_a_server_uses_connections_of_its_own(migrated_url: str, tmp_path: Path, server: str) -> None:
    begin, options, is_loaded_before = SERVERS[server]
    port, log = free_port(), tmp_path / "log"
    with served(begin(port, *options), migrated_url, log) as server_ended:
        first = eventually(lambda: answered(port) or server_ended(), 60)
        assert first is not ENDED, log.read_text()
        answers = [first]
        while len(answers) <= REQUESTS or len({answer["process"] for answer in answers}) < PROCESSES:
            assert len(answers) < 50 * REQUESTS, "one process alone answers"
            with ThreadPoolExecutor(REQUESTS) as several:
                answers += several.map(asked, [port] * REQUESTS)
        assert {answer["seen"] for answer in answers} == {"pending"}
        makers = {answer["loaded"]["process"]: answer["loaded"] for answer in answers}
        assert makers.keys().isdisjoint({answer["process"] for answer in answers}) == is_loaded_before
        by_process: dict[int, set[int]] = {pid: set(made["backends"]) for pid, made in makers.items()}
        for answer in answers:
            by_process.setdefault(answer["process"], set()).update(answer["backends"])
        used = [backend for backends in by_process.values() for backend in backends]
        assert len(used) == len(set(used))
        assert bool(used) == migrated_url.startswith("postgresql")
    engine = sa.create_engine(migrated_url)
    with engine.connect() as connection:
        there = set(map(str, connection.scalars(sa.select(runs.c.id))))
    engine.dispose()
    assert there >= {answer["run"] for answer in answers} | {made["run"] for made in makers.values()}
    assert "Traceback" not in log.read_text()
