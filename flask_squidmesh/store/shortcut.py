"""Whether statements may go to the database past SQLAlchemy: where nobody would miss them there."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from operator import attrgetter
from typing import Any, Final

import psycopg
import sqlalchemy as sa

OWN: Final = "squidmesh_own"
"""The execution option of an engine that we have made ourselves."""

_LISTENED: Final = (
    "engine_connect",
    "begin",
    "commit",
    "rollback",
    "before_execute",
    "after_execute",
    "before_cursor_execute",
    "after_cursor_execute",
)
_LISTENED_ON_DIALECT: Final = (
    "do_execute",
    "do_executemany",
    "do_execute_no_params",
    "do_setinputsizes",
    "handle_error",
)
_WITHOUT_EFFECT: Final = frozenset(
    {
        "compiled_cache",
        "insertmanyvalues_page_size",
        "max_row_buffer",
        "preserve_rowcount",
        "stream_results",
        "yield_per",
    }
)

_of_engine, _of_dialect = attrgetter(*_LISTENED), attrgetter(*_LISTENED_ON_DIALECT)


def is_open(target: sa.Engine | sa.Connection) -> bool:
    """Whether the shortcut may be taken: nothing would be passed by."""
    options = target.get_execution_options()
    if options.get(OWN):
        return True
    engine, dialect = _may_be_heard(target) or _may_be_heard(target.engine), _may_be_heard(target.dialect)
    heard = (engine and any(_of_engine(target.dispatch))) or (dialect and any(_of_dialect(target.dialect.dispatch)))
    return not heard and options.keys() <= _WITHOUT_EFFECT and not _is_logged(target)


def passed_by(target: sa.Engine | sa.Connection) -> list[str]:
    """What of the host's on this engine or connection statements would pass by, one phrase each; they go the ordinary
    way where there is anything."""
    return list(_passed_by(target))


def passes_driver_by(driver: Any) -> bool:
    """Whether the driver's connection, or the cursors that it makes, are not psycopg's own: a tracer's, say."""
    return type(driver) is not psycopg.Connection or driver.cursor_factory is not psycopg.Cursor


def _passed_by(target: sa.Engine | sa.Connection) -> Iterator[str]:
    options = target.get_execution_options()
    if options.get(OWN):
        return
    yield from (f"the execution option {name}" for name in options if name not in _WITHOUT_EFFECT)
    found = zip((*_LISTENED, *_LISTENED_ON_DIALECT), _listeners(target), strict=True)
    yield from (f"a listener to {name}" for name, listening in found if listening)
    if _is_logged(target):
        yield "the log of statements (echo)"


def _listeners(target: sa.Engine | sa.Connection) -> tuple[Any, ...]:
    return (*_of_engine(target.dispatch), *_of_dialect(target.dialect.dispatch))


def _may_be_heard(target: object) -> bool:
    """SQLAlchemy's own mark of what nobody listens to, which is quicker than asking for each event."""
    return getattr(target, "_has_events", True)


def _is_logged(target: sa.Engine | sa.Connection) -> bool:
    engine: Any = target.engine
    return bool(engine.logger.isEnabledFor(logging.INFO))
