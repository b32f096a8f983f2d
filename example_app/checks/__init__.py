"""Checks of the whole shop on real parts: smoke, resilience and soak. Each says what it saw in one line a walk."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from flask_squidmesh import SquidMeshError

from ..stage import Late, Stage
from .looking import Mismatch

Say = Callable[[str], object]
Walk = Callable[[], str]


def walked(walks: Iterable[tuple[str, Walk]], stage: Stage, say: Say) -> bool:
    """Go the walks one after another.

    :param walks: The name of each, and what walks it and returns what it saw.
    :param say: Called with a line for each, and with the count at the end.
    :returns: Whether everything was as it should be.
    """
    began = time.monotonic()
    passed = [_walked(name, walk, say) for name, walk in walks]
    if not all(passed) and stage.last_words:
        say(f"The worker's last lines:\n{stage.last_words}")
    say(f"{sum(passed)} of {len(passed)} walks went as they should, in {time.monotonic() - began:.1f} s.")
    return all(passed)


def _walked(name: str, walk: Walk, say: Say) -> bool:
    try:
        seen = walk()
    except (Mismatch, Late, SquidMeshError) as problem:
        say(f"WRONG {name}: {problem}")
        return False
    say(f"ok    {name}: {seen}")
    return True
