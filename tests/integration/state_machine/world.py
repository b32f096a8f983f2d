"""A host whose workers, queue, operators and clock do as they are told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from flask import current_app

from flask_squidmesh import Delivery, EventReceipt, signals
from flask_squidmesh.engine.transitions import TERMINAL
from flask_squidmesh.runtime.lost_claims import SuspectIsolation
from flask_squidmesh.storage import tables
from flask_squidmesh.storage.work_queue import Claim
from flask_squidmesh.testing import drain
from tests.integration.state_machine.building import EVENT, Call, Choose, Effects, build, in_turn
from tests.integration.state_machine.deploys import Change, changed, restored
from tests.integration.state_machine.mishaps import Fate, Mishap, What
from tests.integration.state_machine.plans import StepPlan, WorkflowPlan
from tests.shop import Order, Recording, Shop

QUEUE = "squidmesh"
CLAIM_SECONDS = 30.0
LATER = 35.0
LONG = 3_700.0
MOST_ROUNDS = 60

LEDGER = sa.table("ledger", sa.column("run_id"), sa.column("step"), sa.column("visit"), sa.column("attempt"))
_CREATE_LEDGER = "CREATE TABLE IF NOT EXISTS ledger (run_id TEXT, step TEXT, visit INTEGER, attempt INTEGER)"


@dataclass(frozen=True)
class Move:
    """A run's move, as it was announced."""

    run_id: str
    before: str
    after: str


class World:
    """One host with workflows, on a database that is emptied first. Use it as a context manager."""

    def __init__(
        self,
        url: str,
        plans: Sequence[WorkflowPlan],
        *,
        choose: Choose = in_turn,
        continues: bool = True,
        by_queue: bool = False,
        **settings: Any,
    ) -> None:
        """by_queue: whether it is the host's queue that brings runs to their end, and no worker."""
        self.effects = Effects(write=self._write, choose=choose, began=self._call_begins, ended=self._call_ends)
        self.queue, self._by_queue = Recording(continues=continues), by_queue
        self._url, self._settings = url, settings
        self.versions = [[plan] for plan in plans]
        self.plans: dict[str, WorkflowPlan] = {}
        self.shops: list[Shop] = []
        self._make_shop()
        self.fate = Fate(self._befall)
        self.claims: list[Claim] = []
        self._claimed_by: dict[str, Shop] = {}
        self.runs: list[str] = []
        self.moves: list[Move] = []
        self.decided: Counter[tuple[str, str]] = Counter()
        self.meanwhile: Callable[[str], None] = lambda run_id: None
        self._faults: list[Exception] = []
        self._stack = ExitStack()

    @property
    def shop(self) -> Shop:
        """The host as it was deployed last."""
        return self.shops[-1]

    def __enter__(self) -> World:
        self._open_shop()
        with self.shop.runtime.database.write() as connection:
            connection.exec_driver_sql(_CREATE_LEDGER)
            for table in (LEDGER, *reversed(tables.Base.metadata.sorted_tables)):
                connection.execute(sa.delete(table))
        self._watch_shop()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    # -- deploys -----------------------------------------------------------------------------------------------

    def deploy(self, workflow: int, change: Change) -> None:
        """Deploy a changed definition; processes of the one before live on."""
        versions = self.versions[workflow]
        versions.append(changed(versions, change))
        self._deploy_last()

    def versions_of(self, run: Any) -> list[WorkflowPlan]:
        """The versions of the run's workflow, the oldest first."""
        return self.versions[int(run.workflow.removeprefix("plan"))]

    def restore(self) -> None:
        """Deploy definitions that declare every step that a run may be at."""
        for versions in self.versions:
            versions.append(restored(versions))
        self._deploy_last()

    def _deploy_last(self) -> None:
        self._make_shop()
        self._open_shop()
        self._watch_shop()

    def _make_shop(self) -> None:
        plans = [versions[-1] for versions in self.versions]
        self.workflows = [build(f"Plan{number}", plan, self.effects) for number, plan in enumerate(plans)]
        clock = self.shop.clock if self.shops else None
        self.shops.append(Shop(self._url, *self.workflows, executor=self.queue, clock=clock, **self._settings))
        for workflow, plan in zip(self.workflows, plans, strict=True):
            self.plans[self.shop.runtime.registry.get(workflow).fingerprint] = plan

    def _open_shop(self) -> None:
        self._stack.callback(self.shop.runtime.database.dispose)
        self._stack.enter_context(self.shop.app.app_context())
        self._stack.callback(self.shop.db.engine.dispose)

    def _watch_shop(self) -> None:
        for engine in {self.shop.db.engine, self.shop.runtime.database.engine}:
            self.fate.watch(engine)
        self._stack.enter_context(signals.run_transitioned.connected_to(self._moved, sender=self.shop.app))

    # -- what a process does -----------------------------------------------------------------------------------

    @contextmanager
    def process(self, mishap: Mishap | None) -> Iterator[None]:
        """A process does something and may die of it."""
        self._begin_process()
        try:
            with self.fate.has(mishap):
                yield
        finally:
            self.shop.db.session.remove()
        if self._faults:
            raise self._faults.pop()

    def _begin_process(self) -> None:
        """Forget what the one before, which is gone with its claims, meant to attempt alone."""
        for shop in self.shops:
            vars(shop.runtime.isolation).update(vars(SuspectIsolation(CLAIM_SECONDS)))

    def claim(self, *, limit: int = 1, take_over: bool | None = True) -> None:
        """A worker claims work and keeps it for a while."""
        claimed = self.shop.claim_due(QUEUE, limit=limit, take_over=take_over)
        self.claims += claimed
        self._claimed_by.update({claim.claim_id: self.shop for claim in claimed})

    def work(self, claim: Claim) -> None:
        """The worker goes on with what it has claimed, however late."""
        shop = self._claimed_by[claim.claim_id]
        with shop.app.app_context():
            shop.perform(claim)

    def take_turn(self, version: int = -1) -> None:
        """Some worker, of the version that was deployed last or of another, claims the next work and performs it."""
        shop = self.shops[version]
        with shop.app.app_context():
            shop.runtime.internal_work.perform_due()
            for claim in shop.claim_due(QUEUE, take_over=True):
                shop.perform(claim)

    def send(self, event_id: str | None, session: Any = None) -> EventReceipt:
        """Somebody sends the event that runs wait for."""
        return self.shop.mesh.send_event(
            EVENT, key=Order().order_id, payload={"again": True}, event_id=event_id, session=session
        )

    def perform(self, payload: Any) -> Delivery:
        """The host's queue delivers a job."""
        return self.shop.mesh.perform(payload)

    # -- the end -----------------------------------------------------------------------------------------------

    def come_to_rest(self, decide: Any) -> None:
        """Nothing goes wrong any more: perform everything, and have a person decide whatever is open."""
        self.queue.failing = None
        self._begin_process()
        rested = False
        for _ in range(MOST_ROUNDS):
            self.shop.clock.advance(LONG)
            self._perform_what_is_due()
            decided = [decide(self, run_id) for run_id in self.runs]
            work = self.shop.rows(tables.dispatches)
            rests = not any(decided) and all(each.held for each in work)
            if rests and (rested or not work):
                return
            rested = rests  # at first a new process takes nothing over from the dead
        raise AssertionError(f"work goes on for ever: {[self.shop.visits(run_id) for run_id in self.runs]}")

    def _perform_what_is_due(self) -> None:
        if not self._by_queue:
            drain()
            return
        given = self.queue.given
        given[:] = [(payload, None) for payload, _ in given]
        self.shop.relay()
        while job := next((job for job in given if job[1] is None), None):
            given.remove(job)
            self._begin_process()
            self.perform(job[0])

    def check_ended(self) -> None:
        """Every run has come to an end."""
        unfinished = [row for row in self.shop.rows(tables.runs) if row.status not in TERMINAL]
        assert not unfinished, [(row.status, self.shop.visits(row.id)) for row in unfinished]

    # -- what happens within -----------------------------------------------------------------------------------

    def _call_begins(self, plan: StepPlan, call: Call) -> None:
        self._present = (plan, call)
        self.fate.call_begins()

    def _call_ends(self, plan: StepPlan, call: Call) -> None:
        self._present = (plan, call)
        self.fate.call_ends()

    def _befall(self, what: What) -> None:
        plan, call = self._present
        if plan.transaction and call.kind == "step":
            return  # it holds SQLite's only write lock
        try:
            with self.shop.app.app_context():
                self._befall_call(what, call)
        except Exception as fault:  # which the runtime would take for the step's own failure
            self._faults.append(fault)

    def _befall_call(self, what: What, call: Call) -> None:
        match what:
            case "is cancelled":
                self._cancel(call.run_id, compensate=call.step in ("s0", "s2", "s4"))
            case "is taken over":
                self.shop.clock.advance(LATER)
                self.take_turn()
            case "loses its claim":
                self.shop.clock.advance(LATER)
                self.claim()
            case "is slow":
                self.take_turn()
                self.take_turn()
        self.meanwhile(call.run_id)

    def _cancel(self, run_id: str, *, compensate: bool) -> None:
        if self.shop.status(run_id) not in TERMINAL | {"cancelling"}:
            self.shop.mesh.cancel_run(run_id, actor="in the meantime", compensate=compensate)
            self.decided[run_id, "cancelled"] += 1

    def _write(self, call: Call) -> None:
        values = {"run_id": call.run_id, "step": call.step, "visit": call.visit, "attempt": call.attempt}
        current_app.extensions["sqlalchemy"].session.execute(sa.insert(LEDGER).values(values))

    def _moved(self, _app: object, *, run_id: str, from_status: str, status: str, **_: object) -> None:
        self.moves.append(Move(run_id, from_status, status))
