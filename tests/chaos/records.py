"""The tables of the trial's own: what was done, what was booked, what the toy queue holds, what was done to it."""

from __future__ import annotations

import os
import threading
from typing import Any, Final

import psycopg
from sqlalchemy import make_url

URL: Final = "CHAOS_URL"

CREATE: Final = """
CREATE TABLE chaos_effects (
    run_id text NOT NULL, kind text NOT NULL, step text NOT NULL, visit integer NOT NULL, attempt integer NOT NULL,
    key text NOT NULL, policy text NOT NULL, at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX ON chaos_effects (run_id, step);
CREATE TABLE chaos_bookings (run_id text NOT NULL, step text NOT NULL, visit integer NOT NULL);
CREATE TABLE chaos_jobs (id bigserial PRIMARY KEY, payload jsonb NOT NULL, due_at timestamptz NOT NULL);
CREATE INDEX ON chaos_jobs (due_at);
CREATE TABLE chaos_mischief (what text NOT NULL, at timestamptz NOT NULL DEFAULT clock_timestamp());
"""

_open = threading.local()


def connect(url: str) -> psycopg.Connection[Any]:
    """A connection of its own, which commits every statement."""
    plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    return psycopg.connect(plain, autocommit=True)


def execute(statement: str, values: dict[str, Any]) -> list[Any]:
    """Execute and commit on this thread's own connection, and return the rows, if any.

    Raises psycopg.OperationalError where the server is away; then nobody knows whether it was done.
    """
    connection = getattr(_open, "connection", None)
    if connection is None or connection.closed:
        connection = _open.connection = connect(os.environ[URL])
    try:
        cursor = connection.execute(statement, values)
        return cursor.fetchall() if cursor.description else []
    except psycopg.OperationalError:
        connection.close()
        raise
