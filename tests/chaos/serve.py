"""A worker of the toy queue: takes jobs off, in any order, and performs them. `python -m tests.chaos.serve`."""

from __future__ import annotations

import logging
import sys
import threading
import time
from typing import Any, Final

import psycopg
import sqlalchemy as sa
from flask import Flask

from . import records
from .shop import create_app

PAUSE: Final = 0.05

_TAKE = """
DELETE FROM chaos_jobs WHERE id = (
    SELECT id FROM chaos_jobs WHERE due_at <= clock_timestamp() ORDER BY random() LIMIT 1 FOR UPDATE SKIP LOCKED
) RETURNING payload
"""

logger = logging.getLogger("chaos")


def serve(app: Flask) -> None:
    """Perform jobs until the process dies. A job whose performance fails is gone."""
    while True:
        try:
            job = records.execute(_TAKE, {})
            if job:
                _perform(app, job[0][0])
            else:
                time.sleep(PAUSE)
        except (psycopg.OperationalError, sa.exc.DBAPIError) as error:
            logger.warning("the database is away (%s)", type(error).__name__)
            time.sleep(PAUSE * 4)


def _perform(app: Flask, payload: Any) -> None:
    with app.app_context():
        app.extensions["squidmesh"].perform(payload)


def main(threads: int) -> None:
    """Serve with so many threads."""
    app = create_app()
    others = [threading.Thread(target=serve, args=(app,), daemon=True) for _ in range(threads - 1)]
    for other in others:
        other.start()
    serve(app)


if __name__ == "__main__":
    main(int(sys.argv[1]))
