"""What a worker process of the example app takes of memory while it performs many runs."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Final

import psycopg
from psycopg import sql

from ..answering import Answer, Task

FLASK: Final = (sys.executable, "-m", "flask", "--app", "example_app")
BATCHES: Final = 10
PATIENCE_SECONDS: Final = 600.0
POLL_SECONDS: Final = 0.5
KIB: Final = 1024

TEMPLATES: Final = ("squidmesh_runs", "squidmesh_step_runs", "squidmesh_dispatches")


def memory(task: Task) -> Answer:
    """Have the example app's worker perform so many runs of its smallest workflow, in ten batches."""
    environment = os.environ | {"DATABASE_URL": task.database, "SQUIDMESH_EXECUTOR": "database"}
    subprocess.run([*FLASK, "db", "upgrade"], env=environment, stdout=sys.stderr, check=True)
    with psycopg.connect(task.database, autocommit=True) as connection:
        _keep_template(connection, task.database)
        with _worker(environment, task.threads) as worker:
            samples = []
            for _ in range(BATCHES):
                _add_runs(connection, task.size // BATCHES)
                _wait_until_drained(connection, worker)
                samples.append(_resident_mib(worker.pid, "VmRSS"))
            most = _resident_mib(worker.pid, "VmHWM")
    return {
        "resident_mib": samples,
        "first_mib": samples[0],
        "last_mib": samples[-1],
        "most_mib": most,
        "growth": median(samples[-3:]) / median(samples[1:4]),
    }


def _keep_template(connection: psycopg.Connection, url: str) -> None:
    """Start one run and keep its rows apart, to make copies of."""
    os.environ["DATABASE_URL"] = url
    from example_app import create_app
    from example_app.extensions import mesh

    app = create_app()
    with app.app_context():
        mesh.start_run("local_ledger_checkout", {"account_id": "a-1"}, actor="benchmark")
        app.extensions["sqlalchemy"].engine.dispose()
    for table in TEMPLATES:
        connection.execute(
            sql.SQL("CREATE TEMPORARY TABLE {} AS SELECT * FROM {}").format(_template(table), sql.Identifier(table))
        )


def _add_runs(connection: psycopg.Connection, number: int) -> None:
    """Copy the template so many times, each copy due a moment after the one before."""
    ids = {"squidmesh_runs": {"id": "run_id"}, "squidmesh_step_runs": {"id": "step_run_id", "run_id": "run_id"}}
    ids["squidmesh_dispatches"] = {"id": "dispatch_id", "run_id": "run_id", "step_run_id": "step_run_id"}
    with connection.transaction():
        connection.execute("DROP TABLE IF EXISTS copies")
        connection.execute(_COPIES, (number,))
        for table in TEMPLATES:
            _copy(connection, table, ids[table])
        connection.execute("SELECT pg_notify('squidmesh', 'squidmesh')")


_COPIES = """
    CREATE TEMPORARY TABLE copies AS
    SELECT gen_random_uuid() AS run_id, gen_random_uuid() AS step_run_id, gen_random_uuid() AS dispatch_id,
        number * interval '1 microsecond' AS later
    FROM generate_series(1, %s) AS number
"""


def _copy(connection: psycopg.Connection, table: str, ids: Mapping[str, str]) -> None:
    columns = [
        column.name
        for column in connection.execute(sql.SQL("SELECT * FROM {} LIMIT 0").format(_template(table))).description or ()
    ]
    query = sql.SQL("INSERT INTO {} ({}) SELECT {} FROM copies, {} AS template ORDER BY later").format(
        sql.Identifier(table),
        sql.SQL(", ").join(map(sql.Identifier, columns)),
        sql.SQL(", ").join(_value(column, ids) for column in columns),
        _template(table),
    )
    connection.execute(query)


def _value(column: str, ids: Mapping[str, str]) -> sql.Composable:
    if column in ids:
        return sql.Identifier("copies", ids[column])
    value = sql.Identifier("template", column)
    if column in ("due_at", "relay_at", "created_at"):
        return sql.SQL("{} + (now() - template.created_at) + later").format(value)
    return value


def _template(table: str) -> sql.Identifier:
    return sql.Identifier(f"template_of_{table}")


@contextmanager
def _worker(environment: Mapping[str, str], threads: int) -> Iterator[subprocess.Popen[bytes]]:
    command = [*FLASK, "squidmesh", "worker", "--threads", str(threads)]
    worker = subprocess.Popen(command, env=dict(environment), stdout=sys.stderr)
    try:
        yield worker
    finally:
        worker.kill()
        worker.wait()


def _wait_until_drained(connection: psycopg.Connection, worker: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while _waiting(connection):
        if worker.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"The worker left {_waiting(connection)} steps undone.")
        time.sleep(POLL_SECONDS)


def _waiting(connection: psycopg.Connection) -> int:
    [number] = connection.execute("SELECT count(*) FROM squidmesh_dispatches").fetchone() or (0,)
    return int(number)


def _resident_mib(pid: int, name: str) -> float:
    """Of a process, in mebibytes: `VmRSS` now, `VmHWM` at most so far."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    [kib] = (line.split()[1] for line in lines if line.startswith(f"{name}:"))
    return int(kib) / KIB
