"""What the payment company remembers, in a SQLite file of its own."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

SCHEMA = """
CREATE TABLE IF NOT EXISTS mood (one INTEGER PRIMARY KEY CHECK (one = 1), mode TEXT NOT NULL, calls INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS requests (
    key TEXT PRIMARY KEY, kind TEXT NOT NULL, payment TEXT NOT NULL, reference TEXT NOT NULL, amount TEXT NOT NULL,
    status INTEGER NOT NULL, answer TEXT NOT NULL, asked INTEGER NOT NULL DEFAULT 1,
    at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP
);
CREATE TABLE IF NOT EXISTS callbacks (
    id TEXT PRIMARY KEY, reference TEXT NOT NULL, url TEXT NOT NULL, body TEXT NOT NULL,
    answers TEXT NOT NULL DEFAULT '', at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP
);
INSERT OR IGNORE INTO mood VALUES (1, 'fine', 0);
"""


class Records:
    """The company's mode and every request that it answered, found again by its idempotency key.

    :param file: The SQLite file; made when it is not there.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        file.parent.mkdir(parents=True, exist_ok=True)
        with self._open() as connection:
            connection.executescript(SCHEMA)

    def mood(self) -> dict[str, Any]:
        """The mode, and for how many calls more it lasts where it is `busy`."""
        with self._open() as connection:
            return dict(connection.execute("SELECT mode, calls FROM mood").fetchone())

    def set_mood(self, mode: str, calls: int) -> None:
        """Change the mode."""
        with self._open() as connection:
            connection.execute("UPDATE mood SET mode = ?, calls = ?", (mode, calls))

    def turned_away(self) -> bool:
        """Whether this call is refused as one too many. The last busy call brings the company back to `fine`."""
        with self._open() as connection:
            counted = connection.execute("UPDATE mood SET calls = calls - 1 WHERE mode = 'busy' AND calls > 0").rowcount
            connection.execute("UPDATE mood SET mode = 'fine' WHERE mode = 'busy' AND calls = 0")
            return counted == 1

    def remembered(self, key: str) -> tuple[dict[str, Any], int] | None:
        """What was answered to this key before, with the HTTP status; counts that it was asked again."""
        with self._open() as connection:
            connection.execute("UPDATE requests SET asked = asked + 1 WHERE key = ?", (key,))
            row = connection.execute("SELECT answer, status FROM requests WHERE key = ?", (key,)).fetchone()
            return (json.loads(row["answer"]), row["status"]) if row else None

    def remember(self, key: str, answer: Mapping[str, Any], status: int, **columns: str) -> None:
        """Keep an answer. Where two ask at once with one key, the first one's answer stays."""
        with self._open() as connection:
            connection.execute(
                "INSERT OR IGNORE INTO requests (key, kind, payment, reference, amount, status, answer)"
                " VALUES (:key, :kind, :payment, :reference, :amount, :status, :answer)",
                {**columns, "key": key, "status": status, "answer": json.dumps(answer)},
            )

    def payment(self, payment: str) -> dict[str, Any] | None:
        """What a payment was authorised for."""
        with self._open() as connection:
            row = connection.execute(
                "SELECT reference, amount FROM requests WHERE payment = ? AND kind = 'authorise'", (payment,)
            ).fetchone()
            return dict(row) if row else None

    def requests(self, reference: str | None = None) -> list[dict[str, Any]]:
        """The newest fifty requests, or those about one order."""
        with self._open() as connection:
            rows = connection.execute(
                "SELECT kind, payment, reference, amount, status, asked, at FROM requests"
                " WHERE reference = coalesce(?, reference) ORDER BY rowid DESC LIMIT 50",
                (reference,),
            )
            return [dict(row) for row in rows]

    def hold(self, id: str, reference: str, url: str, body: str) -> bool:
        """Keep a callback that is to be made; false where it was kept before."""
        with self._open() as connection:
            kept = connection.execute(
                "INSERT OR IGNORE INTO callbacks (id, reference, url, body) VALUES (?, ?, ?, ?)",
                (id, reference, url, body),
            )
            return kept.rowcount == 1

    def held(self, id: str) -> tuple[str, str]:
        """Where a callback goes, and its body.

        :raises LookupError: There is none with this id.
        """
        with self._open() as connection:
            row = connection.execute("SELECT url, body FROM callbacks WHERE id = ?", (id,)).fetchone()
        if row is None:
            raise LookupError(f"There is no callback {id!r}.")
        return row["url"], row["body"]

    def called(self, id: str, answer: str) -> None:
        """Keep what the shop answered to a callback, behind what it answered before."""
        with self._open() as connection:
            connection.execute("UPDATE callbacks SET answers = trim(answers || ' ' || ?) WHERE id = ?", (answer, id))

    def callbacks(self, reference: str | None = None) -> list[dict[str, Any]]:
        """The newest fifty callbacks, or those about one order, with the HTTP statuses that the shop answered."""
        with self._open() as connection:
            rows = connection.execute(
                "SELECT id, reference, answers, at FROM callbacks"
                " WHERE reference = coalesce(?, reference) ORDER BY rowid DESC LIMIT 50",
                (reference,),
            )
            return [{**row, "answers": row["answers"].split()} for row in rows]

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self._file, timeout=10)) as connection, connection:
            connection.row_factory = sqlite3.Row
            yield connection
