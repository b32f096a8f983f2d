"""One action on many runs: asked for once, done run by run, each with its own result.

Whoever has time goes on with it: the request that asked, and the upkeep of every worker. Each run's call carries the
job's own idempotency key, so that a job that was cut off can be taken up again without doing anything twice.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, TypedDict

import sqlalchemy as sa

from ..clock import Clock
from ..definition.values import JsonValue, fingerprint
from ..engine.assignments import Claimant
from ..engine.command_table import BY_ACTION
from ..errors import ConflictError, SquidMeshError, TransitionError
from ..people import identity
from ..storage import fact_rows
from ..storage.database import Database
from ..storage.outages import passes
from ..storage.scope import Scope
from ..storage.summaries import new_id, read_id
from ..storage.tables import WorkflowRun, bulk_jobs, runs
from ..storage.write_statements import INSERTS
from .command_arguments import assignee_of, decider_of
from .run_commands import CommandHandler

logger = logging.getLogger("flask_squidmesh")

FOR_MANY: Final = tuple(action for action, command in BY_ACTION.items() if command.is_for_many)
ASSIGNING: Final = tuple(action for action, command in BY_ACTION.items() if command.own_action)
"""Actions that change whose a wait for people is: it becomes that of who asks, or of somebody whom they name."""

BATCH: Final = 20
HELD_FOR: Final = timedelta(seconds=30)
OPEN: Final = ("pending", "running")


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkItem:
    """One run of a job. token: what its page showed as open. step: the step that the action concerns, where it
    concerns one. trusted: whether whoever asked may answer what is others'. before: whose the wait was on that page,
    for an action that changes it. done: None until it was tried. said: why it failed. became: the run that the call
    answered with, which for a replay is the new one.
    """

    run_id: str
    token: str
    step: str | None = None
    trusted: bool = False
    before: str | None = None
    done: bool | None = None
    said: str | None = None
    became: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkJobState:
    """One action on many runs, and how far it is. status: pending, running, completed or cancelled. scope: that of the
    person who asked, in which each run has to be. mount: the dashboard at which they asked; None where no page did.
    groups: those of that person then. asked: what tells one request from another. option: what is taken at decisions.
    to: whose waits become.
    """

    id: str
    scope: Scope
    mount: str | None
    groups: tuple[str, ...]
    asked: str
    action: str
    status: str
    actor: JsonValue
    comment: str | None
    items: tuple[BulkItem, ...]
    created_at: datetime
    finished_at: datetime | None
    option: str | None = None
    to: str | None = None

    @property
    def left(self) -> int:
        """How many runs have not been tried."""
        return sum(item.done is None for item in self.items)

    @property
    def succeeded(self) -> int:
        """With how many runs it was done."""
        return sum(item.done is True for item in self.items)

    @property
    def failed(self) -> int:
        """With how many runs it could not be done."""
        return sum(item.done is False for item in self.items)


class ItemResult(TypedDict, total=False):
    """What came of one run of a job, as it is stored; the fields of BulkItem."""

    done: bool
    said: str
    became: str


Objection = Callable[[BulkJobState, BulkItem], str | None]
"""Why the person whose job it is may not do it with the run any more; None where they may."""


def no_objection(_job: BulkJobState, _item: BulkItem) -> str | None:
    """Nothing stands in the way: where there are no pages, who began a job is trusted."""
    return None


class BulkRunner:
    """Writes actions on many runs down, and goes on with them.

    most: bytes of JSON that what a person says may take. objection: asked for each run away from any page.
    """

    def __init__(
        self, *, database: Database, clock: Clock, commands: CommandHandler, most: int, objection: Objection
    ) -> None:
        self._database, self._clock, self._commands = database, clock, commands
        self._most, self._objection = most, objection

    def begin(
        self,
        action: str,
        items: Sequence[BulkItem],
        *,
        scope: Scope,
        actor: object,
        comment: str | None = None,
        job_id: str | None = None,
        mount: str | None = None,
        groups: Collection[str] = (),
        asked: object = None,
        option: str | None = None,
        to: str | None = None,
    ) -> str:
        """Write the job down and return its id; nothing is done to any run yet.

        items: the runs, none tried yet. scope: which runs the actor may know of. job_id: the id that it gets, so that
        asking twice makes one job. mount: the dashboard at which it is asked for. groups: those of the actor. asked:
        what the person sent, by which the second time is known; the items where left out. option: what is taken at
        decisions. to: whose waits become; with `take` it is the actor. Raises ManualActionError, and ConflictError for
        an id that is somebody else's or was given for something else.
        """
        decider = decider_of(actor, comment, None, actor_required=True, most=self._most)
        job_id, now = read_id(job_id) or new_id(), self._clock.now()
        given = {"option": option, "to": assignee_of(identity(decider.actor) if action == "take" else to)}
        chosen = [[item.run_id, item.token, item.step, item.trusted, item.before] for item in items]
        told = asked_for(action, [chosen, given] if asked is None else asked, decider.comment)
        row = {
            "id": job_id,
            "action": action,
            "status": "pending",
            "actor": decider.actor,
            "comment": decider.comment,
            "selection": {
                **{"items": chosen, "scope": scope.to_dict(), "mount": mount, "asked": told},
                "groups": sorted(groups),
                **given,
            },
            "results": {},
            "created_at": now,
        }
        with self._database.write() as connection:
            concerned = _shared(connection, [item.run_id for item in items])
            insert = INSERTS[connection.dialect.name](bulk_jobs).values({**row, **concerned})
            if connection.execute(insert.on_conflict_do_nothing(index_elements=["id"])).rowcount == 0:
                return _asked_before(connection, job_id, decider.actor, told)
            named = {name: value for name, value in given.items() if value is not None}
            said = {"action": action, **named, "runs": len(items), "bulk": job_id}
            fact_rows.note(
                connection, "bulk", actor=decider.actor, at=now, **concerned, comment=decider.comment, data=said
            )
        return job_id

    def go_on(self, job_id: str, seconds: float, objection: Objection | None = None) -> None:
        """Work at the job for about so long, unless another process does.

        objection: asked for each run before anything is done with it; where left out, as it is away from any page.
        """
        if not self._take(job_id):
            return
        until = time.monotonic() + seconds
        while True:
            job = self._read(job_id)
            waiting = [item for item in job.items if item.done is None][:BATCH] if job.status in OPEN else []
            over = not waiting or time.monotonic() >= until
            self._record(
                job_id,
                {} if over else self._results(job, waiting, until, objection or self._objection),
                release=over,
            )
            if over:
                return

    def go_on_with_all(self, seconds: float) -> None:
        """Work at the jobs that are not done, the oldest first, for about so long in all."""
        until = time.monotonic() + seconds
        query = sa.select(bulk_jobs.c.id).where(bulk_jobs.c.status.in_(OPEN)).order_by(bulk_jobs.c.created_at)
        with self._database.read() as connection:
            waiting = list(connection.scalars(query))
        for job_id in waiting:
            left = until - time.monotonic()
            if left <= 0:
                return
            self.go_on(job_id, left)

    def cancel(self, job_id: str, *, actor: object) -> None:
        """Leave the rest of the job undone. Raises TransitionError where nothing is left."""
        now = self._clock.now()
        mine = sa.and_(bulk_jobs.c.id == job_id, bulk_jobs.c.status.in_(OPEN))
        with self._database.write() as connection:
            end = sa.update(bulk_jobs).where(mine).values(status="cancelled", finished_at=now)
            ended = connection.execute(end.returning(bulk_jobs.c.tenant, bulk_jobs.c.workflow)).mappings().first()
            if ended is None:
                raise TransitionError("The bulk action has ended already. Nothing was done.", status="completed")
            fact_rows.note(connection, "bulk_cancelled", actor=actor, at=now, **ended, data={"bulk": job_id})

    def _take(self, job_id: str) -> bool:
        """Claim the job for a while."""
        now = self._clock.now()
        free = sa.or_(bulk_jobs.c.held_until.is_(None), bulk_jobs.c.held_until <= now)
        mine = sa.and_(bulk_jobs.c.id == job_id, bulk_jobs.c.status.in_(OPEN), free)
        with self._database.write() as connection:
            taken = connection.execute(
                sa.update(bulk_jobs).where(mine).values(status="running", held_until=now + HELD_FOR)
            )
            return taken.rowcount == 1

    def _read(self, job_id: str) -> BulkJobState:
        with self._database.read() as connection:
            job = look(connection, Scope.all(), job_id)
        assert job is not None
        return job

    def _results(
        self, job: BulkJobState, waiting: Sequence[BulkItem], until: float, objection: Objection
    ) -> dict[str, ItemResult]:
        results: dict[str, ItemResult] = {}
        for item in waiting:
            results[item.run_id] = self._tried(job, item, objection)
            if time.monotonic() >= until:
                break
        return results

    def _tried(self, job: BulkJobState, item: BulkItem, objection: Objection) -> ItemResult:
        try:
            why = objection(job, item)
            if why is not None:
                return {"done": False, "said": why}
            answer = self._commands.carry_out(
                BY_ACTION[job.action],
                item.run_id,
                scope=job.scope,
                actor=job.actor,
                comment=job.comment,
                metadata={"bulk": job.id},
                expected=item.token,
                idempotency_key=f"bulk:{job.id}",
                **_answering(job, item),
            )
        except SquidMeshError as error:
            return {"done": False, "said": str(error)}
        except Exception as error:  # one run must not keep the others, and other jobs, waiting
            if passes(error):  # the job goes on when the database is back
                raise
            logger.exception("squidmesh: run %s: %s within a bulk action failed", item.run_id, job.action)
            return {"done": False, "said": f"It could not be done ({type(error).__name__})."}
        return {"done": True, "became": answer.id}

    def _record(self, job_id: str, results: Mapping[str, ItemResult], *, release: bool) -> None:
        now = self._clock.now()
        with self._database.write() as connection:
            query = sa.select(bulk_jobs).where(bulk_jobs.c.id == job_id).with_for_update()
            row = connection.execute(query).mappings().one()
            merged = {**row["results"], **results}
            ended = row["status"] in OPEN and len(merged) >= len(row["selection"]["items"])
            values: dict[str, Any] = {"results": merged, "held_until": None if release or ended else now + HELD_FOR}
            if ended:
                values |= {"status": "completed", "finished_at": now}
            connection.execute(sa.update(bulk_jobs).where(bulk_jobs.c.id == job_id).values(values))


def _answering(job: BulkJobState, item: BulkItem) -> dict[str, Any]:
    """What the call is told of the wait that it answers, and by whom. Who began a job without a page is trusted."""
    told: dict[str, Any] = {"step": item.step} if item.step else {}
    if BY_ACTION[job.action].asks_whose and job.mount is not None and not item.trusted:
        told["claimant"] = Claimant(identity(job.actor), job.groups)
    if job.action in ASSIGNING:
        return {**told, "to": job.to, "expected_assignee": item.before}
    return {**told, "option": job.option} if job.option is not None else told


def _shared(connection: sa.Connection, run_ids: Sequence[str]) -> dict[str, str | None]:
    """The tenant and the workflow that all of the runs have, None where they have several."""
    names = ("tenant", "workflow")
    rows = connection.execute(
        sa.select(*(runs.c[name] for name in names)).where(runs.c.id.in_(run_ids)).distinct()
    ).all()
    found = {name: {getattr(row, name) for row in rows} for name in names}
    return {name: each.pop() if len(each) == 1 else None for name, each in found.items()}


def asked_for(action: str, asked: object, comment: str | None) -> str:
    """What tells one request from another."""
    return fingerprint([action, asked, comment])


def _asked_before(connection: sa.Connection, job_id: str, actor: object, told: str) -> str:
    before = connection.execute(sa.select(bulk_jobs).where(bulk_jobs.c.id == job_id)).mappings().one()
    if identity(before["actor"]) != identity(actor):
        raise ConflictError(f"The bulk action {job_id} is somebody else's. Nothing was done.", current=job_id)
    if before["selection"]["asked"] != told:
        raise ConflictError(f"The bulk action {job_id} was asked for with something else. Nothing was done.")
    return job_id


def look(connection: sa.Connection, scope: Scope, job_id: str) -> BulkJobState | None:
    """The job as it is now; None where there is none, and where one of its runs is outside the scope."""
    found = read_id(job_id)
    row = connection.execute(sa.select(bulk_jobs).where(bulk_jobs.c.id == found)).mappings().first() if found else None
    job = _job(row) if row else None
    return None if job is None or _tells_of_others(connection, scope, job) else job


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkJobSummary:
    """A job in a list, without its runs. option, to: as of a BulkJobState."""

    id: str
    action: str
    status: str
    actor: JsonValue
    comment: str | None
    created_at: datetime
    finished_at: datetime | None
    option: str | None
    to: str | None


def recent(connection: sa.Connection, scope: Scope, *, limit: int, before: str | None = None) -> list[BulkJobSummary]:
    """The jobs that began last, the latest first, as far as all of their runs are within the scope; one query.

    before: the id of a job, which stands for when it began; what is no id stands for now. A job over several tenants or
    workflows is left out for whoever may not know of all.
    """
    names = ("id", "action", "status", "actor", "comment", "created_at", "finished_at")
    within: list[sa.ColumnElement[bool]] = [
        *([] if scope.tenants is None else [bulk_jobs.c.tenant.in_(scope.tenants)]),
        *([] if scope.workflows is None else [bulk_jobs.c.workflow.in_(scope.workflows)]),
    ]
    behind = read_id(before) if before else None
    if behind is not None:
        place = sa.select(bulk_jobs.c.created_at).where(bulk_jobs.c.id == behind).scalar_subquery()
        earlier = sa.and_(bulk_jobs.c.created_at == place, bulk_jobs.c.id < behind)
        within.append(sa.or_(bulk_jobs.c.created_at < place, earlier))
    said = [bulk_jobs.c.selection[name].as_string().label(name) for name in ("option", "to")]
    query = (
        sa.select(*(bulk_jobs.c[name] for name in names), *said)
        .where(*within)
        .order_by(bulk_jobs.c.created_at.desc(), bulk_jobs.c.id.desc())
        .limit(limit)
    )
    return [BulkJobSummary(**row) for row in connection.execute(query).mappings()]


def _tells_of_others(connection: sa.Connection, scope: Scope, job: BulkJobState) -> bool:
    if scope.is_all:
        return False
    mine = sa.and_(*scope.within(WorkflowRun))
    others = sa.select(runs.c.id).where(runs.c.id.in_([item.run_id for item in job.items]), sa.not_(mine))
    return connection.scalar(others.limit(1)) is not None


def _job(row: sa.RowMapping) -> BulkJobState:
    names = ("id", "action", "status", "actor", "comment", "created_at", "finished_at")
    results: Mapping[str, ItemResult] = row["results"]
    asked = row["selection"]["items"]
    items = (
        BulkItem(run_id=run_id, token=token, step=step, trusted=trusted, before=before, **results.get(run_id, {}))
        for run_id, token, step, trusted, before in asked
    )
    return BulkJobState(
        items=tuple(items),
        scope=Scope.from_dict(row["selection"]["scope"]),
        mount=row["selection"]["mount"],
        groups=tuple(row["selection"]["groups"]),
        asked=row["selection"]["asked"],
        option=row["selection"]["option"],
        to=row["selection"]["to"],
        **{name: row[name] for name in names},
    )
