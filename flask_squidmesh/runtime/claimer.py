"""Turning due work into claims, in fair turns; what a lost claim leaves behind is settled first."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import sqlalchemy as sa

from ..clock import Clock
from ..config import Config
from ..definition.spec import WorkflowSpec
from ..definition.workflow import Registry
from ..engine.changes import Changes
from ..engine.facts import AttemptAbandoned, DecisionContext, DecisionState, RunFact, fact_after
from ..engine.moves import claimed
from ..engine.transitions import STOPPING
from ..errors import UnknownWorkflowError
from ..storage import fact_rows, work_queue
from ..storage.database import Database
from ..storage.outages import passes
from ..storage.summaries import new_id
from ..storage.tables import dispatches, runs
from ..storage.work_queue import Claim, Which, Work
from ..storage.write_batch import WriteBatch
from .adopted_work import WorkAdopter, fits, knows
from .claim_renewal import ClaimKeeper
from .definition_change import Adopter
from .dispatcher import HandOver
from .lost_claims import LostWorkLooks, SuspectIsolation
from .outcomes import log_error, type_name
from .queue_progress import QueueProgress
from .recorder import Recorded, Recorder, decided
from .signal_publisher import SignalSequencer

logger = logging.getLogger("flask_squidmesh")

LEFT_TO_OTHERS = timedelta(seconds=5)
FURTHER = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimBatch:
    """What a look at the queue brought.

    last: when the last of what was seen was due; None where nothing was behind. left_some: whether there was more due
    than is claimed. settled: whether something was settled that other work may follow from.
    """

    claims: list[Claim]
    last: datetime | None
    left_some: bool
    settled: bool = False


class Claimer:
    """Claims due work. worker: the name of this process. sequencer: has what a claim tells of its run told in order."""

    def __init__(
        self,
        *,
        database: Database,
        clock: Clock,
        registry: Registry,
        settings: Config,
        worker: str,
        recorder: Recorder,
        adopter: Adopter,
        adopted_work: WorkAdopter,
        sequencer: SignalSequencer,
        claims: ClaimKeeper,
        isolation: SuspectIsolation,
        queue_progress: QueueProgress,
    ) -> None:
        self._database, self._clock, self._registry, self._settings = database, clock, registry, settings
        self._worker, self._recorder, self._sequencer, self._claim_keeper = worker, recorder, sequencer, claims
        self._adopter, self._adopted_work = adopter, adopted_work
        self._isolation, self._queue_progress = isolation, queue_progress

    def claim_due(
        self,
        queue: str,
        *,
        limit: int,
        take_over: bool | None = None,
        left_to_others: timedelta = LEFT_TO_OTHERS,
    ) -> list[Claim]:
        """Claim due work of the queue, the oldest first; see `look`."""
        return self.look(queue, limit=limit, take_over=take_over, left_to_others=left_to_others).claims

    def look(
        self,
        queue: str,
        *,
        limit: int,
        take_over: bool | None = None,
        after: datetime | None = None,
        left_to_others: timedelta = LEFT_TO_OTHERS,
    ) -> ClaimBatch:
        """Claim due work of the queue, and commit.

        take_over: whether expired claims are taken; None leaves it to how long this process has reached the database.
        after: only what was due later than then. left_to_others: for how long, from its time on, work that this process
        does not know is there for those who do, before it is put back.
        """
        takes_over = self.may_take_over() if take_over is None else take_over
        which: Which = "all" if takes_over else "unclaimed"
        looked: ClaimBatch | None = None
        if self._database.dialect == "postgresql":
            looked = self._look_at_usual(queue, limit=limit, which=which, after=after)
        # What was settled may have made other work due, so an empty batch with something settled is no answer yet.
        while looked is None or (looked.settled and not looked.claims):
            looked = self._look_at_any(
                queue, limit=limit, which=which, surely=bool(take_over), after=after, left_to_others=left_to_others
            )
        return looked

    def look_for_lost(self, queue: str, *, limit: int) -> list[Claim]:
        """Claim work of the queue that a dead worker held, however much is due before it."""
        if not self.may_take_over():
            return []
        return self._look_at_any(queue, limit=limit, which="lost", after=None, left_to_others=LEFT_TO_OTHERS).claims

    def claim_lost(self, queue: str, *, suits: Callable[[Work], bool]) -> Claim | None:
        """Claim something that a dead worker held, of what suits and this process knows, however much is due before
        it; None where there is none.

        suits: is asked before the lost attempt is settled.
        """
        settled: list[Recorded] = []
        claims: list[Claim] = []
        batch = WriteBatch()
        with self.unanswered_let_go(claims), self._database.write() as connection:
            lost = work_queue.due_work(connection, self._database, queue, limit=FURTHER, which="lost")
            for work in one_a_run(self._left_to_the_living(lost)):
                if claims or not self._is_for_this_process(connection, work) or not suits(work):
                    continue
                with self.in_savepoint(connection, work, settled):
                    if claim := self.take(connection, work, settled, batch):
                        claims.append(claim)
            batch.execute(connection)
        for recorded in settled:
            self._recorder.after_commit(recorded)
        return claims[0] if claims else None

    def fair_claimer(self, queue: str) -> FairClaimer:
        """Looks at the queue by turns at its front and further behind."""
        return FairClaimer(self, queue, claim_timeout=self._settings.claim_timeout)

    def may_take_over(self) -> bool:
        """Whether an expired claim means that its worker is lost, and not that nobody could renew."""
        return self._database.contact.unbroken_for(self._settings.claim_timeout)

    def take(
        self,
        connection: sa.Connection,
        work: Work,
        settled: list[Recorded],
        batch: WriteBatch,
        beside: Collection[Claim] = (),
    ) -> Claim | None:
        """Claim the work, or settle it where it cannot be performed. What was settled is told after the commit.

        batch: gets the writes of the claim, which are for the caller to make. beside: what is claimed together with it.
        """
        claim: Claim | None = None
        try:
            claim = self._take(connection, work, settled, batch, beside)
        finally:
            if claim is None:
                self._isolation.withdraw(work.visit.id)
        return claim

    def give_up_lost(self, connection: sa.Connection, work: Work, settled: list[Recorded]) -> bool:
        """Settle the attempt whose claim was lost, and answer whether the step may be attempted again."""
        spec = self._known(work)
        if spec is None:
            self._adopted_work.put_back(connection, work)
            return False
        recorded, again = self._abandon(connection, spec, work)
        settled.append(recorded)
        return again

    def offer_held(self, connection: sa.Connection, *, limit: int) -> list[Work]:
        """Make work due again that another process put back and this one knows."""
        names = {name for spec in self._registry for name in spec.names}
        held = work_queue.held_work(connection, names, limit=limit)
        offered = [work for work in held if self._is_for_this_process(connection, work)]
        for work in offered:
            work_queue.offer(connection, work, self._clock.now())
        return offered

    @contextmanager
    def in_savepoint(self, connection: sa.Connection, work: Work, settled: list[Recorded]) -> Iterator[None]:
        """Take up the work within the block. What fails, whatever the reason, is put back and keeps nobody from the
        rest.

        settled: what the transaction has settled; the block adds to it.
        """
        before = len(settled)
        try:
            with connection.begin_nested():
                yield
        except Exception as error:
            if passes(error):
                raise
            message = "squidmesh: run %s: step %s could not be taken up"
            log_error(logger, error, message, work.run.id, work.visit.step)
            del settled[before:]
            reason = f"A process could not take up step {work.visit.step} ({type_name(error)}). Its log says more."
            self._adopted_work.put_back(connection, work, reason)

    @contextmanager
    def unanswered_let_go(self, claims: list[Claim]) -> Iterator[None]:
        """Where the commit is not answered, have those of the claims given back that were made."""
        try:
            yield
        except BaseException as error:
            for claim in claims:
                self._isolation.withdraw(claim.visit.id)
            if isinstance(error, sa.exc.SQLAlchemyError):
                self._claim_keeper.let_go(claims)
            raise

    def _take(
        self,
        connection: sa.Connection,
        work: Work,
        settled: list[Recorded],
        batch: WriteBatch,
        beside: Collection[Claim],
    ) -> Claim | None:
        spec = self._workflow_of(work)
        if spec is None:
            self._adopted_work.put_back(connection, work)
            return None
        if work.claim_id is not None:
            if not self.give_up_lost(connection, work, settled):
                return None
            work = _freed(connection, work)
        if _is_stopped(work):
            connection.execute(sa.delete(dispatches).where(dispatches.c.id == work.dispatch_id))
            return None
        if not fits(spec, work):
            taken_up = self._adopted_work.adopted(connection, spec, work, settled)
            if taken_up is None:
                return None
            work = taken_up
        if not self._isolation.admits(work.visit, beside):
            return None
        self._queue_progress.taken(connection, work)
        return self._claim(spec, work, settled, batch)

    def _look_at_any(
        self,
        queue: str,
        *,
        limit: int,
        which: Which,
        surely: bool = False,
        after: datetime | None,
        left_to_others: timedelta,
    ) -> ClaimBatch:
        """Claim, settle what was lost, and put back what this process does not know and nobody else has taken.

        surely: whether expired claims are taken although the answer was long in coming.
        """
        settled: list[Recorded] = []
        claims: list[Claim] = []
        batch = WriteBatch()
        with self.unanswered_let_go(claims), self._database.write() as connection:
            for seen in (limit, FURTHER):
                found = work_queue.due_work(connection, self._database, queue, limit=seen + 1, which=which, after=after)
                found = found if surely else self._left_to_the_living(found)
                usual = self._claims(found[:limit], settled, batch)
                if usual:
                    claims.extend(usual)
                    self._note(connection, found, claims)
                    break
                for work in one_a_run(found[:seen]):
                    if len(claims) == limit:
                        break
                    if self._is_left(connection, work, left_to_others):
                        continue
                    with self.in_savepoint(connection, work, settled):
                        if claim := self.take(connection, work, settled, batch, claims):
                            claims.append(claim)
                if claims or not found:
                    break
            batch.execute(connection)
        for recorded in settled:
            self._recorder.after_commit(recorded)
        return replace(_looked(claims, found, seen), settled=bool(settled))

    def _look_at_usual(self, queue: str, *, limit: int, which: Which, after: datetime | None) -> ClaimBatch | None:
        """The same where all that is due only has to be claimed, in two round trips; else None, and nothing is
        claimed.
        """
        found: list[Work] = []
        claims: list[Claim] = []
        settled: list[Recorded] = []

        def claim(works: list[Work]) -> WriteBatch | None:
            found.extend(works)
            batch = WriteBatch()
            if not any(self._queue_progress.is_to_be_noted(work) for work in found[:limit]):
                claims.extend(self._claims(found[:limit], settled, batch) or [])
            return batch if claims else None

        written = False
        try:
            with self.unanswered_let_go(claims):
                written = work_queue.claim_work(
                    self._database, queue, limit=limit + 1, which=which, after=after, claim=claim
                )
        finally:
            for recorded in settled if not written else ():
                self._sequencer.forget(recorded.run)
        if found and not written:
            return None
        for recorded in settled:
            self._recorder.after_commit(recorded)
        return _looked(claims, found, limit)

    def _left_to_the_living(self, found: list[Work]) -> list[Work]:
        """Without what has expired while the database was silent: its workers renew at this moment."""
        if any(work.claim_id is not None for work in found):
            # The rows have just been read, so a silence before them is noticed now and not with the commit.
            self._database.contact.made(written=False)
            if not self.may_take_over():
                return [work for work in found if work.claim_id is None]
        return found

    def _claims(self, found: Sequence[Work], settled: list[Recorded], batch: WriteBatch) -> list[Claim] | None:
        """Claims on the work; None where some of it needs more than that, and then nothing is added to the batch.

        A run's row is written once in a transaction: of several steps of a run those whose claim would write it are
        left for the next look, but for the first.
        """
        specs = [self._usual(work) for work in found]
        if None in specs:
            return None
        claims: list[Claim] = []
        runs_claimed: dict[str, RunFact] = {}
        for work, spec in zip(found, specs, strict=True):
            assert spec is not None
            run = runs_claimed.get(work.run.id)
            known = work if run is None else work._replace(run=run)
            may = run is None or not claimed(spec, known.run, known.visit, self._clock.now())[1]
            if may and self._isolation.admits(work.visit, claims):
                claims.append(self._claim(spec, known, settled, batch))
                runs_claimed[work.run.id] = claims[-1].run
        return claims

    def _note(self, connection: sa.Connection, found: Sequence[Work], claims: Sequence[Claim]) -> None:
        """Note how far the queue has come."""
        taken = {claim.dispatch_id for claim in claims}
        for work in found:
            if work.dispatch_id in taken:
                self._queue_progress.taken(connection, work)

    def _usual(self, work: Work) -> WorkflowSpec | None:
        """The workflow of work that only has to be claimed; None where more has to be written, by `take`."""
        if work.claim_id is not None or _is_stopped(work):
            return None
        spec = self._workflow_of(work)
        return spec if spec is not None and fits(spec, work) else None

    def _is_left(self, connection: sa.Connection, work: Work, to_others: timedelta) -> bool:
        """Whether this process does not know the work, and those that may know it have hardly had time to take it."""
        return self._clock.now() - work.due_at < to_others and not self._is_for_this_process(connection, work)

    def _is_for_this_process(self, connection: sa.Connection, work: Work) -> bool:
        """Whether this process knows the work and no other knows it better."""
        spec = self._known(work)
        return spec is not None and self._adopter.older(connection, spec, work.run) is None

    def _workflow_of(self, work: Work) -> WorkflowSpec | None:
        try:
            return self._registry.get(work.run.workflow)
        except UnknownWorkflowError:
            return None

    def _known(self, work: Work) -> WorkflowSpec | None:
        """The workflow, where it declares the step of the work."""
        spec = self._workflow_of(work)
        return spec if spec is not None and knows(spec, work) else None

    def _abandon(self, connection: sa.Connection, spec: WorkflowSpec, work: Work) -> tuple[Recorded, bool]:
        around = DecisionContext(
            compensations=fact_rows.compensations(connection, work.run.id) if work.visit.kind == "compensation" else ()
        )
        state = DecisionState(spec, work.run, self._clock.now(), new_id, around)
        changes = decided(connection, state, AttemptAbandoned(work.visit, work.lost, self._settings.max_abandoned))
        return self._recorder.write(connection, state, changes), work.visit.id in changes.freed

    def _claim(self, spec: WorkflowSpec, work: Work, settled: list[Recorded], batch: WriteBatch) -> Claim:
        now = self._clock.now()
        visit, moved = claimed(spec, work.run, work.visit, now)
        revision = work.run.revision + bool(moved)
        claim = Claim(
            dispatch_id=work.dispatch_id,
            claim_id=new_id(),
            worker=self._worker,
            run=fact_after(work.run, moved, revision),
            visit=visit,
            payload=work.payload,
            schedule=work.schedule,
            started_at=now,
        )
        work_queue.give(batch, claim, self._database, timedelta(seconds=self._settings.claim_timeout))
        if moved:
            batch.update(runs, {"id": work.run.id}, {"revision": revision, "updated_at": now, **moved})
            self._sequencer.take(work.run)
            settled.append(Recorded(run=work.run, changes=Changes(run=moved), handed=HandOver(), onward=None))
        return claim


def _looked(claims: list[Claim], found: Sequence[Work], seen: int) -> ClaimBatch:
    """One more is found than is looked at, which tells whether there is more."""
    last = found[seen - 1].due_at if len(found) > seen else None
    return ClaimBatch(claims=claims, last=last, left_some=len(found) > len(claims))


def _freed(connection: sa.Connection, work: Work) -> Work:
    """The work without the claim that was given up, which may have to wait for another process all the same."""
    visit = work.visit._replace(status="pending", due_at=None, abandoned=work.visit.abandoned + 1)
    return work._replace(run=fact_rows.run_fact(connection, work.run.id) or work.run, visit=visit, claim_id=None)


def _is_stopped(work: Work) -> bool:
    """Whether it is a step of a run that enters no more steps."""
    return work.visit.kind == "step" and work.run.status in STOPPING


def one_a_run(found: Iterable[Work]) -> list[Work]:
    """The facts of the run hold for one decision only."""
    return list({work.run.id: work for work in reversed(list(found))}.values())[::-1]


LOOKS_IN_FRONT = 8


class FairClaimer:
    """Looks at a queue by turns at its front and further behind.

    The steps of a fan-out are due at one moment. Every other look goes on behind what the one before it has seen, from
    moment to moment to the end of the queue and then from the front again, so that half of the work is done in that
    order, whatever stands in front. Where that finds nothing, the next looks are at the front only.

    left_some: whether there was more due at the last look than it took.
    """

    def __init__(self, claimer: Claimer, queue: str, *, claim_timeout: float) -> None:
        self._claimer, self._queue = claimer, queue
        self._behind: datetime | None = None
        self._front_is_next = True
        self._only_front = 0
        self._looks_for_lost = LostWorkLooks(claim_timeout, at_once=True)
        self.left_some = True

    def claim(self, *, limit: int, news: bool = True) -> list[Claim]:
        """Claim due work for as many idle threads; none where nothing is due.

        news: whether there may be work that was not there at the last look.
        """
        if lost := self._from_the_dead(limit):
            return lost
        if news:
            self._only_front = 0
        goes_behind = not self._front_is_next and self._behind is not None and not self._only_front
        claims = self._from_behind(limit) if goes_behind else []
        return claims or self._from_front(limit)

    def _from_the_dead(self, limit: int) -> list[Claim]:
        """Where there was more than could be taken, what has expired may stand far behind it; a look now and then."""
        if not self.left_some or not self._looks_for_lost.is_due(self._queue):
            return []
        return self._claimer.look_for_lost(self._queue, limit=limit)

    def _from_behind(self, limit: int) -> list[Claim]:
        looked = self._claimer.look(self._queue, limit=limit, after=self._behind)
        self._behind, self._front_is_next, self.left_some = looked.last, True, True
        self._only_front = 0 if looked.claims else LOOKS_IN_FRONT
        return looked.claims

    def _from_front(self, limit: int) -> list[Claim]:
        looked = self._claimer.look(self._queue, limit=limit)
        if self._behind is None or looked.last is None:
            self._behind = looked.last
        self._front_is_next, self.left_some = False, looked.left_some
        self._only_front = max(self._only_front - 1, 0)
        return looked.claims
