"""A plain step that leaves rows uncommitted has not done what it says."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import sqlalchemy as sa
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import Mapped, mapped_column

from flask_squidmesh import Manual, Step, Workflow
from tests.shop import Order, Script, Shop

OpenShop = Callable[..., Shop]


class Ledger:
    """A shop with rows of its own, whose one step does what it is told."""

    def __init__(self, open_shop: OpenShop, script: Script, **options: Any) -> None:
        class Posting(Workflow):
            place = Manual(Order)
            post = Step(script.does("post", lambda ctx: self.does()), **options)

        self.shop, self.workflow = open_shop(Posting, db=SQLAlchemy()), Posting
        self.db, self.does = self.shop.db, self.nothing

        class Entry(self.db.Model):  # type: ignore[name-defined, misc]
            __tablename__ = "entries"
            id: Mapped[int] = mapped_column(primary_key=True)
            amount: Mapped[int]

        self.entry = Entry
        with self.db.engine.begin() as connection:
            Entry.__table__.create(connection)
            connection.execute(sa.insert(Entry).values(id=1, amount=1))

    def nothing(self) -> None:
        """Do nothing."""

    def run(self, does: Callable[[], Any]) -> dict[str, Any]:
        """Perform the step; answer its error."""
        self.does = does
        run = self.shop.look(self.shop.run(self.workflow))
        assert run.status == ("failed" if run.last_error else "completed")
        return dict(run.last_error or {})

    @property
    def amounts(self) -> list[int]:
        with self.db.engine.connect() as connection:
            return list(connection.scalars(sa.select(self.entry.amount).order_by(self.entry.id)))

    def add(self) -> None:
        self.db.session.add(self.entry(id=2, amount=2))

    def change(self) -> None:
        self.db.session.get_one(self.entry, 1).amount = 7

    def delete(self) -> None:
        self.db.session.delete(self.db.session.get(self.entry, 1))

    def flush(self) -> None:
        self.add()
        self.db.session.flush()

    def insert(self) -> None:
        self.db.session.execute(sa.insert(self.entry).values(id=2, amount=2))

    def insert_by_text(self) -> None:
        self.db.session.execute(sa.text("INSERT INTO entries (id, amount) VALUES (2, 2)"))

    def insert_by_connection(self) -> None:
        self.db.session.connection().execute(sa.insert(self.entry).values(id=2, amount=2))

    def insert_in_bulk(self) -> None:
        self.db.session.bulk_insert_mappings(self.entry, [{"id": 2, "amount": 2}])

    def within_a_savepoint(self) -> None:
        with self.db.session.begin_nested():
            self.add()


@pytest.fixture
def ledger(open_shop: OpenShop, script: Script) -> Ledger:
    return Ledger(open_shop, script)


LEFT = {
    "add": "new Entry (1)",
    "change": "changed Entry (1)",
    "delete": "deleted Entry (1)",
    **dict.fromkeys(
        ("flush", "insert", "insert_by_text", "insert_by_connection", "insert_in_bulk", "within_a_savepoint"),
        "rows that were sent to the database",
    ),
}


@pytest.mark.rule("step-uncommitted-rows")
def test_a_step_that_leaves_rows_uncommitted_fails_and_says_what_to_do(ledger: Ledger) -> None:
    for name, left in LEFT.items():
        if name == "within_a_savepoint" and ledger.db.engine.dialect.name == "sqlite":
            continue  # its driver commits with the savepoint
        error = ledger.run(getattr(ledger, name))
        assert (error["type"], ledger.amounts) == ("UncommittedError", [1])
        assert error["message"].startswith(f"Step post left {left} in db.session without committing"), name
        assert "db.session.commit()" in error["message"]
        assert "transaction=True" in error["message"]


@pytest.mark.rule("step-uncommitted-rows")
def test_what_is_committed_rolled_back_or_only_read_is_fine(ledger: Ledger) -> None:
    def commit() -> None:
        ledger.change()
        ledger.db.session.commit()

    def roll_back() -> None:
        ledger.flush()
        ledger.db.session.rollback()

    def read() -> None:
        entry = ledger.db.session.get_one(ledger.entry, 1)
        entry.amount = entry.amount

    def read_with_a_lock() -> None:
        ledger.db.session.scalars(sa.select(ledger.entry).with_for_update()).all()

    def be_refused() -> None:
        ledger.db.session.add(ledger.entry(id=1, amount=1))
        with suppress(sa.exc.IntegrityError):
            ledger.db.session.commit()

    for does in (commit, roll_back, read, read_with_a_lock, be_refused):
        assert ledger.run(does) == {}, does.__name__
    assert ledger.amounts == [7]


@pytest.mark.rule("step-uncommitted-rows")
def test_what_a_teardown_of_the_hosts_commits_is_kept(ledger: Ledger) -> None:
    def commit(error: BaseException | None) -> None:
        ledger.db.session.commit()

    ledger.shop.app.teardown_appcontext_funcs.append(commit)
    try:
        assert ledger.run(ledger.insert) == {}
    finally:
        ledger.shop.app.teardown_appcontext_funcs.remove(commit)
    assert ledger.amounts == [1, 2]


def test_neither_a_coroutine_nor_what_undoes_a_step_may_leave_them(open_shop: OpenShop, script: Script) -> None:
    def leave() -> None:
        shop.db.session.execute(sa.text("INSERT INTO entries VALUES (1)"))

    async def leave_in_turn() -> None:
        leave()

    class Undoing(Workflow):
        place = Manual(Order)
        first = Step(script.does("first"), compensate=leave)
        second = Step(leave_in_turn)
        flow = [first >> second]

    shop = open_shop(Undoing)
    with shop.db.engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE entries (id int)")
    run = shop.look(shop.run(Undoing))
    errors = {(visit.kind, visit.error and visit.error["type"]) for visit in run.step_runs or ()}
    assert {("step", "UncommittedError"), ("compensation", "UncommittedError")} <= errors
    assert (run.status, run.compensation) == ("failed", "failed")


def test_a_transaction_step_may_leave_them(open_shop: OpenShop, script: Script) -> None:
    ledger = Ledger(open_shop, script, transaction=True)
    assert ledger.run(ledger.flush) == {}
    assert ledger.amounts == [1, 2]
