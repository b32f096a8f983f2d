"""Every workflow walked to its end on real parts, and what happened checked."""

from __future__ import annotations

from collections.abc import Callable

from flask_squidmesh import SquidMeshError

from ..seed import seed_people, seed_products
from ..stage import Late, own_stage
from .looking import Mismatch
from .walks import WALKS

Say = Callable[[str], object]


def smoke(say: Say) -> bool:
    """Walk all workflows.

    :param say: Called with a line for each.
    :returns: Whether everything was as it should be.
    """
    with own_stage():
        seed_people()
        seed_products()
        passed = [_walked(walk, say) for walk in WALKS]
    say(f"{sum(passed)} of {len(passed)} walks went as they should.")
    return all(passed)


def _walked(walk: Callable[[], str], say: Say) -> bool:
    name = walk.__name__.replace("_", " ")
    try:
        seen = walk()
    except (Mismatch, Late, SquidMeshError) as problem:
        say(f"WRONG {name}: {problem}")
        return False
    say(f"ok    {name}: {seen}")
    return True
