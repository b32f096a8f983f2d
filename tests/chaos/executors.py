"""Executors that lose and repeat what they are given."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Mapping
from typing import Any, Final

import sqlalchemy as sa
from flask import current_app

from flask_squidmesh import Executor
from flask_squidmesh.executor import Identified, Payload, Wake
from flask_squidmesh.integrations.database_executor import DatabaseExecutor
from flask_squidmesh.integrations.procrastinate import ProcrastinateExecutor

from . import records

SEED: Final = "CHAOS_SEED"
SHARE_DROPPED: Final = 0.05
SHARE_DUPLICATED: Final = 0.05

_ENQUEUE = """
INSERT INTO chaos_jobs (payload, due_at)
SELECT %(payload)s::jsonb, clock_timestamp() + make_interval(secs => %(seconds)s) FROM generate_series(1, %(copies)s)
"""
_TELL = "INSERT INTO chaos_mischief (what) VALUES (%(what)s)"
_TELL_WITHIN = sa.text("INSERT INTO chaos_mischief (what) VALUES (:what)")


class Dice:
    """Says how many copies of a job there are to be."""

    def __init__(self) -> None:
        self._random = random.Random(f"{os.environ[SEED]} {os.getpid()}")

    def copies(self) -> int:
        """Mostly one."""
        thrown = self._random.random()
        if thrown < SHARE_DROPPED:
            return 0
        return 2 if thrown < SHARE_DROPPED + SHARE_DUPLICATED else 1


class Notifications(DatabaseExecutor):
    """The executor `database`, some of whose notifications never come. A repeated one is a job besides: workers that
    serve the toy queue deliver what another one may be performing."""

    def __init__(self) -> None:
        self._dice = Dice()

    def wake(self, payload: Payload, *, schedule_in: float | None = None) -> Wake:
        copies = self._dice.copies()
        if copies != 1:
            records.execute(_TELL, {"what": "dropped" if copies == 0 else "duplicated"})
        if copies == 0:
            return Wake(metadata={"dropped": True})
        if copies == 2:
            records.execute(_ENQUEUE, {"payload": json.dumps(payload), "seconds": schedule_in or 0, "copies": 1})
        return super().wake(payload, schedule_in=schedule_in)


class Jobs(ProcrastinateExecutor):
    """The executor `procrastinate`, some of whose jobs are never queued, and some twice."""

    def __init__(self) -> None:
        super().__init__()
        self._dice = Dice()

    def enqueue_in(
        self, connection: sa.Connection, payload: Payload, *, schedule_in: float | None = None
    ) -> Mapping[str, Any]:
        copies = self._dice.copies()
        if copies != 1:
            connection.execute(_TELL_WITHIN, {"what": "dropped" if copies == 0 else "duplicated"})
        told = [super(Jobs, self).enqueue_in(connection, payload, schedule_in=schedule_in) for _ in range(copies)]
        return told[0] if told else {"dropped": True}


class ToyQueue(Executor):
    """A host's own queue: a table of jobs, taken in any order, which loses one in twenty and doubles another."""

    def __init__(self) -> None:
        self._dice = Dice()

    def enqueue(self, payload: Payload, *, schedule_in: float | None = None) -> Mapping[str, Any]:
        copies = self._dice.copies()
        if copies != 1:
            records.execute(_TELL, {"what": "dropped" if copies == 0 else "duplicated"})
        values = {"payload": json.dumps(payload), "seconds": schedule_in or 0, "copies": copies}
        records.execute(_ENQUEUE, values)
        return {"queue": current_app.name}

    def takes_over(self, run: Identified, step: str) -> bool:
        return True


EXECUTORS: Final[Mapping[str, Any]] = {"database": Notifications, "procrastinate": Jobs, "queue": ToyQueue}
