"""Keeping to SQUIDMESH_RETENTION: ended runs go a little at a time, beside the work."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Final

from ..engine.status import TERMINAL
from ..errors import UnknownWorkflowError
from ..store.pruning import Stretch
from ..workflow.registry import Registry
from .pruning import batches, forget_keys, stored_names

if TYPE_CHECKING:
    from .runtime import Runtime

BATCH: Final = 100
SECONDS: Final = 1.0
REST: Final = timedelta(minutes=5)

logger = logging.getLogger("flask_squidmesh")


class Retention:
    """Deletes what has been kept long enough.

    Two processes that do so at once are harmless: each passes over the runs that the other holds.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._sweep: Iterator[int] | None = None
        self._rests_until: datetime | None = None

    def keep(self, pause: Callable[[float], object] = time.sleep) -> int:
        """Delete for a second at most, going on where the last time ended, and return how many runs went.

        pause: waits so many seconds; between two batches as long as a batch took, so that others get at the database.
        """
        now = self._runtime.clock.now()
        if self._sweep is None:
            if self._rests_until is not None and now < self._rests_until:
                return 0
            self._sweep = self._swept()
        began, total, until = time.monotonic(), 0, time.monotonic() + SECONDS
        for went in self._sweep:
            total += went
            if time.monotonic() >= until:
                return total
            pause(time.monotonic() - began)
            began = time.monotonic()
        self._sweep, self._rests_until = None, now + REST
        return total

    def _swept(self) -> Iterator[int]:
        """Delete everything once that is old enough; the number of runs after each batch."""
        runtime, total = self._runtime, 0
        for stretch, period in self._periods():
            for batch in batches(runtime, stretch, partial(self._before, period), size=BATCH):
                total += len(batch.gone)
                yield len(batch.gone)
        forget_keys(runtime)
        if total:
            logger.info("squidmesh: %s runs were pruned, as SQUIDMESH_RETENTION says", total)

    def _before(self, period: timedelta) -> datetime:
        return self._runtime.clock.now() - period

    def _periods(self) -> Iterator[tuple[Stretch, timedelta]]:
        runtime, retention = self._runtime, self._runtime.settings.retention or {}
        for name in stored_names(runtime) if retention else ():
            own = own_key(retention, runtime.registry, name)
            for status in sorted(TERMINAL):
                period = retention.get(own or status)
                if period is not None:
                    yield Stretch(workflow=name, status=status), period


def own_key(retention: Mapping[str, timedelta | None], registry: Registry, workflow: str) -> str | None:
    """Under which name the workflow has a period of its own, if it has one."""
    try:
        spec = registry.get(workflow)
    except UnknownWorkflowError:
        return workflow if workflow in retention else None
    return next((name for name in (workflow, spec.name, *spec.aliases) if name in retention), None)


def unknown_keys(retention: Mapping[str, timedelta | None], registry: Registry) -> list[str]:
    """What is neither a status in which runs end nor a registered workflow."""
    names = {name for spec in registry for name in (spec.name, *spec.aliases)}
    return sorted(retention.keys() - names - TERMINAL)
