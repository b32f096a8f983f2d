"""The processes that do the work, killed at random and replaced."""

from __future__ import annotations

import math
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
RARELY: Final = 0.3
FLASK: Final = (sys.executable, "-W", "ignore", "-m", "flask", "--app", "tests.chaos.shop", "squidmesh")
PROCRASTINATE: Final = (
    *(sys.executable, "-W", "ignore", "-m", "procrastinate"),
    "--app=tests.chaos.procrastinate_worker.queue",
)
SERVE: Final = (sys.executable, "-W", "ignore", "-m", "tests.chaos.serve")


@dataclass(frozen=True)
class Role:
    """What a process is for. risk: how likely it is killed, beside a worker's 1."""

    command: tuple[str, ...]
    risk: float = 1.0


def roles(executor: str, workers: int, threads: int) -> list[Role]:
    """What runs beside each other: so many workers, and whoever repeats jobs or relays them."""
    match executor:
        case "database":
            return [Role((*FLASK, "worker", "--threads", str(threads)))] * workers + [Role((*SERVE, "1"), RARELY)]
        case "procrastinate":
            return [Role((*PROCRASTINATE, "worker", "--concurrency", str(threads)))] * workers
    return [Role((*SERVE, str(threads)))] * workers + [Role((*FLASK, "relay", "--every", "1"), RARELY)]


@dataclass
class Member:
    """A process, and what it is for."""

    role: Role
    process: subprocess.Popen[bytes]
    began_at: float = field(default_factory=time.time)
    ended_at: float = math.inf


class Fleet:
    """All processes. Their output is in one file, for whoever looks into a failure."""

    def __init__(self, wanted: Sequence[Role], environment: Mapping[str, str], log: Path) -> None:
        self._environment = {**os.environ, **environment, "PYTHONPATH": str(ROOT)}
        self._log = log.open("wb")
        self.members = [self._begin(role) for role in wanted]
        self._gone: list[Member] = []

    def kill_one(self, chosen: random.Random) -> int:
        """Kill a process and start another; return the id of the one that was killed."""
        [member] = chosen.choices(self.members, [member.role.risk for member in self.members])
        member.process.kill()
        member.process.wait()
        self._replace(member)
        return member.process.pid

    def replace_dead(self) -> int:
        """Start those anew that ended although nobody killed them; return how many there were."""
        dead = [member for member in self.members if member.process.poll() is not None]
        for member in dead:
            self._replace(member)
        return len(dead)

    def had_worker(self, since: float, until: float) -> bool:
        """Whether a worker lived from the one moment to the other."""
        everybody = [member for member in (*self.members, *self._gone) if member.role.risk == 1.0]
        return any(member.began_at <= since and until <= member.ended_at for member in everybody)

    def close(self) -> None:
        for member in self.members:
            member.process.kill()
            member.process.wait()
        self._log.close()

    def _replace(self, member: Member) -> None:
        member.ended_at = time.time()
        self._gone.append(member)
        self.members[self.members.index(member)] = self._begin(member.role)

    def _begin(self, role: Role) -> Member:
        process = subprocess.Popen(
            role.command,
            cwd=ROOT,
            env=self._environment,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
        )
        return Member(role=role, process=process)


@contextmanager
def fleet(wanted: Sequence[Role], environment: Mapping[str, str], log: Path) -> Iterator[Fleet]:
    """Run these processes, and end them afterwards."""
    running = Fleet(wanted, environment, log)
    try:
        yield running
    finally:
        running.close()
