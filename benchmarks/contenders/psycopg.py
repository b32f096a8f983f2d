"""The limit: single-statement INSERTs of a row of 200 bytes through psycopg, in autocommit, so that each is a commit.
The chain has one connection; the chains and the one-step runs have eight, each in a thread of its own.
"""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack
from typing import Final

import psycopg

from .answering import Answer, Task, answer
from .counting import counted

STEPS: Final = 10
WARM_UPS: Final = 50
ROW: Final = "x" * 200

_TABLE = "CREATE TABLE step (id bigserial PRIMARY KEY, payload text)"
_INSERT = "INSERT INTO step (payload) VALUES (%s)"


def chain(task: Task) -> Answer:
    """As many commits as there are steps, on one connection."""
    return _committed(task, connections=1, commits=task.size * STEPS)


def chains(task: Task) -> Answer:
    """As many commits as there are steps, on eight connections."""
    return _committed(task, connections=task.threads, commits=task.size * STEPS)


def singles(task: Task) -> Answer:
    """As many commits as there are runs, on eight connections."""
    return _committed(task, connections=task.threads, commits=task.size)


def start(task: Task) -> Answer:
    """The time of each commit."""
    with psycopg.connect(task.database, autocommit=True) as connection:
        connection.execute(_TABLE)
        _insert(connection, WARM_UPS)
        samples = list[float]()
        for _ in range(task.size):
            begun = time.perf_counter()
            _insert(connection, 1)
            samples.append(time.perf_counter() - begun)
    return {"samples": samples}


def _committed(task: Task, *, connections: int, commits: int) -> Answer:
    with ExitStack() as stack:
        opened = [stack.enter_context(psycopg.connect(task.database, autocommit=True)) for _ in range(connections)]
        opened[0].execute(_TABLE)
        for connection in opened:
            _insert(connection, WARM_UPS)
        with counted(task.database) as counts:
            threads = [threading.Thread(target=_insert, args=(each, commits // connections)) for each in opened]
            begun = time.perf_counter()
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            seconds = time.perf_counter() - begun
            stack.close()
    return {"seconds": seconds, "units": commits // connections * connections, **counts.figures}


def _insert(connection: psycopg.Connection, rows: int) -> None:
    for _ in range(rows):
        connection.execute(_INSERT, (ROW,))


if __name__ == "__main__":
    answer({"chain": chain, "chains": chains, "singles": singles, "start": start})
