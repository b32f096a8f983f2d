"""The processes that do the work, killed at random and replaced."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
FLASK: Final = (sys.executable, "-W", "ignore", "-m", "flask", "--app", "tests.chaos.shop", "squidmesh")
SERVE: Final = (sys.executable, "-W", "ignore", "-m", "tests.chaos.serve")


def commands(executor: str, workers: int, threads: int) -> Sequence[Sequence[str]]:
    """What runs beside each other: so many workers, and whoever repeats jobs or relays them."""
    if executor == "database":
        return [(*FLASK, "worker", "--threads", str(threads))] * workers + [(*SERVE, "1")]
    return [(*SERVE, str(threads))] * workers + [(*FLASK, "relay", "--every", "1")]


@dataclass
class Member:
    """A process, and the command that replaces it."""

    command: Sequence[str]
    process: subprocess.Popen[bytes]

    @property
    def pid(self) -> int:
        return self.process.pid


class Fleet:
    """All processes. Their output is in one file, for whoever looks into a failure."""

    def __init__(self, wanted: Sequence[Sequence[str]], environment: Mapping[str, str], log: Path) -> None:
        self._environment = {**os.environ, **environment, "PYTHONPATH": str(ROOT)}
        self._log = log.open("wb")
        self.members = [self._begin(command) for command in wanted]

    def kill_one(self, chosen: random.Random) -> int:
        """Kill a process and start another; return the id of the one that was killed."""
        member = chosen.choice(self.members)
        member.process.kill()
        member.process.wait()
        self.members[self.members.index(member)] = self._begin(member.command)
        return member.pid

    def replace_dead(self) -> int:
        """Start those anew that ended although nobody killed them; return how many there were."""
        dead = [member for member in self.members if member.process.poll() is not None]
        for member in dead:
            self.members[self.members.index(member)] = self._begin(member.command)
        return len(dead)

    def close(self) -> None:
        for member in self.members:
            member.process.kill()
            member.process.wait()
        self._log.close()

    def _begin(self, command: Sequence[str]) -> Member:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=self._environment,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
        )
        return Member(command=command, process=process)


@contextmanager
def fleet(wanted: Sequence[Sequence[str]], environment: Mapping[str, str], log: Path) -> Iterator[Fleet]:
    """Run these processes, and end them afterwards."""
    running = Fleet(wanted, environment, log)
    try:
        yield running
    finally:
        running.close()
