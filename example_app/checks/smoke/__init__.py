"""Everything that an operator can see, walked through and checked, also on the dashboard's pages."""

from __future__ import annotations

from ...seed import seed_people, seed_products
from ...stage import own_stage
from .. import Say, walked
from .walks import WALKS


def smoke(say: Say, *, process: bool = False) -> bool:
    """Go all walks.

    :param say: Called with a line for each.
    :param process: As for `own_stage`.
    :returns: Whether everything was as it should be.
    """
    with own_stage("smoke", process=process) as stage:
        seed_people()
        seed_products()
        return walked(((walk.__name__.replace("_", " "), walk) for walk in WALKS), stage, say)
