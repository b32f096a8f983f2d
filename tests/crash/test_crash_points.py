"""A process that dies before or after a commit, a hand-over or an effect: the runs come to the same end.

Here a sample of the points is tried, another each time SQUIDMESH_TEST_SEED is; `make crash` tries them all.
"""

from __future__ import annotations

import os
import random
from typing import Final

import pytest

from tests.databases import PostgresDatabases, SqliteDatabases

from .deliveries import DELIVERIES
from .shapes.all_shapes import SHAPES
from .trying import Life

SEED: Final = os.environ.get("SQUIDMESH_TEST_SEED", "1")
CUTS: Final = 4
POINTS: Final = {SqliteDatabases: 2, PostgresDatabases: 1}


@pytest.mark.rule(
    "dispatch-is-a-row",
    "relay-lost",
    "relay-claim-leaves-dispatch",
    "any-crash",
    "delivery-completed",
    "step-one-commit",
    "compensating-key",
    "events-crash",
    "telling-crash",
)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_crash_at_any_point_changes_no_end(
    shape: str, databases: SqliteDatabases | PostgresDatabases, migrated_url: str
) -> None:
    chosen = random.Random(f"{SEED} {shape} {type(databases).__name__}")
    with Life(shape, chosen.choice(list(DELIVERIES)), migrated_url) as life:
        for at in sorted(chosen.sample(range(1, len(life.points) + 1), POINTS[type(databases)])):
            wrong = life.wrong_after_death_at(at)
            assert wrong is None, f"SQUIDMESH_TEST_SEED={SEED}: {wrong}"


CUT: Final = ("chain", "join", "transaction", "irreversible_beside", "approved_by_two", "exhausted")


@pytest.mark.rule("outage-waits")
@pytest.mark.parametrize("shape", [shape for shape in CUT if shape in SHAPES])
def test_a_connection_that_is_cut_at_any_statement_changes_no_end(shape: str, migrated_postgres_url: str) -> None:
    chosen = random.Random(f"{SEED} cut {shape}")
    with Life(shape, chosen.choice(list(DELIVERIES)), migrated_postgres_url, "cut") as life:
        for at in sorted(chosen.sample(range(1, len(life.points) + 1), min(CUTS, len(life.points)))):
            wrong = life.wrong_after_death_at(at)
            assert wrong is None, f"SQUIDMESH_TEST_SEED={SEED}: {wrong}"
