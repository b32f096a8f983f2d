"""Tables for a spreadsheet, however long they are."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from io import StringIO
from typing import Final

from flask import Response, stream_with_context

Row = Sequence[str]
CUT_SHORT: Final = "This file is not whole: the run store did not answer. Export it again."
_FORMULA: Final = re.compile(r"""(?:^|(?<=[;,|\t\r\n]))(?=[\s"'`]*[=+\-@＝＋－＠]|[\t\r])""")


def as_csv(name: str, columns: Row, pages: Iterable[Sequence[Row]]) -> Response:
    """A file of this name with a heading and the rows of all pages, sent as they are read.

    The first page is read at once, so that what stands in the way is told by a page and not by a broken file.
    """
    parts = _parts(columns, iter(pages))
    answer = Response(stream_with_context(_with_first(next(parts), parts)), mimetype="text/csv")
    answer.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return answer


def _parts(columns: Row, pages: Iterator[Sequence[Row]]) -> Iterator[str]:
    yield _lines([columns, *next(pages, ())])
    try:
        for page in pages:
            yield _lines(page)
    except Exception:
        yield _lines([[CUT_SHORT]])
        raise


def _with_first(first: str, others: Iterator[str]) -> Iterator[str]:
    yield first
    yield from others


def _lines(rows: Iterable[Row]) -> str:
    text = StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows([_harmless(cell) for cell in row] for row in rows)
    return text.getvalue()


def _harmless(cell: str) -> str:
    """Spreadsheets take for a formula what begins like one, also behind what they take for the end of a cell."""
    return _FORMULA.sub("'", cell)
