"""What happens to the runtimes of a process when it forks, whoever forks it."""

from __future__ import annotations

import logging
import os
import select
import threading
from collections.abc import Callable
from typing import Final, Protocol
from weakref import WeakSet

PATIENCE_SECONDS: Final = 2.0

logger = logging.getLogger("flask_squidmesh")


class Forkable(Protocol):
    """What has something that a fork must not take along."""

    def hold_still(self, patience: float) -> None:
        """The process is about to fork: wait so many seconds at most until it may."""

    def go_on(self) -> None:
        """The process has forked off another."""

    def forked(self) -> None:
        """Begin anew in a process that was forked off."""


_followers: WeakSet[Forkable] = WeakSet()


class _Fork(threading.local):
    """The fork that a thread is at. Both processes find it after the fork, as both go on in that thread.

    heard, told: the ends of a pipe through which the child tells that it holds the locks it has to hold, so that the
    parent closes nothing before.
    """

    heard: int
    told: int

    def __init__(self) -> None:
        self.followers: list[Forkable] = []  # uWSGI can tell a child of a fork that nobody was told of before


_fork = _Fork()


def follow(follower: Forkable) -> None:
    """Tell it of each fork of this process, for as long as it is in use."""
    _followers.add(follower)


def _before() -> None:
    _fork.followers = list(_followers)
    if _fork.followers:
        _fork.heard, _fork.told = os.pipe()
    _each(lambda follower: follower.hold_still(PATIENCE_SECONDS))


def _in_parent() -> None:
    if _fork.followers:
        os.close(_fork.told)
        select.select([_fork.heard], [], [], PATIENCE_SECONDS)
        os.close(_fork.heard)
    _each(lambda follower: follower.go_on())
    _fork.followers = []


def _in_child() -> None:
    _each(lambda follower: follower.forked())
    if _fork.followers:
        os.write(_fork.told, b".")
        os.close(_fork.told)
        os.close(_fork.heard)
    _fork.followers = []


def _each(act: Callable[[Forkable], None]) -> None:
    for follower in _fork.followers:
        try:
            act(follower)
        except Exception:  # a fork is not to fail
            logger.exception("squidmesh: an app could not be prepared for a fork")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
