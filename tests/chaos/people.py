"""Whoever starts runs and decides: a web process with two threads, which tries again when the database is away."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import psycopg
import sqlalchemy as sa
from flask import Flask

from flask_squidmesh import ConflictError, RunSummary, SquidMesh, TransitionError
from flask_squidmesh.storage import tables

from . import records
from .shop import MESH
from .workflows import WORKFLOWS, is_approved

AWAY: Final = (sa.exc.DBAPIError, psycopg.OperationalError)
PAUSE: Final = 0.2
MOST_UNFINISHED: Final = 250

_EFFECT = """
SELECT key FROM chaos_effects
WHERE run_id = %(run_id)s AND step = %(step)s AND visit = %(visit)s AND policy = 'irreversible'
"""


class People:
    """Starts runs of mixed workflows and decides what is open, until it is told to stop. decided: by call."""

    def __init__(self, app: Flask, runs: int, seed: str) -> None:
        self._app, self._runs = app, runs
        self._mesh: SquidMesh = app.extensions[MESH]
        self._workflows = random.Random(f"{seed} people").choices(WORKFLOWS, k=runs)
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=each, daemon=True) for each in (self._start_all, self._decide_all)]
        self.started = 0
        self.decided: dict[str, int] = {}
        self.faults: list[str] = []

    @property
    def have_started_all(self) -> bool:
        return self.started == self._runs

    def begin(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(120)

    # -- starting ----------------------------------------------------------------------------------------------

    def _start_all(self) -> None:
        while not self._stopping.is_set() and not self.have_started_all:
            if self._insist(self._start_next):
                self.started += 1
            while self.started % 10 == 0 and not self._insist(self._check_backlog) and not self._stopping.is_set():
                self._stopping.wait(PAUSE)

    def _start_next(self) -> None:
        """The same run each time it is tried again."""
        number = self.started
        workflow = self._workflows[number]
        self._mesh.start_run(workflow, {"number": number}, idempotency_key=f"order {number}")

    def _check_backlog(self) -> None:
        with self._app.extensions["squidmesh"].database.read() as connection:
            unfinished = connection.scalar(sa.select(sa.func.count()).where(tables.runs.c.finished_at.is_(None))) or 0
        if unfinished > MOST_UNFINISHED:
            raise ConflictError(f"{unfinished} runs are unfinished")

    # -- deciding ----------------------------------------------------------------------------------------------

    def _decide_all(self) -> None:
        while not self._stopping.is_set():
            self._insist(self._decide_open)
            self._stopping.wait(PAUSE)

    def _decide_open(self) -> None:
        for kind in ("decision", "interrupted"):
            for run in self._mesh.list_runs(needs=kind, limit=100).runs:
                self._insist(partial(self._decide, run))

    def _decide(self, run: RunSummary) -> None:
        found = self._mesh.inspect_run(run.id, include_history=True)
        visit = next((row for row in found.step_runs or () if row.status == "paused"), None)
        if visit is None or found.needs is None:
            return
        if found.needs.kind == "decision":
            call = "approve_run" if is_approved(found.payload["number"]) else "reject_run"
            self._say(call, found)
            return
        values = {"run_id": run.id, "step": visit.step, "visit": visit.visit}
        effects = records.execute(_EFFECT, values)
        if effects:
            self._say("resolve_step", found, output={visit.step: effects[0][0]})
        else:
            self._say("retry_step", found)

    def _say(self, call: str, run: RunSummary, **options: Any) -> None:
        getattr(self._mesh, call)(run.id, actor="trial", idempotency_key=f"{call} {run.revision}", **options)
        self.decided[call] = self.decided.get(call, 0) + 1

    def _insist(self, deed: Callable[[], Any]) -> bool:
        """Do it; answer whether it was done, and wait a little where the database is away or somebody was faster."""
        try:
            with self._app.app_context():
                deed()
            return True
        except (*AWAY, ConflictError, TransitionError):
            time.sleep(PAUSE)
        except Exception as error:
            self.faults.append(f"{type(error).__name__}: {error}")
            time.sleep(PAUSE)
        return False
