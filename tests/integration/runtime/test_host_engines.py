"""Hosts whose engine does what most do not: listeners that begin transactions, pools that reset nothing."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy.pool import NullPool

from flask_squidmesh import Manual, Step, Workflow
from flask_squidmesh.storage import libpq
from flask_squidmesh.testing import drain
from tests.shop import Order, Script, shop_on


def joining(script: Script) -> type[Workflow]:
    class Joining(Workflow):
        place = Manual(Order)
        left = Step(script.does("left"), after=[])
        right = Step(script.does("right"), after=[])
        join = Step(script.does("join"), after=[left, right])
        end = Step(script.does("end"), after=[join])

    return Joining


@pytest.mark.parametrize("event", ["connect", "checkout"])
def test_a_listener_that_begins_a_transaction_loses_nothing(
    migrated_postgres_url: str, script: Script, event: str
) -> None:
    def speak(driver: Any, *_: object) -> None:
        driver.execute("SET search_path TO public")

    workflow = joining(script)
    with shop_on(migrated_postgres_url, workflow, poolclass=NullPool) as shop:
        sa.event.listen(shop.runtime.database.engine, event, speak)
        run_id = shop.start(workflow)
        assert shop.status(run_id) == "pending"
        drain()
        assert shop.status(run_id) == "completed"
    assert sorted(script.calls) == ["end", "join", "left", "right"]


def test_a_pool_that_resets_nothing_is_given_no_open_transaction(migrated_postgres_url: str, script: Script) -> None:
    workflow = joining(script)
    options = {"pool_size": 1, "max_overflow": 0, "pool_reset_on_return": None}
    with shop_on(migrated_postgres_url, workflow, **options) as shop:
        engine = shop.runtime.database.engine

        def is_idle() -> bool:
            pooled: Any = engine.raw_connection()
            status = pooled.driver_connection.info.transaction_status
            pooled.close()
            return bool(status == psycopg.pq.TransactionStatus.IDLE)

        assert shop.claim_due() == []
        assert is_idle()
        run_id = shop.start(workflow)
        drain()
        assert (shop.status(run_id), is_idle()) == ("completed", True)


@pytest.mark.parametrize("kind", ["claim", "outcome"])
def test_claims_and_joins_survive_that_prepared_statements_are_discarded(
    migrated_postgres_url: str, script: Script, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """In the middle of a transaction, as a pooler between might."""
    workflow, plain = joining(script), libpq.commit
    to_refuse, refused = list[str](), list[str]()

    def commit(pooled: Any, statement: str, values: libpq.Values) -> Any:
        if ("claim" if "claimed_by" in statement else "outcome") in to_refuse:
            pooled.driver_connection.pgconn.exec_(b"DEALLOCATE ALL")
            refused.append(to_refuse.pop())
        return plain(pooled, statement, values)

    options = {"pool_size": 1, "max_overflow": 0, "connect_args": {"prepare_threshold": 0}}
    with shop_on(migrated_postgres_url, workflow, **options) as shop:
        monkeypatch.setattr(libpq, "commit", commit)
        before = [shop.run(workflow) for _ in range(3)]
        to_refuse.append(kind)
        assert [shop.status(run_id) for run_id in (*before, shop.run(workflow))] == ["completed"] * 4
    assert refused == [kind]
    assert len(script.calls) == 4 * 4
