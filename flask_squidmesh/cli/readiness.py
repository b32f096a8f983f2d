"""The runtime that a command works with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..store import schema

if TYPE_CHECKING:
    from ..runtime.runtime import Runtime


def runtime_here() -> Runtime:
    """The app's runtime, whatever its configuration lacks."""
    from ..runtime.runtime import current_runtime

    return current_runtime()


def ready_runtime() -> Runtime:
    """The app's runtime, once its configuration is complete and its tables are there."""
    runtime = runtime_here()
    _ = runtime.config
    with runtime.database.read() as connection:
        schema.require(connection)
    return runtime
