"""How far the random tests go: some rounds, each with a seed of its own, so that the same is tried every time.

A round is short, because from the tenth example on Hypothesis mostly varies what it has tried before. Failures are
shrunk, which may take minutes, only where the number of rounds is given.
"""

from __future__ import annotations

import os
from typing import Final

from hypothesis import HealthCheck, Phase, settings

GIVEN = os.environ.get("SQUIDMESH_TEST_ROUNDS")

ROUNDS: Final = range(int(GIVEN or 2))

EXTENT: Final = settings(
    max_examples=10,
    stateful_step_count=40,
    phases=[Phase.generate, Phase.shrink] if GIVEN else [Phase.generate],
    database=None,
    deadline=None,
    print_blob=False,
    suppress_health_check=list(HealthCheck),
)
