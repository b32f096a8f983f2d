"""The graph of a run calls its steps as the rest of the page does."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.web.shop import Checkout, Packing, Payout, start
from tests.web.visiting import Visitor, text_of


@pytest.mark.parametrize(
    ("workflow", "step", "word"),
    [(Checkout, "review", "Decision"), (Packing, "inspect", "Paused"), (Payout, "transfer", "Stuck")],
)
def test_a_step_that_asks_a_person_is_marked_with_what_it_asks(
    visitor: Visitor, workflow: Any, step: str, word: str
) -> None:
    run_id = start(visitor.app, workflow, "7")
    page = visitor.get(f"/runs/{run_id}?view=graph").text
    drawn = text_of("".join(re.findall(r'<svg class="graph.*?</svg>', page, re.DOTALL)))
    assert f"{step} {word}" in drawn
