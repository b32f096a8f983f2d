"""The fence in the statement that writes: changes made under a claim that is gone are not kept."""

from __future__ import annotations

from datetime import timedelta

import pytest

from flask_squidmesh import Manual, Step, Workflow
from flask_squidmesh.engine.changes import Changes
from flask_squidmesh.storage import tables, write_batch
from flask_squidmesh.storage.summaries import new_id
from tests.shop import Shop


def nothing() -> None:
    """A step."""


class Plain(Workflow):
    begin = Manual()
    work = Step(nothing)
    flow = [work]


@pytest.mark.parametrize("mine", [True, False])
def test_changes_under_a_lost_claim_are_not_kept(migrated_url: str, mine: bool) -> None:
    shop = Shop(migrated_url, Plain)
    database = shop.runtime.database
    with shop.app.app_context():
        shop.start(Plain)
        (claim,) = shop.claim_due()
        held = write_batch.HeldClaim(
            dispatch_id=claim.dispatch_id,
            claim_id=claim.claim_id if mine else new_id(),
            step_run_id=claim.visit.id,
            expires_at=database.from_now(timedelta(seconds=30)),
        )
        changes = Changes(run={"current_step": "elsewhere"}, ended=[claim.visit.id])

        def write() -> None:
            with database.write() as connection:
                batch = write_batch.batch_of(claim.run, changes, now=shop.clock.now(), held=held)
                write_batch.apply(connection, batch)

        if mine:
            write()
        else:
            with pytest.raises(write_batch.ClaimLostError):
                write()

        (run,) = shop.rows(tables.runs)
        assert (run.current_step == "elsewhere") == mine
        assert bool(shop.rows(tables.dispatches)) != mine
    database.dispose()
