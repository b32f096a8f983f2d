"""Hosts with several binds: what is one transaction, and what is refused because it would be two."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from flask_squidmesh import ConfigurationError, Manual, SquidMesh, Step, Workflow
from flask_squidmesh.testing import drain
from tests.shop import Order, error_of


class Bank:
    """A host with a table on its default bind and another on the bind "flows", whichever holds the runs."""

    def __init__(self, url: str, other: str, *, bind: str | None, tables_on_bind: bool = True, **options: Any) -> None:
        class Base(DeclarativeBase):
            pass

        self.db = db = SQLAlchemy(model_class=Base)

        class Entry(db.Model):  # type: ignore[name-defined,misc]
            id: Mapped[int] = mapped_column(primary_key=True)

        class Note(db.Model):  # type: ignore[name-defined,misc]
            __bind_key__ = "flows" if tables_on_bind else None
            id: Mapped[int] = mapped_column(primary_key=True)

        self.work: Any = lambda: None
        self.Entry, self.Note = Entry, Note

        def post() -> None:
            self.work()

        class Posting(Workflow):
            place = Manual(Order)
            post_ = Step(post, **{"transaction": True, **options})
            flow = [post_]

        self.workflow = Posting
        self.app = Flask("bank")
        self.app.config.update(SQLALCHEMY_DATABASE_URI=url, SQLALCHEMY_BINDS={"flows": other})
        self.app.config.update(SQUIDMESH_EXECUTOR="database", SQUIDMESH_BIND=bind)
        self.mesh = SquidMesh()
        self.mesh.register(Posting)
        self.mesh.init_app(self.app)
        db.init_app(self.app)

    def run(self) -> Any:
        run_id = self.mesh.start_run(self.workflow, {}).id
        drain()
        return self.mesh.inspect_run(run_id)

    def count(self, model: Any) -> int:
        with self.app.app_context():
            return int(self.db.session.scalar(sa.select(sa.func.count()).select_from(model)) or 0)


@pytest.fixture
def banks(databases: Any) -> Iterator[Any]:
    """A function that makes a bank in whose app context the test goes on."""
    urls = [databases.create(), databases.create()]
    contexts = []

    def open_bank(*, same: bool = False, **options: Any) -> Bank:
        bank = Bank(urls[0], urls[0] if same else urls[1], **options)
        contexts.append(bank.app.app_context())
        contexts[-1].push()
        return bank

    yield open_bank
    for context in contexts:
        context.app.extensions["squidmesh"].database.dispose()
        for engine in context.app.extensions["sqlalchemy"].engines.values():
            engine.dispose()
        context.pop()
    for url in urls:
        databases.drop(url)


@pytest.mark.rule("transaction-binds")
@pytest.mark.parametrize("same", [False, True])
def test_a_transaction_step_is_refused_where_runs_are_on_a_bind_of_their_own(banks: Any, same: bool) -> None:
    bank = banks(bind="flows", tables_on_bind=False, same=same)
    with pytest.raises(ConfigurationError, match=r"posting\.post_ has transaction=True, but .* the bind 'flows'"):
        bank.mesh.start_run(bank.workflow, {})
    [problem] = bank.mesh.check_config()
    assert "Leave SQUIDMESH_BIND out" in problem


def test_a_workflow_that_is_registered_later_is_looked_at_too(banks: Any) -> None:
    bank = banks(bind="flows", tables_on_bind=False)
    mesh = SquidMesh()
    del bank.app.extensions["squidmesh"]
    bank.app._got_first_request = False
    bank.app.config["SQUIDMESH_URL_PREFIX"] = None
    mesh.init_app(bank.app)
    assert mesh.config.bind == "flows"
    mesh.register(bank.workflow)
    with pytest.raises(ConfigurationError, match="transaction=True"):
        _ = mesh.config


@pytest.mark.rule("transaction-binds")
@pytest.mark.parametrize("bind", [None, "flows"])
def test_rows_on_the_bind_of_the_runs_are_kept_with_the_completion(banks: Any, bind: str | None) -> None:
    bank = banks(bind=bind)
    bank.db.create_all()
    model = bank.Note if bind else bank.Entry
    bank.work = lambda: bank.db.session.add(model(id=1))
    assert bank.run().status == "completed"
    assert bank.count(model) == 1


@pytest.mark.rule("transaction-binds")
@pytest.mark.parametrize("bind", [None, "flows"])
@pytest.mark.parametrize("how", ["object", "statement"])
def test_rows_on_another_bind_fail_the_step_and_are_not_kept(banks: Any, bind: str | None, how: str) -> None:
    bank = banks(bind=bind)
    bank.db.create_all()
    ours, other = (bank.Note, bank.Entry) if bind else (bank.Entry, bank.Note)

    def work() -> None:
        bank.db.session.add(ours(id=1))
        if how == "object":
            bank.db.session.add(other(id=1))
        else:
            bank.db.session.execute(sa.insert(other).values(id=1))

    bank.work = work
    run = bank.run()
    assert run.status == "failed"
    assert "can write only to the bind that holds the runs" in error_of(run)["message"]
    assert bank.count(ours) == bank.count(other) == 0


@pytest.mark.parametrize("bind", [None, "flows"])
def test_another_bind_may_be_read_from(banks: Any, bind: str | None) -> None:
    bank = banks(bind=bind)
    bank.db.create_all()
    other = bank.Entry if bind else bank.Note
    bank.work = lambda: bank.db.session.scalars(sa.select(other)).all()
    assert bank.run().status == "completed"


@pytest.mark.rule("step-uncommitted-rows")
@pytest.mark.parametrize("bind", [None, "flows"])
@pytest.mark.parametrize("reads_first", [False, True])
def test_a_plain_step_may_leave_rows_uncommitted_on_no_bind(banks: Any, bind: str | None, reads_first: bool) -> None:
    """Whichever of its databases the session has used first, and though nothing is pending any more."""
    bank = banks(bind=bind, transaction=False)
    bank.db.create_all()
    for model, other in ((bank.Entry, bank.Note), (bank.Note, bank.Entry)):

        def work(model: Any = model, other: Any = other) -> None:
            if reads_first:
                bank.db.session.scalars(sa.select(other)).all()
            bank.db.session.add(model(id=1))
            bank.db.session.flush()

        bank.work = work
        run = bank.run()
        assert (run.status, error_of(run)["type"]) == ("failed", "UncommittedError")
        assert "left rows that were sent to the database" in error_of(run)["message"]
        assert bank.count(model) == 0


@pytest.mark.rule("step-uncommitted-rows")
@pytest.mark.parametrize("bind", [None, "flows"])
def test_a_plain_step_may_read_and_commit_on_every_bind(banks: Any, bind: str | None) -> None:
    bank = banks(bind=bind, transaction=False)
    bank.db.create_all()

    def work() -> None:
        bank.db.session.add_all([bank.Entry(id=1), bank.Note(id=1)])
        bank.db.session.commit()
        for model in (bank.Entry, bank.Note):
            bank.db.session.scalars(sa.select(model).with_for_update()).all()

    bank.work = work
    assert bank.run().status == "completed"
    assert (bank.count(bank.Entry), bank.count(bank.Note)) == (1, 1)
