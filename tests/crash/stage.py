"""One host and its database, whose processes may die and are started again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import sqlalchemy as sa

from flask_squidmesh import Notice, RunSummary, StepContext, Workflow
from flask_squidmesh.definition.context import CompensationContext
from flask_squidmesh.definition.workflow import Registry
from flask_squidmesh.notices import NOTICE_KINDS, NoticeKind
from flask_squidmesh.runtime.runtime import Runtime
from flask_squidmesh.storage import tables
from tests.shop import Shop

from .deliveries import DELIVERIES
from .effects import Effects
from .points import Killed, Points

CLAIM_SECONDS = 30.0
ROUNDS = 60
DEATHS = 12

NOTES = sa.table("notes", sa.column("run_id"), sa.column("note"))
CREATE_NOTES = "CREATE TABLE IF NOT EXISTS notes (run_id TEXT, note TEXT)"


class Told(NamedTuple):
    """Something that somebody was told. is_open: whether the step waited for people just then."""

    kind: NoticeKind
    step: str | None
    receiver: str
    id: str
    is_open: bool


Build = Callable[[Effects], Sequence[type[Workflow]]]
Act = Callable[["Stage"], None]
Decide = Callable[["Stage", RunSummary], None]


class Stage:
    """A host on one database: the process that lives now, and what outlives it, such as the queue and the effects.

    decide: what a person does about a run that needs somebody. delivery: what delivers the work.
    """

    def __init__(self, url: str, build: Build, decide: Decide, delivery: str, points: Points | None = None) -> None:
        self._decide = decide
        self.points = points or Points()
        self.effects = Effects(self.points, self)
        self.workflows = build(self.effects)
        self.executor = DELIVERIES[delivery](self.points)
        self.shop = Shop(url, *self.workflows, executor=self.executor)
        self._first_version = self.shop.runtime.registry
        with self.shop.app.app_context():
            for engine in {self.shop.db.engine, self.shop.runtime.database.engine}:
                self.points.watch(engine)

    # -- processes ---------------------------------------------------------------------------------------------

    def live(self, acts: Sequence[Act], *, at: int = 0) -> None:
        """Do one act after the other, on an empty database. Where the process dies the next one begins its act again.

        at: the point where a process dies; 0 for none.
        """
        self._begin(at)
        for act in acts:
            for _ in range(DEATHS):
                if self._survives(act):
                    break
            else:
                raise AssertionError(f"every process died in {act}")

    def close(self) -> None:
        """Close what is open."""
        with self.shop.app.app_context():
            self.shop.db.engine.dispose()
        self.shop.runtime.database.dispose()

    def _begin(self, at: int) -> None:
        self.points.begin(0)
        self.shop.clock.move_to(datetime.now(UTC))
        self._restart(self._first_version)
        with self.shop.runtime.database.write() as connection:
            connection.exec_driver_sql(CREATE_NOTES)
            for table in (NOTES, *reversed(tables.Base.metadata.sorted_tables)):
                connection.execute(sa.delete(table))
        self.effects.begin()
        self.told: list[Told] = []
        self.executor.begin(self.shop)
        self._unanswered: tuple[str, tuple[Any, ...], dict[str, Any]] | None = None
        self.points.begin(at)

    def _survives(self, act: Act) -> bool:
        try:
            with self.shop.app.app_context():
                self._repeat_unanswered()
                act(self)
        except Killed:
            self.executor.process_died()
            self._restart()
            return False
        except sa.exc.SQLAlchemyError:  # a connection was cut, and whoever called has to call again
            self.executor.process_died()
            return False
        return True

    def deploy(self, *workflows: type[Workflow]) -> None:
        """The processes from here on know these workflows instead."""
        version = Registry()
        version.register(*workflows)
        self._restart(version)

    def _restart(self, version: Registry | None = None) -> None:
        """A new process: it knows nothing. The pool of connections is kept, because it tells nothing either.

        version: the workflows that it knows; those of the process before it where that is left out.
        """
        self.points.begin_process()
        old = self.shop.runtime
        known = version or old.registry
        new = Runtime(self.shop.app, known, old.settings, self.shop.clock, subscriptions=old.subscriptions)
        new.database._engine = old.database.engine
        self.shop.app.extensions["squidmesh"] = new

    # -- what people do ----------------------------------------------------------------------------------------

    def say(self, call: str, *args: Any, **options: Any) -> None:
        """Call the library with an idempotency key, and again with the same one where the answer never came."""
        self._unanswered = (call, args, options)
        getattr(self.shop.mesh, call)(*args, **options)
        self._unanswered = None

    def note(self, run_id: str, note: str) -> None:
        """Write a row of the host's in db.session."""
        self.shop.db.session.execute(sa.insert(NOTES).values(run_id=run_id, note=note))

    def _repeat_unanswered(self) -> None:
        if self._unanswered is not None:
            call, args, options = self._unanswered
            self.say(call, *args, **options)

    # -- what processes do -------------------------------------------------------------------------------------

    def work(self) -> None:
        """Perform, relay and decide, and let time pass, until nothing is left to do."""
        for _ in range(ROUNDS):
            self.executor.deliver(self.shop)
            self.shop.runtime.notice_deliverer.deliver_due()
            if not self._decided() and not self._dispatches() and not self._untold():
                return
            self.shop.runtime.claims.renew()
            self.shop.clock.advance(CLAIM_SECONDS + 1)
            self.shop.relay()
        raise AssertionError(f"the work does not end: {[self.shop.visits(run.id) for run in self.runs]}")

    def _dispatches(self) -> Sequence[Any]:
        with self.points.aside():
            return self.shop.rows(tables.dispatches)

    def _untold(self) -> Sequence[Any]:
        with self.points.aside():
            return self.shop.rows(tables.outbox, tables.outbox.c.ended_at.is_(None))

    def tell_everything(self) -> None:
        """Have what happens told, with a point on either side of asking whom, and of telling each of two people."""
        if not self.shop.runtime.subscriptions:
            self.shop.mesh.add_channel(self._tell, on=NOTICE_KINDS, to=self._whom)

    def _whom(self, notice: Notice) -> Sequence[str]:
        with self.points.around("asking whom"):
            return "ann", "bob"

    def _tell(self, notice: Notice, receiver: str) -> None:
        with self.points.around("a telling"):
            with self.points.aside():
                waits = self.shop.rows(tables.waits, tables.waits.c.run_id == notice.run_id)
            is_open = any(wait.step == notice.step for wait in waits)
            self.told.append(Told(notice.kind, notice.step, receiver, notice.id, is_open))

    def _decided(self) -> bool:
        """Have a person decide about what needs one; answer whether any did."""
        before = [run.updated_at for run in self.runs]
        for run in self.runs:
            if run.needs is not None:
                self._decide(self, run)
        return before != [run.updated_at for run in self.runs]

    # -- what there is -----------------------------------------------------------------------------------------

    @property
    def runs(self) -> list[RunSummary]:
        """All runs, the first one first."""
        with self.points.aside():
            rows = self.shop.rows(tables.runs)
            ordered = sorted(
                rows, key=lambda row: (row.created_at, row.parent_run_id or "", row.child_key or "", row.id)
            )
            return [self.shop.mesh.inspect_run(row.id) for row in ordered]

    @property
    def notes(self) -> list[tuple[str, str]]:
        """The host's rows."""
        with self.points.aside(), self.shop.runtime.database.read() as connection:
            return [(row.run_id, row.note) for row in connection.execute(sa.select(NOTES))]

    def failed_attempts(self, ctx: StepContext) -> int:
        """How many attempts of the visit have failed; lost ones do not count."""
        kind = "compensation" if isinstance(ctx, CompensationContext) else "step"
        visit = (tables.step_runs.c.run_id == ctx.run_id) & (tables.step_runs.c.kind == kind)
        visit &= (tables.step_runs.c.step == ctx.step) & (tables.step_runs.c.visit == ctx.visit)
        query = (
            sa.select(sa.func.count())
            .select_from(tables.attempts.join(tables.step_runs))
            .where(visit, tables.attempts.c.status == "failed")
        )
        with self.points.aside(), self.shop.runtime.database.read() as connection:
            return connection.scalar(query) or 0
