"""App contexts of ours, at whose beginning and end the host's code is called."""

from __future__ import annotations

import logging
from types import TracebackType
from typing import Any

from flask import Flask

from .error_records import log_error, safely
from .interrupts import let_ctrl_c_through

logger = logging.getLogger("flask_squidmesh")


class OwnContext:
    """An app context, with a database session of its own.

    What the host's functions raise at its end is logged, and nothing more: what was done in it is done. Where they
    raise at its beginning, so does the `with` statement, and no context is left.
    """

    def __init__(self, app: Flask) -> None:
        self._app, self._context = app, app.app_context()

    def __enter__(self) -> None:
        try:
            self._context.__enter__()
        except BaseException:
            safely(lambda: self._context.__exit__(None, None, None), None)
            raise

    def __exit__(
        self, _type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._context.__exit__(_type, error, trace)
        except BaseException as raised:
            if raised is error:
                return
            safely(self._drop_session, None)
            let_ctrl_c_through(raised)
            log_error(logger, raised, "squidmesh: the end of an app context of %s raised", self._app.name)

    def _drop_session(self) -> None:
        """Give back the connection of a session that the host's functions kept from being removed."""
        sessions: Any = self._app.extensions["sqlalchemy"].session.registry
        session = sessions.registry.pop(id(self._context), None)
        if session is not None:
            session.close()
