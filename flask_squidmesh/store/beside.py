"""An engine that is the host's in everything but its pool."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.engine.base import OptionEngine


class Beside(OptionEngine):
    """Connects as the host's engine does, with its dialect, options and listeners, but keeps connections of its own.

    So it gets one, however many of the host's are taken.
    """

    def __init__(self, host: sa.Engine) -> None:
        self._own_pool = host.pool.recreate()
        super().__init__(host, {})

    @property
    def pool(self) -> sa.Pool:
        """The pool of its own."""
        return self._own_pool

    @pool.setter
    def pool(self, pool: sa.Pool) -> None:
        self._own_pool = pool
