from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from flask_squidmesh import FailStep, Fixed, Manual, Retry, RetryStep, Step, StepContext, Workflow
from flask_squidmesh.storage import tables
from flask_squidmesh.testing import drain
from tests.shop import Order, Recording, Script, Shop, error_of

OpenShop = Callable[..., Shop]
Work = Callable[[StepContext], Any]


class Ledger:
    """A shop with a table of its own, and a workflow whose second step is one transaction with its rows."""

    def __init__(self, open_shop: OpenShop, script: Script) -> None:
        self.open_shop, self.script = open_shop, script

    def open(self, work: Work, **options: Any) -> Shop:
        def post(ctx: StepContext) -> Any:
            return work(ctx)

        class Posting(Workflow):
            place = Manual(Order)
            before = Step(self.script.does("before"))
            post_ = Step(post, transaction=True, **options)
            after = Step(self.script.does("after"))
            flow = [before >> post_ >> after]

        self.workflow = Posting
        self.shop: Shop = self.open_shop(Posting)
        with self.shop.db.engine.begin() as connection:
            connection.execute(sa.text("CREATE TABLE ledger (id INTEGER PRIMARY KEY, note TEXT NOT NULL)"))
        return self.shop

    def add(self, number: int, note: str | None = "x") -> None:
        self.shop.db.session.execute(sa.text("INSERT INTO ledger VALUES (:id, :note)"), {"id": number, "note": note})

    @property
    def rows(self) -> list[int]:
        with self.shop.db.engine.connect() as connection:
            return list(connection.scalars(sa.text("SELECT id FROM ledger ORDER BY id")))


@pytest.fixture
def ledger(open_shop: OpenShop, script: Script) -> Ledger:
    return Ledger(open_shop, script)


@pytest.mark.rule("transaction-together")
def test_rows_and_completion_are_one_commit(ledger: Ledger, script: Script) -> None:
    def work(ctx: StepContext) -> dict[str, int]:
        ledger.add(1)
        return {"posted": 1}

    shop = ledger.open(work)
    run_id = shop.run(ledger.workflow)
    assert (ledger.rows, shop.status(run_id), script.calls) == ([1], "completed", ["before", "after"])
    assert shop.look(run_id).context == {"posted": 1}


@pytest.mark.rule("transaction-failure")
@pytest.mark.parametrize("failure", [FailStep("no"), RetryStep("busy"), ValueError("no")])
def test_a_failure_takes_the_rows_with_it(ledger: Ledger, failure: Exception) -> None:
    def work(ctx: StepContext) -> None:
        ledger.add(ctx.attempt)
        raise failure

    shop = ledger.open(work)
    run_id = shop.run(ledger.workflow)
    assert (ledger.rows, shop.status(run_id)) == ([], "failed")


@pytest.mark.rule("transaction-failure")
def test_a_retry_posts_once(ledger: Ledger) -> None:
    def work(ctx: StepContext) -> None:
        ledger.add(1)
        if ctx.attempt == 1:
            raise RetryStep("busy")

    shop = ledger.open(work, retry=Retry(2, backoff=Fixed(10)))
    run_id = shop.run(ledger.workflow)
    assert shop.status(run_id) == "retrying"
    shop.later(11)
    assert (ledger.rows, shop.status(run_id)) == ([1], "completed")


@pytest.mark.rule("transaction-commit-inside")
@pytest.mark.parametrize("end", ["commit", "rollback", "close"])
def test_a_step_that_ends_its_transaction_itself_fails_and_keeps_nothing(ledger: Ledger, end: str) -> None:
    def work(ctx: StepContext) -> None:
        ledger.add(1)
        getattr(ledger.shop.db.session, end)()
        ledger.add(2)

    shop = ledger.open(work)
    run_id = shop.run(ledger.workflow)
    run = shop.look(run_id)
    assert (ledger.rows, run.status, error_of(run)["type"]) == ([], "failed", "TransactionEndedError")


@pytest.mark.rule("transaction-commit-inside")
def test_a_step_that_swallows_the_refusal_of_its_commit_keeps_nothing(ledger: Ledger) -> None:
    def work(ctx: StepContext) -> None:
        ledger.add(1)
        try:
            ledger.shop.db.session.commit()
        except Exception:
            ledger.shop.db.session.rollback()

    shop = ledger.open(work)
    run_id = shop.run(ledger.workflow)
    assert (ledger.rows, shop.status(run_id)) == ([], "failed")


@pytest.mark.rule("transaction-savepoints")
def test_savepoints_inside_are_the_steps_own(ledger: Ledger) -> None:
    def work(ctx: StepContext) -> None:
        session = ledger.shop.db.session
        ledger.add(1)
        with session.begin_nested():
            ledger.add(2)
        dropped = session.begin_nested()
        ledger.add(3)
        dropped.rollback()

    shop = ledger.open(work)
    run_id = shop.run(ledger.workflow)
    assert (ledger.rows, shop.status(run_id)) == ([1, 2], "completed")


@pytest.mark.rule("transaction-refused")
def test_what_the_database_refuses_is_the_steps_failure(ledger: Ledger) -> None:
    def work(ctx: StepContext) -> None:
        ledger.add(1)
        ledger.add(1)

    shop = ledger.open(work)
    run = shop.look(shop.run(ledger.workflow))
    assert (ledger.rows, run.status, error_of(run)["type"]) == ([], "failed", "IntegrityError")


class Base(DeclarativeBase):
    pass


class Entry(Base):
    __tablename__ = "ledger"
    id: Mapped[int] = mapped_column(primary_key=True)
    note: Mapped[str | None]


@pytest.mark.rule("transaction-refused")
@pytest.mark.parametrize("swallowed", [False, True])
def test_what_the_database_refuses_at_the_flush_is_the_steps_failure(ledger: Ledger, swallowed: bool) -> None:
    def work(ctx: StepContext) -> None:
        ledger.shop.db.session.add(Entry(id=1, note=None))
        if swallowed:
            with suppress(sa.exc.IntegrityError):
                ledger.shop.db.session.flush()

    shop = ledger.open(work, retry=Retry(2))
    run = shop.look(shop.run(ledger.workflow))
    assert (ledger.rows, run.status) == ([], "failed")
    assert [len(row.attempts) for row in run.step_runs or ()] == [1, 2]


def test_an_error_of_the_database_that_was_swallowed_spoils_the_step_on_postgresql(
    migrated_postgres_url: str, script: Script
) -> None:
    def post(ctx: StepContext) -> None:
        with suppress(sa.exc.DBAPIError):
            shop.db.session.execute(sa.text("SELECT 1 / 0"))

    class Posting(Workflow):
        place = Manual(Order)
        post_ = Step(post, transaction=True)

    shop = Shop(migrated_postgres_url, Posting)
    with shop.app.app_context():
        run = shop.look(shop.run(Posting))
    assert (run.status, error_of(run)["type"]) == ("failed", "InternalError")


def test_what_json_cannot_hold_takes_the_rows_with_it(ledger: Ledger) -> None:
    def work(ctx: StepContext) -> dict[str, Any]:
        ledger.add(1)
        return {"at": object()}

    shop = ledger.open(work)
    run = shop.look(shop.run(ledger.workflow))
    assert (ledger.rows, run.status, error_of(run)["type"]) == ([], "failed", "OutputError")


@pytest.mark.rule("transaction-lost-claim")
def test_a_claim_that_was_lost_meanwhile_keeps_nothing(ledger: Ledger, script: Script) -> None:
    def work(ctx: StepContext) -> None:
        ledger.add(1)
        if ctx.attempt == 1 and ledger.shop.runtime.database.dialect == "postgresql":
            lose_claim(ledger.shop)

    shop = ledger.open(work)
    run_id = shop.run(ledger.workflow)
    assert (ledger.rows, shop.status(run_id), script.calls) == ([1], "completed", ["before", "after"])


def lose_claim(shop: Shop) -> None:
    """Let the claim expire and another take the step."""
    with shop.runtime.database.write() as connection:
        connection.execute(
            sa.update(tables.dispatches).values(claim_id="01890a5d-ac96-774b-bcce-b302099a8057", due_at=sa.func.now())
        )


@pytest.mark.rule("transaction-child")
def test_a_child_started_inside_comes_and_goes_with_the_transaction(open_shop: OpenShop, script: Script) -> None:
    class Child(Workflow):
        place = Manual(Order)
        work = Step(script.does("child"))

    def post(ctx: StepContext) -> dict[str, str]:
        child = ctx.start_child(Child, {}, key="only")
        if ctx.attempt == 1:
            raise RetryStep("busy")
        return {"child": child}

    class Parent(Workflow):
        place = Manual(Order)
        post_ = Step(post, transaction=True, retry=Retry(2, backoff=Fixed(60)))

    queue = Recording()
    shop = open_shop(Parent, Child, executor=queue)
    run_id = shop.start(Parent)
    shop.deliver(run_id, "post_")
    assert len(shop.rows(tables.runs)) == 1
    shop.clock.advance(61)
    shop.deliver(run_id, "post_")
    run = shop.look(run_id)
    assert run.children == (run.context["child"],)
    assert [payload["run_id"] for payload, _ in queue.given].count(run.context["child"]) == 1


@pytest.mark.rule("transaction-sqlite")
def test_an_own_start_inside_is_refused_on_sqlite_because_it_would_wait_for_itself(
    migrated_sqlite_url: str, script: Script
) -> None:
    class Other(Workflow):
        place = Manual(Order)
        work = Step(script.does("other"))

    def post(ctx: StepContext) -> None:
        shop.start(Other)

    class Parent(Workflow):
        place = Manual(Order)
        post_ = Step(post, transaction=True)

    shop = Shop(migrated_sqlite_url, Parent, Other)
    with shop.app.app_context():
        run = shop.look(shop.run(Parent))
        assert (run.status, error_of(run)["type"]) == ("failed", "ConflictError")
    shop.runtime.database.dispose()


def test_a_chain_goes_on_in_place_after_it(ledger: Ledger) -> None:
    shop = ledger.open(lambda ctx: None)
    shop.start(ledger.workflow)
    assert drain() == 1


class Killed(BaseException):
    """The process is gone."""


@pytest.mark.rule("transaction-crash")
@pytest.mark.parametrize("after", [False, True])
def test_a_crash_on_either_side_of_the_commit_keeps_both_or_neither(ledger: Ledger, after: bool) -> None:
    def work(ctx: StepContext) -> dict[str, int]:
        session = ledger.shop.db.session()
        commit = session.commit

        def die() -> None:
            if after:
                commit()
            raise Killed

        if ctx.attempt == 1:
            session.commit = die  # type: ignore[method-assign]
        ledger.add(ctx.attempt)
        return {"posted": ctx.attempt}

    shop = ledger.open(work)
    run_id = shop.start(ledger.workflow)
    with pytest.raises(Killed):
        drain()
    assert ledger.rows == ([1] if after else [])
    vars(shop.runtime.claims).update(_held=set(), _unanswered=[])  # as in a process that has come after
    shop.later(shop.runtime.settings.claim_timeout + 1)
    run = shop.look(run_id)
    assert (run.status, run.context) == ("completed", {"posted": 1 if after else 2})
    assert ledger.rows == [1 if after else 2]
