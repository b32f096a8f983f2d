"""Every change of a workflow, under a run at every place: it goes on rightly, or it is held and says so."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from .ends import CELLS, Cell, as_markdown
from .places import Deploy
from .versions import Place, Style

DOCS = Path(__file__).parents[3] / "docs" / "deploys.md"


@pytest.fixture(scope="module")
def deployed(shared_url: str) -> Callable[[str, Style], dict[Place, str]]:
    """A function that deploys a change under runs at all places, once, and answers what became of them."""
    return cache(lambda change, style: Deploy(shared_url, change, style).ends())


@pytest.mark.rule("deploy-today", "deploy-waits")
@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_what_becomes_of_a_run(deployed: Callable[[str, Style], dict[Place, str]], cell: Cell) -> None:
    assert _in_order(cell, deployed(cell.change, cell.style)[cell.place]) == cell.end


def _in_order(cell: Cell, end: str) -> str:
    """Both follow the approval at the same moment, so whichever a worker finds first is performed first."""
    if (cell.change, cell.place) == ("joined-more", "paused"):
        return end.replace("last · done · extra", "extra · last · done").replace("last · extra", "extra · last")
    return end


def test_the_docs_tell_what_becomes_of_a_run() -> None:
    assert as_markdown() in DOCS.read_text()
