"""Runs under fire: `python -m tests.chaos`. Real processes and a real server, killed and restarted at random.

Ends with a report, and with exit code 1 where anything is not as it must be.
"""

from __future__ import annotations

import argparse
import os
import random
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import psycopg
import sqlalchemy as sa
from procrastinate.schema import SchemaManager
from psycopg import Connection

from tests import postgres
from tests.databases import create_tables

from . import records
from .executors import EXECUTORS, SEED
from .fleet import FLASK, ROOT, Fleet, fleet, roles
from .people import People
from .reckoning import Reckoning, reckon
from .shop import CLAIM_TIMEOUT, EXECUTOR, create_app

HONEST: Final = {"max_connections": "200", "shared_buffers": "64MB"}
KILLS: Final = 30
RESTARTS_AT: Final = (0.33, 0.66)
TROUBLES: Final = ("freeze", "read-only", "cut", "disk full")
TROUBLE_SECONDS: Final = 2.5
CALM_FROM: Final = 0.95
LOOK: Final = 0.1
LATEST_TAKEOVER: Final = 1.5
"""Of a claim timeout."""

_UNFINISHED: Final = """
SELECT count(*) FROM squidmesh_runs WHERE finished_at IS NULL OR compensation IN ('running', 'requested')
"""
_LEFT_BEHIND: Final = """
SELECT s.id, s.attempts FROM squidmesh_dispatches d JOIN squidmesh_step_runs s ON s.id = d.step_run_id
WHERE d.claim_id IS NOT NULL AND d.claimed_by LIKE %(worker)s
"""
_CUT_ALL: Final = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
_DISK_FULL: Final = """
CREATE FUNCTION chaos_refuse() RETURNS trigger LANGUAGE plpgsql AS
$$BEGIN RAISE EXCEPTION 'no space left on device' USING ERRCODE = '53100'; END$$;
CREATE TRIGGER chaos_refuse BEFORE UPDATE ON squidmesh_step_runs FOR EACH STATEMENT EXECUTE FUNCTION chaos_refuse()
"""
_TAKEN_OVER: Final = """
SELECT extract(epoch FROM lost.finished_at)::float, extract(epoch FROM next.started_at)::float
FROM squidmesh_attempts lost JOIN squidmesh_step_runs visit ON visit.id = lost.step_run_id
LEFT JOIN squidmesh_attempts next ON next.step_run_id = lost.step_run_id AND next.number = lost.number + 1
    AND NOT coalesce((visit.settings->>'irreversible')::boolean, false)
WHERE lost.step_run_id = %(id)s AND lost.number = %(number)s AND lost.status = 'abandoned'
"""


class Trial:
    """One trial from its start to its end, and what was done to it."""

    def __init__(self, asked: argparse.Namespace, server: postgres.Server, people: People, processes: Fleet) -> None:
        self._asked, self._server, self._people, self._processes = asked, server, people, processes
        self._chosen = random.Random(f"{asked.seed} mischief")
        self._connection: Connection[Any] | None = None
        self._marks = sorted(self._chosen.uniform(0.01, CALM_FROM) for _ in range(KILLS))
        self._troubles = list(zip(sorted(self._chosen.uniform(0.05, 0.9) for _ in TROUBLES), TROUBLES, strict=True))
        self._killed_at = 0.0
        self.troubled: list[tuple[float, float]] = []
        self.began = time.monotonic()
        self.kills = self.restarts = self.died = 0
        self.left_behind: list[tuple[str, int, float]] = []

    def go_on(self) -> bool:
        """Do mischief until everything is done. Answer whether it was done in time."""
        while time.monotonic() - self.began < self._asked.seconds:
            try:
                if self._step():
                    return True
            except psycopg.OperationalError:
                self._connection = None
            time.sleep(LOOK)
        return False

    def had_worker(self, since: float, until: float) -> bool:
        """Whether a worker lived from the one moment to the other."""
        return self._processes.had_worker(since, until)

    def ask(self, statement: str, values: dict[str, Any] | None = None) -> list[Any]:
        """Query the database."""
        if self._connection is None:
            self._connection = records.connect(self._server.url)
        return self._connection.execute(statement, values).fetchall()

    def _step(self) -> bool:
        unfinished = self.ask(_UNFINISHED)[0][0]
        done = (self._people.started - unfinished) / self._asked.runs
        if self._people.have_started_all and not unfinished:
            return True
        if not self._asked.database_stays and self.restarts < len(RESTARTS_AT) and done >= RESTARTS_AT[self.restarts]:
            self._restart()
        elif not self._asked.database_stays and self._troubles and done >= self._troubles[0][0]:
            self._trouble(self._troubles.pop(0)[1])
        elif self._marks and done >= self._marks[0] and time.time() - self._killed_at > self._asked.between_kills:
            self._marks.pop(0)
            self._kill()
        self._replace_dead()
        return False

    def _kill(self) -> None:
        pid = self._processes.kill_one(self._chosen)
        self._killed_at = time.time()
        self.kills += 1
        for step_run_id, number in self.ask(_LEFT_BEHIND, {"worker": f"%:{pid}:%"}):
            self.left_behind.append((step_run_id, number, self._killed_at))

    def _trouble(self, kind: str) -> None:
        """Keep the database from answering or writing for a while, or cut off everybody at once."""
        began = time.time()
        if kind == "freeze":
            self._server.freeze()
            time.sleep(TROUBLE_SECONDS)
            self._server.thaw()
        elif kind == "cut":
            self.ask(_CUT_ALL)
        elif kind == "read-only":
            self._say("ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()")
            time.sleep(TROUBLE_SECONDS)
            self._say("ALTER SYSTEM RESET default_transaction_read_only", "SELECT pg_reload_conf()")
        else:
            self._say(_DISK_FULL)
            time.sleep(TROUBLE_SECONDS)
            self._say("DROP FUNCTION chaos_refuse CASCADE")
        self.troubled.append((began, time.time()))

    def _say(self, *statements: str) -> None:
        """Over a connection that may always write."""
        address = sa.make_url(self._server.url).set(drivername="postgresql").render_as_string(hide_password=False)
        options = "-c default_transaction_read_only=off"
        with psycopg.connect(address, autocommit=True, options=options) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def _restart(self) -> None:
        began = time.time()
        self._server.stop_immediately()
        self._server.start()
        self.restarts += 1
        self.troubled.append((began, time.time()))
        self._connection = None

    def _replace_dead(self) -> None:
        self.died += self._processes.replace_dead()


def main(words: Sequence[str]) -> int:
    """Run the trial that the words ask for, and answer the exit code."""
    asked = _asked(words)
    print(f"seed {asked.seed}, executor {asked.executor}, {asked.runs} runs", flush=True)
    binaries = postgres.find_binaries()
    if binaries is None:
        sys.exit(postgres.HOW_TO_GET)
    with (
        tempfile.TemporaryDirectory(prefix="squidmesh-chaos-") as folder,
        postgres.running_server(binaries, HONEST) as server,
    ):
        create_tables(server.url)
        with records.connect(server.url) as connection:
            connection.execute(records.CREATE)
            if asked.executor == "procrastinate":
                connection.execute(SchemaManager.get_schema())
        environment = {
            records.URL: server.url,
            SEED: asked.seed,
            EXECUTOR: asked.executor,
            CLAIM_TIMEOUT: str(asked.claim_timeout),
        }
        return _tried(asked, server, environment, Path(asked.log or Path(folder) / "log"))


def _asked(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", default=secrets.token_hex(3), help="decides all that is left to chance")
    parser.add_argument("--executor", choices=tuple(EXECUTORS), default="database")
    parser.add_argument("--runs", type=int, default=2_000)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--threads", type=int, default=4, help="of each worker")
    parser.add_argument("--claim-timeout", type=float, default=6.0, help="SQUIDMESH_CLAIM_TIMEOUT in seconds")
    parser.add_argument("--seconds", type=float, default=280.0, help="after which what is not done counts as hanging")
    parser.add_argument("--between-kills", type=float, default=4.0, help="seconds, at least")
    parser.add_argument("--database-stays", action="store_true", help="only workers are killed")
    parser.add_argument("--log", help="a file for what the processes print")
    return parser.parse_args(words)


def _tried(asked: argparse.Namespace, server: postgres.Server, environment: dict[str, str], log: Path) -> int:
    os.environ.update(environment)
    people = People(create_app(), asked.runs, asked.seed)
    with fleet(roles(asked.executor, asked.workers, asked.threads), environment, log) as processes:
        trial = Trial(asked, server, people, processes)
        people.begin()
        in_time = trial.go_on()
        people.stop()
    seconds = time.monotonic() - trial.began
    doctor = subprocess.run((*FLASK, "doctor"), cwd=ROOT, env={**os.environ}, capture_output=True, text=True)
    with records.connect(server.url) as connection:
        found = reckon(connection, people.started)
    return _report(asked, trial, people, found, in_time, seconds, doctor)


def _report(
    asked: argparse.Namespace,
    trial: Trial,
    people: People,
    found: Reckoning,
    in_time: bool,
    seconds: float,
    doctor: subprocess.CompletedProcess[str],
) -> int:
    mischief = dict(trial.ask("SELECT what, count(*) FROM chaos_mischief GROUP BY what"))
    taken = _takeovers(trial)
    settled = [(killed_at, ended_at - killed_at) for killed_at, ended_at, _ in taken]
    again = [(killed_at, begun_at - killed_at) for killed_at, _, begun_at in taken if begun_at is not None]
    hanging = 0 if in_time else trial.ask(_UNFINISHED)[0][0]
    lines = {
        "runs": f"{found.runs} of {asked.runs}, {hanging} hanging, {len(found.misplaced)} not where they must be",
        "processes killed": f"{trial.kills} by SIGKILL, {len(trial.left_behind)} claims left behind",
        "processes that ended by themselves": str(trial.died),
        "PostgreSQL restarted": f"{trial.restarts} times, immediate mode",
        "jobs": f"{mischief.get('duplicated', 0)} duplicated, {mischief.get('dropped', 0)} dropped",
        "decisions": ", ".join(f"{call} {times}" for call, times in sorted(people.decided.items())),
        "attempts abandoned": str(found.abandoned),
        "effects": f"{found.effects}, {found.repeated} of them repeated because their attempt was abandoned",
        "effects lost": str(len(found.lost)),
        "effects doubled beyond policy": str(len(found.doubled)),
        "SIGKILL to takeover": _spread(settled, asked.claim_timeout),
        "  while database and worker stayed": _spread(_undisturbed(trial, settled, asked), asked.claim_timeout),
        "SIGKILL to the next attempt": _spread(again, asked.claim_timeout),
        "  while both stayed": _spread(_undisturbed(trial, again, asked), asked.claim_timeout),
        "database frozen, read-only, cut, full": f"{len(trial.troubled) - trial.restarts} times",
        "flask squidmesh doctor": f"exit code {doctor.returncode}",
        "duration": f"{seconds:.0f} s",
        "seed": asked.seed,
    }
    print()
    for name, value in lines.items():
        print(f"{name:36} {value}")
    faults = [*found.misplaced, *found.lost, *found.doubled, *people.faults]
    for fault in faults[:40]:
        print(f"  WRONG: {fault}")
    if doctor.returncode:
        print(doctor.stdout, doctor.stderr)
    return 0 if in_time and not faults and not doctor.returncode else 1


def _undisturbed(
    trial: Trial, taken: Sequence[tuple[float, float]], asked: argparse.Namespace
) -> list[tuple[float, float]]:
    """Without those that were killed, or waited, within a claim timeout of trouble with the database, and where no
    worker lived that was at work for a claim timeout before and so long after that it had to take over."""
    timeout = asked.claim_timeout
    return [
        (killed_at, seconds)
        for killed_at, seconds in taken
        if not any(began < killed_at + seconds and ended > killed_at - timeout for began, ended in trial.troubled)
        and trial.had_worker(killed_at - timeout, killed_at + min(seconds, timeout * LATEST_TAKEOVER))
    ]


def _takeovers(trial: Trial) -> list[tuple[float, float, float | None]]:
    """When a process was killed, when an attempt that it left behind was given up, and when the next one began, if it
    did: after an irreversible step a person is asked."""
    found = []
    for step_run_id, number, killed_at in trial.left_behind:
        rows = trial.ask(_TAKEN_OVER, {"id": step_run_id, "number": number})
        found += [(killed_at, given_up_at, begun_at) for given_up_at, begun_at in rows]
    return found


def _spread(measured: Sequence[tuple[float, float]], timeout: float) -> str:
    if not measured:
        return "nothing was left behind"
    taken = [seconds for _, seconds in measured]
    median = statistics.median(taken)
    return f"{len(taken)}: median {median:.1f} s, worst {max(taken):.1f} s, at a claim timeout of {timeout:.0f} s"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
