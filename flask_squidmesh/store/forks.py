"""What a process that is forked off may not share with its parent: connections, and on SQLite the file's locks."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import unquote

import sqlalchemy as sa

if sys.platform != "win32":
    import fcntl

FILES_OF_PROCESS: Final = "/dev/fd"
SHARED_LOCK: Final = (510, 0x40000002)
DEAD_MAN_SWITCH: Final = (1, 128)
"""Length and place of the locks that SQLite holds on a file, and beside it on the index of its log, while a connection
is open (sqlite.org, os_unix.c)."""

logger = logging.getLogger("flask_squidmesh")

_left: list[Any] = []


class Gate:
    """Lets transactions through, but for the moment in which the process forks.

    A thread that is inside passes again, so that the one that forks may be.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside: Counter[int] = Counter()
        self._closed = 0

    def __enter__(self) -> None:
        me = threading.get_ident()
        with self._changed:
            self._changed.wait_for(lambda: not self._closed or self._inside[me])
            self._inside[me] += 1

    def __exit__(self, *_: object) -> None:
        me = threading.get_ident()
        with self._changed:
            self._inside[me] -= 1
            if not self._inside[me]:
                del self._inside[me]
                self._changed.notify_all()

    def close(self, patience: float) -> None:
        """Let nobody in, and wait so many seconds at most for the other threads that are inside."""
        me = threading.get_ident()
        with self._changed:
            self._closed += 1
            self._changed.wait_for(lambda: self._inside.keys() <= {me}, patience)

    def open(self) -> None:
        """Let everybody in again."""
        with self._changed:
            self._closed -= 1
            self._changed.notify_all()


def leave(engine: sa.Engine) -> None:
    """Leave an engine's connections to the process that this one was forked from, and begin with new ones.

    They are neither closed nor given to the garbage collector, as the parent goes on using them. A database in memory
    lives in its connection, and the child has a copy of both.
    """
    path = path_of(engine.url)
    if engine.dialect.name == "sqlite" and path is None:
        return
    _left.append(engine.pool)
    engine.dispose(close=False)
    if path is not None:
        _take_locks_anew(path)


def keep_for_parent(inherited: Any) -> None:
    """Keep what belongs to the parent from the garbage collector, which would close it."""
    _left.append(inherited)


def is_of_parent(connection: sa.Connection) -> bool:
    """Whether a connection was opened by the process that this one was forked from."""
    pool = getattr(connection.connection, "_pool", None)
    return any(pool is left for left in _left)


def path_of(url: sa.URL) -> str | None:
    """The SQLite file that the URL names; None where it names none."""
    name = url.database or ""
    if url.get_backend_name() != "sqlite" or not name or ":memory:" in name or url.query.get("mode") == "memory":
        return None
    return unquote(name.removeprefix("file:").partition("?")[0]) if name.startswith("file:") else name


def _take_locks_anew(path: str) -> None:
    """Take the locks that SQLite believes this process holds.

    A child inherits the memory in which SQLite counts the locks on each file, and not the locks. A new connection of
    the child would count on them too, and others could delete the log while the child writes to it.
    """
    log = list(_open_files(path + "-shm"))
    if not log:
        return
    try:
        for descriptor in list(_open_files(path))[:1]:
            fcntl.lockf(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB, *SHARED_LOCK)
        fcntl.lockf(log[0], fcntl.LOCK_SH | fcntl.LOCK_NB, *DEAD_MAN_SWITCH)
    except OSError as error:
        logger.critical(
            "squidmesh: process %d cannot lock %s, which was open when the process was forked off (%s). "
            "End its sessions before the fork, or start the process anew.",
            os.getpid(),
            path,
            error,
        )


def _open_files(path: str) -> Iterator[int]:
    """The descriptors under which this process has the file open."""
    try:
        wanted, listed = os.stat(path), os.listdir(FILES_OF_PROCESS)
    except OSError:
        return
    for name in listed:
        try:
            found = os.fstat(int(name))
        except OSError:  # that of the list itself
            continue
        if os.path.samestat(found, wanted):
            yield int(name)
