"""What happens to the runtimes of a process when it forks, whoever forks it."""

from __future__ import annotations

import logging
import os
import select
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Final
from weakref import WeakSet

if TYPE_CHECKING:
    from .runtime import Runtime

PATIENCE_SECONDS: Final = 2.0

logger = logging.getLogger("flask_squidmesh")

_runtimes: WeakSet[Runtime] = WeakSet()


class _Fork(threading.local):
    """The fork that a thread is at. Both processes find it after the fork, as both go on in that thread.

    heard, told: the ends of a pipe through which the child tells that it holds the locks it has to hold, so that the
    parent closes nothing before.
    """

    heard: int
    told: int

    def __init__(self) -> None:
        self.runtimes: list[Runtime] = []  # uWSGI can tell a child of a fork that nobody was told of before


_fork = _Fork()


def follow(runtime: Runtime) -> None:
    """Tell the runtime of each fork of this process, for as long as it is in use."""
    _runtimes.add(runtime)


def _before() -> None:
    _fork.runtimes = list(_runtimes)
    if _fork.runtimes:
        _fork.heard, _fork.told = os.pipe()
    _each(lambda runtime: runtime.hold_still(PATIENCE_SECONDS))


def _in_parent() -> None:
    if _fork.runtimes:
        os.close(_fork.told)
        select.select([_fork.heard], [], [], PATIENCE_SECONDS)
        os.close(_fork.heard)
    _each(lambda runtime: runtime.go_on())
    _fork.runtimes = []


def _in_child() -> None:
    _each(lambda runtime: runtime.forked())
    if _fork.runtimes:
        os.write(_fork.told, b".")
        os.close(_fork.told)
        os.close(_fork.heard)
    _fork.runtimes = []


def _each(act: Callable[[Runtime], None]) -> None:
    for runtime in _fork.runtimes:
        try:
            act(runtime)
        except Exception:  # a fork is not to fail
            logger.exception("squidmesh: the app %s could not be prepared for a fork", runtime.app.name)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
