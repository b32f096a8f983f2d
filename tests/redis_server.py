"""A throw-away Redis server."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

import redis

from tests.children import die_with_parent, free_port

HOW_TO_GET = "Redis is missing: install your system's server package (Debian: apt-get install redis-server)"
START_SECONDS = 30


def find_server() -> str | None:
    """The path of `redis-server`; None where there is none."""
    return shutil.which("redis-server")


@contextmanager
def running_redis(server: str) -> Iterator[str]:
    """Run a server of our own, which writes nothing to disk, and yield its URL. It stops with this process.

    Call it from the main thread.

    :param server: What `find_server` answered.
    :raises RuntimeError: The server did not come up; the message is what it said.
    """
    port = free_port()
    command = [server, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    with tempfile.TemporaryDirectory(prefix="squidmesh-redis-") as home, tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(command, cwd=home, stdout=said, stderr=said, preexec_fn=die_with_parent)
        try:
            if not _answers(process, port):
                said.seek(0)
                raise RuntimeError(f"Redis did not start:\n{said.read()}")
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            process.kill()
            process.wait(120)


def _answers(process: subprocess.Popen[bytes], port: int) -> bool:
    deadline = time.monotonic() + START_SECONDS
    with closing(redis.Redis(port=port)) as client:
        while process.poll() is None and time.monotonic() < deadline:
            try:
                return bool(client.ping())
            except redis.ConnectionError:
                time.sleep(0.02)
    return False
