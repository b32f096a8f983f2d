"""A host with the extension on a given database, for tests of what runs do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from types import MappingProxyType
from typing import Any

import sqlalchemy as sa
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from pydantic import BaseModel

from flask_squidmesh import Delivery, Executor, Manual, Run, SquidMesh, Step, StepContext, Workflow
from flask_squidmesh.errors import ErrorRecord
from flask_squidmesh.runtime.runtime import Runtime
from flask_squidmesh.storage import tables
from flask_squidmesh.storage.work_queue import Claim
from flask_squidmesh.testing import SettableClock, drain
from tests import kept
from tests.commits import around_commits, statements_told

Outcome = BaseException | Mapping[str, Any] | Callable[[StepContext], Any] | None


class Order(BaseModel):
    order_id: str = "o-1"
    amount: int = 5


class Script:
    """What steps do, and what they were called with: `calls` holds their names, `contexts` what they were told."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.contexts: list[StepContext] = []

    def does(self, name: str, *outcomes: Outcome) -> Callable[..., Any]:
        """A step function: raises or returns one outcome after the other, then the last one for ever.

        :param outcomes: An exception, what to return, or a function of the context.
        """
        plan: list[Outcome] = list(outcomes) or [None]

        def act(ctx: StepContext) -> Any:
            self.calls.append(name)
            self.contexts.append(ctx)
            outcome = plan.pop(0) if len(plan) > 1 else plan[0]
            if callable(outcome):
                return outcome(ctx)
            if isinstance(outcome, BaseException):
                raise outcome
            return outcome

        act.__name__ = act.__qualname__ = name
        return act


class Recording(Executor):
    """A host's queue that keeps what it was given until a test delivers it."""

    def __init__(self, *, continues: bool = False) -> None:
        self.given: list[tuple[dict[str, Any], float | None]] = []
        self.failing: Exception | None = None
        self._continues = continues

    def enqueue(self, payload: Any, *, schedule_in: float | None = None) -> dict[str, Any]:
        if self.failing is not None:
            raise self.failing
        self.given.append((dict(payload), schedule_in))
        return {"job_id": len(self.given)}

    def continues(self, run: Any, step: str) -> bool:
        return self._continues

    @property
    def steps(self) -> list[str]:
        """The steps handed over so far; compensations as "undo"."""
        return [payload.get("step", "undo") for payload, _ in self.given]


def single(script: Script, *outcomes: Outcome, called: str = "Single", **options: Any) -> type[Workflow]:
    """A workflow of the one step `work`, which does what the script says. options: of the step."""
    return type(called, (Workflow,), {"place": Manual(Order), "work": Step(script.does("work", *outcomes), **options)})


# On a crowded machine another writer may take longer than the 5 s for which the driver waits.
PATIENT_SQLITE = {"connect_args": {"timeout": 30}}


class Shop:
    """One app on one database, with its own clock and workflows."""

    def __init__(
        self,
        url: str,
        *workflows: type[Workflow],
        executor: Any = "database",
        engine_options: Mapping[str, Any] = MappingProxyType({}),
        clock: SettableClock | None = None,
        db: SQLAlchemy | None = None,
        **settings: Any,
    ) -> None:
        # Where its tables are those of Procrastinate, the metadata is told to leave them alone.
        shared = SQLAlchemy() if executor == "procrastinate" else kept.DB
        self.url, self.db, self.clock = url, db or shared, clock or SettableClock()
        self.mesh = SquidMesh(clock=self.clock)
        self.mesh.register(*workflows)
        self.app = Flask("shop")
        patient = PATIENT_SQLITE if url.startswith("sqlite") else {}
        compiled = {} if engine_options else {"execution_options": {"compiled_cache": kept.COMPILED}}
        self.app.config["SQLALCHEMY_ENGINE_OPTIONS"] = {**patient, **engine_options, **compiled}
        self.app.config.update(SQLALCHEMY_DATABASE_URI=url, SQUIDMESH_EXECUTOR=executor, SQUIDMESH_URL_PREFIX=None)
        self.app.config.update({f"SQUIDMESH_{name.upper()}": value for name, value in settings.items()})
        self.db.init_app(self.app)
        self.mesh.init_app(self.app)

    @property
    def runtime(self) -> Runtime:
        runtime: Runtime = self.app.extensions["squidmesh"]
        return runtime

    def start(self, workflow: type[Workflow] | str, payload: Any = None, **options: Any) -> str:
        """Start a run and return its id."""
        return self.mesh.start_run(workflow, {} if payload is None else payload, **options).id

    def run(self, workflow: type[Workflow] | str, payload: Any = None, **options: Any) -> str:
        """Start a run, perform what is due and return its id."""
        run_id = self.start(workflow, payload, **options)
        drain()
        return run_id

    def later(self, by: timedelta | float) -> int:
        """Move the clock and perform what is due then."""
        self.clock.advance(by)
        return drain()

    def look(self, run_id: str) -> Run:
        """The run with everything."""
        return self.mesh.inspect_run(run_id, include_history=True)

    def status(self, run_id: str) -> str:
        return self.mesh.inspect_run(run_id).status

    def events(self, run_id: str) -> list[str]:
        """The types of the run's audit events."""
        return [event.type for event in self.look(run_id).audit_events or ()]

    def visits(self, run_id: str) -> list[tuple[str, str]]:
        """Every step run as (step, status), compensations as ("undo step", status)."""
        rows = self.rows(tables.step_runs, tables.step_runs.c.run_id == run_id)
        ordered = sorted(rows, key=lambda row: (row.created_at, row.id))
        return [(row.step if row.kind == "step" else f"undo {row.step}", row.status) for row in ordered]

    def rows(self, table: sa.Table, *where: sa.ColumnElement[bool]) -> list[Any]:
        with self.runtime.database.read() as connection:
            return list(connection.execute(sa.select(table).where(*where)))

    def deliver(self, run_id: str, step: str | None = None) -> Delivery:
        """What a queued job does."""
        if step is None:
            return self.mesh.perform({"kind": "compensation", "run_id": run_id})
        return self.mesh.perform({"kind": "step", "run_id": run_id, "step": step})

    def claim_due(self, queue: str = "squidmesh", *, limit: int = 1, **options: Any) -> list[Claim]:
        """What a worker's claiming does."""
        return self.runtime.claimer.claim_due(queue, limit=limit, **options)

    def perform(self, claim: Claim) -> str:
        """What a worker does with what it claimed; answers the run's status afterwards."""
        return self.runtime.deliverer.deliver(claim)

    def relay(self) -> int:
        """What the relay does; answers how much it handed over again."""
        return self.runtime.relay.once()

    @contextmanager
    def counted(self) -> Iterator[Counter[str]]:
        """Count commits and statements that reach the database meanwhile."""
        counts: Counter[str] = Counter()

        def around(_connection: Any, commit: Callable[[], None]) -> None:
            counts["commits"] += 1
            commit()

        def statement() -> None:
            counts["statements"] += 1

        engine = self.runtime.database.engine
        end = around_commits(engine, around)
        try:
            with statements_told(engine, statement):
                yield counts
        finally:
            end()


@contextmanager
def shop_on(url: str, *workflows: type[Workflow], **engine_options: Any) -> Iterator[Shop]:
    """A shop with an engine of these options, in whose app context the block goes on."""
    shop = Shop(url, *workflows, engine_options=engine_options)
    with shop.app.app_context():
        yield shop
    shop.runtime.database.dispose()


@contextmanager
def opening_shops(url: str, afterwards: Callable[[Shop], None] = lambda shop: None) -> Iterator[Callable[..., Shop]]:
    """A function that makes a shop of workflows and settings, in whose app context the block goes on.

    At the end of the block the rows of every run must agree with each other, and the doctor must find nothing.
    afterwards: what is then done to the last shop.
    """
    with ExitStack() as stack:
        shops: list[Shop] = []

        def open_one(*workflows: Any, url: str = url, **settings: Any) -> Shop:
            shop = Shop(url, *workflows, **settings)
            stack.callback(shop.runtime.database.dispose)
            stack.enter_context(shop.app.app_context())
            shops.append(shop)
            return shop

        yield open_one
        if shops:
            check_rows(shops[-1])
            check_health(shops[-1])
            afterwards(shops[-1])


def error_of(run: Run) -> ErrorRecord:
    """The run's error, which there must be."""
    assert run.last_error is not None
    return run.last_error


def check_health(shop: Shop) -> None:
    """Assert that the doctor finds nothing, where he can look; what is late is the test's own affair."""
    found = [] if shop.runtime.problems() else shop.runtime.doctor.examine()
    assert [str(finding) for finding in found if finding.rule != "overdue"] == []


def check_rows(shop: Shop) -> None:
    """Assert what must hold of the stored rows between transactions."""
    runs = shop.rows(tables.runs)
    step_runs = shop.rows(tables.step_runs)
    dispatched = {row.step_run_id: row for row in shop.rows(tables.dispatches) if row.kind in ("step", "compensation")}
    for run in runs:
        mine = [row for row in step_runs if row.run_id == run.id]
        _check_counters(run, mine)
        _check_dispatches(run, mine, dispatched)
        positions = sorted(row.position for row in mine if row.position is not None)
        assert positions == list(range(1, run.position + 1))
    assert dispatched.keys() <= {row.id for row in step_runs}


def _check_counters(run: Any, rows: list[Any]) -> None:
    steps = [row for row in rows if row.kind == "step"]
    awaiting = [row for row in steps if _awaits(row)]
    going = [row for row in steps if row.status == "running" or (row.status == "pending" and not row.missing)]
    going += awaiting
    retrying = [row for row in going if row.status == "pending" and row.attempts and row.due_at is not None]
    asking = [row for row in rows if row.status == "paused" and row not in awaiting]
    assert run.open_steps == len(going), (run.status, run.open_steps, [(row.step, row.status) for row in steps])
    assert run.retrying_steps == len(retrying)
    assert run.awaiting_steps == len(awaiting)
    if run.status in ("completed", "failed", "cancelled"):
        assert not [row for row in steps if row.status == "pending"]
    else:
        assert run.needs_count == len(asking)
        assert (run.needs is None) == (not asking)
    if run.status == "paused":
        assert not going
        assert asking
    if run.status == "retrying":
        assert len(going) == len(retrying) > 0


def _awaits(row: Any) -> bool:
    """Whether the visit waits for an event."""
    return row.status == "paused" and bool(row.decision) and row.decision["kind"] == "event"


def _check_dispatches(run: Any, rows: list[Any], dispatched: Mapping[str, Any]) -> None:
    for row in rows:
        step_is_due = row.kind == "step" and row.status in ("pending", "running") and not row.missing
        if step_is_due or (row.kind == "compensation" and row.status == "running"):
            assert row.id in dispatched, (run.status, row.kind, row.step, row.status)
        elif row.kind == "step" or row.status != "pending":
            assert row.id not in dispatched, (run.status, row.kind, row.step, row.status)
    undoing = [row for row in rows if row.kind == "compensation" and row.id in dispatched]
    assert len(undoing) == (1 if run.compensation == "running" else 0)
