"""One delivery: take the claim, run the step, record what came of it, and go on in place where that is allowed."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Literal

import sqlalchemy as sa

from ..clock import Clock
from ..config import Config
from ..definition.spec import WorkflowSpec
from ..definition.workflow import Registry
from ..engine.adoption import names_of
from ..engine.facts import Failure, StepFact
from ..engine.transitions import TERMINAL
from ..errors import UnknownTriggerError, UnknownWorkflowError
from ..executor import Executor, Payload, check_payload, may_take_over
from ..storage import fact_rows, work_queue, write_batch
from ..storage.database import Database
from ..storage.tables import dispatches
from ..storage.work_queue import Claim, UnansweredClaim, Work
from ..storage.write_batch import WriteBatch
from .claim_renewal import ClaimKeeper
from .claimer import Claimer
from .dispatcher import Dispatcher, Intent
from .lost_claims import LostWorkLooks, SuspectIsolation
from .outcomes import (
    Outcome,
    StepBlocked,
    StepCompleted,
    StepFailed,
    error_record,
    is_a,
    let_ctrl_c_through,
    log_error,
    refused_by,
)
from .recorder import Recorded, Recorder
from .scheduler import PUT_OFF, Scheduler
from .signal_publisher import SignalPublisher, signalled
from .step_function import RunState, StepPerformer, in_own_context
from .transaction_steps import TransactionStepPerformer

logger = logging.getLogger("flask_squidmesh")

_WORDS = {StepCompleted: "completed", StepFailed: "failed", StepBlocked: "blocked"}


class Deliverer:
    """Performs what is claimed. in_context: an app context of our own."""

    def __init__(
        self,
        *,
        database: Database,
        clock: Clock,
        registry: Registry,
        settings: Config,
        performer: StepPerformer,
        transactions: TransactionStepPerformer,
        recorder: Recorder,
        claims: ClaimKeeper,
        isolation: SuspectIsolation,
        in_context: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._database, self._clock, self._registry, self._settings = database, clock, registry, settings
        self._performer, self._transactions, self._recorder = performer, transactions, recorder
        self._claims, self._isolation, self._in_context = claims, isolation, in_context

    def deliver(self, claim: Claim, *, until: datetime | None = None) -> str:
        """Perform the claimed step and as many after it as may follow in place. Answer the run's status at the end.

        until: after which no further step is begun; SQUIDMESH_DELIVERY_SECONDS from now where it is left out.
        """
        self._isolation.enter(claim)
        try:
            with self._in_context():
                return self._deliver(claim, until or self.latest_beginning())
        finally:
            self._isolation.leave(claim)

    def _attempt(
        self, spec: WorkflowSpec, claim: Claim, state: RunState, *, until: datetime | None
    ) -> tuple[str, Claim | None]:
        """Run one attempt and record it. Answer the run's status, and the claim on the next step if it goes on.

        until: the time up to which this delivery may go on with another step; None where this is its last.
        """
        try:
            return self._attempted(spec, claim, state, until)
        except (KeyboardInterrupt, SystemExit):
            self._put_back(claim)
            raise

    def latest_beginning(self) -> datetime:
        """Until when a delivery that begins now may begin with further steps."""
        return self._clock.now() + timedelta(seconds=self._settings.delivery_seconds)

    def _deliver(self, claim: Claim, until: datetime) -> str:
        spec = self._registry.get(claim.run.workflow)
        state = self._performer.state_of(spec)
        steps_left = self._settings.delivery_steps
        status: str = claim.run.status
        onward: Claim | None = claim
        self._claims.hold(claim.claim_id)
        try:
            while onward is not None:
                steps_left -= 1
                status, onward = self._attempt(spec, onward, state, until=until if steps_left > 0 else None)
        finally:
            self._claims.release(claim.claim_id)
        return status

    def _attempted(
        self, spec: WorkflowSpec, claim: Claim, state: RunState, until: datetime | None
    ) -> tuple[str, Claim | None]:
        outcome: Outcome | None = None
        try:
            if claim.visit.kind == "step" and spec.steps[claim.visit.step].transaction:
                outcome, recorded = in_own_context(
                    self._transactions.perform,
                    spec,
                    claim,
                    state,
                    lambda connection, outcome: self._recorder.record_in(connection, spec, claim, outcome, until=until),
                )
            else:
                outcome = self._performer.perform(spec, claim, state)
                outcome, recorded = self._recorded(spec, claim, outcome, until)
        except write_batch.ClaimLostError:
            self._dropped(claim, outcome)
            self._claims.let_go([claim], performed=True)
            return self._present_status(claim), None
        if isinstance(outcome, StepCompleted):
            state.add(outcome.output)
        self._recorder.after_commit(recorded, outcome.failure.exception if isinstance(outcome, StepFailed) else None)
        return recorded.status, recorded.onward

    def _recorded(
        self, spec: WorkflowSpec, claim: Claim, outcome: Outcome, until: datetime | None
    ) -> tuple[Outcome, Recorded]:
        """Record the outcome, until the claim is known to be lost; what the database refuses for good fails the step.

        A commit whose answer was lost is found out by the fence: the second try meets a claim that has moved on.
        """

        def recording(outcome: Outcome) -> Callable[[], Recorded]:
            return partial(self._recorder.record, spec, claim, outcome, until=until)

        try:
            return outcome, self._claims.until_lost(claim, "its outcome", recording(outcome))
        except sa.exc.SQLAlchemyError as error:
            logger.exception(
                "squidmesh: run %s: the outcome of step %s is refused by the database", claim.run.id, claim.visit.step
            )
            failed = refused_by(error, outcome)
        except write_batch.ClaimLostError:
            raise
        except Exception as error:  # unexpected, and the step has had its effect
            message = "squidmesh: run %s: what follows step %s could not be decided"
            log_error(logger, error, message, claim.run.id, claim.visit.step)
            told = error_record(error, retryable=False, most=self._settings.max_payload_bytes)
            failed = StepFailed(failure=Failure(error=told, final=True))
        return failed, self._claims.until_lost(claim, "its failure", recording(failed), whatever=True)

    def _dropped(self, claim: Claim, outcome: Outcome | None) -> None:
        """Tell of an outcome that came too late, in the audit where a person had given the attempt up."""
        run_id, visit = claim.run.id, claim.visit
        logger.warning("squidmesh: run %s: the claim on step %s was lost; its outcome is dropped", run_id, visit.step)
        said = {"attempt": visit.attempts, "outcome": _WORDS.get(type(outcome)), "worker": claim.worker}
        try:
            with self._database.write() as connection:
                if fact_rows.was_given_up(connection, visit.id, visit.attempts):
                    fact_rows.note_visit(
                        connection,
                        "outcome_dropped",
                        run_id=run_id,
                        step=visit.step,
                        visit=visit.visit,
                        at=self._clock.now(),
                        data=said,
                    )
        except Exception:
            logger.exception("squidmesh: run %s: the audit could not be told of the dropped outcome", run_id)

    def _put_back(self, claim: Claim) -> None:
        """This process is going down: let another take the step at once, as a further attempt; or, where its outcome is
        recorded, the one that was to follow in place and has not begun."""
        now = self._clock.now()
        try:
            with self._database.write() as connection:
                work_queue.put_back_unanswered(connection, [UnansweredClaim(claim, performed=True)], now)
                connection.execute(
                    sa.update(dispatches)
                    .where(dispatches.c.id == claim.dispatch_id, dispatches.c.claim_id == claim.claim_id)
                    .values(due_at=now)
                )
        except sa.exc.SQLAlchemyError as error:  # the claim expires
            logger.warning("squidmesh: a step could not be given to others at once (%s)", type(error).__name__)

    def _present_status(self, claim: Claim) -> str:
        try:
            with self._database.read() as connection:
                run = fact_rows.run_fact(connection, claim.run.id)
        except sa.exc.SQLAlchemyError:  # it was only to be told
            return claim.run.status
        return run.status if run else claim.run.status


SHORTEST_WAIT = 1.0


DeliveryOutcome = Literal["executed", "too_early", "duplicate", "held", "unknown_run", "cancelled"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """What one `perform` did.

    outcome: executed; too_early (not due yet, or held by a live claim: handed over again for when that may have
    changed); duplicate (nothing to do); held (this process may not perform it: it does not know the workflow or step,
    or the step has to be alone); unknown_run; cancelled. attempt: its number, where one ran. status: the
    run's status afterwards.
    """

    outcome: DeliveryOutcome
    run_id: str | None = None
    step: str | None = None
    attempt: int | None = None
    status: str | None = None

    def to_dict(self) -> dict[str, object]:
        """The same as JSON data."""
        return asdict(self)


class JobPerformer:
    """Does what a queued job asks for: claims its step and delivers it, or starts the run of a cron trigger."""

    def __init__(
        self,
        *,
        database: Database,
        clock: Clock,
        registry: Registry,
        settings: Config,
        executor: Callable[[], Executor],
        claimer: Claimer,
        deliverer: Deliverer,
        recorder: Recorder,
        dispatcher: Dispatcher,
        publisher: SignalPublisher,
        scheduler: Scheduler,
        isolation: SuspectIsolation,
        lost_work_looks: LostWorkLooks,
    ) -> None:
        self._database, self._clock, self._registry, self._settings = database, clock, registry, settings
        self._executor, self._claimer, self._deliverer, self._recorder = executor, claimer, deliverer, recorder
        self._dispatcher, self._publisher, self._scheduler = dispatcher, publisher, scheduler
        self._isolation, self._lost_work_looks = isolation, lost_work_looks

    def perform(self, payload: object) -> Delivery:
        """Do what a queued job asks for; see `SquidMesh.perform`."""
        checked = check_payload(payload)
        if checked["kind"] == "cron":
            return self._activated(checked)
        found, work, status = self._taken(checked)
        until = self._deliverer.latest_beginning()
        delivery = self._performed(checked, found, work, status, until)
        if work is not None:
            self._take_over(work.queue, until)
        return delivery

    def _performed(
        self,
        payload: Payload,
        found: Claim | DeliveryOutcome,
        work: Work | None,
        status: str | None,
        until: datetime,
    ) -> Delivery:
        step = work.visit.step if work else payload.get("step")
        if isinstance(found, Claim):
            status = self._deliverer.deliver(found, until=until)
            return Delivery(
                outcome="executed", run_id=found.run.id, step=step, attempt=found.visit.attempts, status=status
            )
        if found == "too_early" and work is not None:
            self._put_off(work)
        return Delivery(outcome=found, run_id=payload["run_id"], step=step, status=status)

    def _take_over(self, queue: str, until: datetime) -> None:
        """Go on with something that a dead worker of the queue held, whose new job may have many others before it.

        until: after which no further step is begun.
        """
        looks = self._lost_work_looks
        if self._settings.delivery_steps == 1 or self._clock.now() >= until or not looks.is_due(queue):
            return

        def suits(work: Work) -> bool:
            if not self._takes_over(work):
                return False
            if not self._isolation.admits(_suspect(work)):
                looks.wait_for_company(queue)
                return False
            return True

        try:
            claim = self._claimer.claim_lost(queue, suits=suits) if may_take_over(self._executor()) else None
            if claim is not None:
                looks.hurry(queue)
                self._deliverer.deliver(claim, until=until)
        except BaseException as error:  # the job itself is done
            if is_a(error, KeyboardInterrupt, SystemExit):
                raise
            log_error(logger, error, "squidmesh: what a dead worker held could not be taken over")

    def _takes_over(self, work: Work) -> bool:
        try:
            return bool(self._executor().takes_over(work.run, work.visit.step))
        except BaseException as error:  # the host's code; the relay hands over
            let_ctrl_c_through(error)
            message = "squidmesh: run %s: the executor could not say whether to take over step %s"
            log_error(logger, error, message, work.run.id, work.visit.step)
            return False

    def _taken(self, payload: Payload) -> tuple[Claim | DeliveryOutcome, Work | None, str | None]:
        settled: list[Recorded] = []
        claims: list[Claim] = []
        with self._claimer.unanswered_let_go(claims), self._database.write() as connection:
            run = fact_rows.run_fact(connection, payload["run_id"], lock=True)
            if run is None:
                return "unknown_run", None, None
            step = payload.get("step")
            names = self._names(run.workflow, step) if step else frozenset()
            work = work_queue.work_for(connection, self._database, run.id, payload["kind"], step, names=names)
            if work is None:
                return ("cancelled" if run.status == "cancelled" else "duplicate"), None, run.status
            may_be_taken = work.due and (work.claim_id is None or self._claimer.may_take_over())
            if not (may_be_taken or self._is_stale(work)) or not self._isolation.admits(_suspect(work)):
                return "too_early", work, run.status
            batch = WriteBatch()
            claim = self._claimer.take(connection, work, settled, batch)
            claims += [claim] if claim is not None else []
            batch.execute(connection)
        for recorded in settled:
            self._recorder.after_commit(recorded)
        status = settled[-1].status if settled else work.run.status
        if claim is not None:
            return claim, work, status
        if status == "cancelled":
            return "cancelled", work, status
        return ("duplicate" if settled or status in TERMINAL else "held"), work, status

    def _skipped(self, work: Work) -> None:
        """Tell that a delivery met another one's live claim."""
        run, visit = work.run, work.visit
        facts = {"step": visit.step, "visit": visit.visit, "attempt": visit.attempts, "reason": "already_running"}
        self._publisher.send("step_skipped", signalled(run), facts)

    def _names(self, workflow: str, step: str) -> frozenset[str]:
        """The names that the step has or had, as it may have been renamed since the job was queued."""
        try:
            return names_of(self._registry.get(workflow), step)
        except UnknownWorkflowError:
            return frozenset({step})

    def _put_off(self, work: Work) -> None:
        """Have the delivery made again when its time, or the end of another's claim, has come.

        A claim that has expired but may not be taken yet is looked at again after a whole timeout.
        """
        if work.claim_id is not None:
            self._skipped(work)
        has_expired = work.due and work.claim_id is not None
        seconds = self._settings.claim_timeout if has_expired else max(work.wait, SHORTEST_WAIT)
        due = self._clock.now() + timedelta(seconds=seconds)
        self._dispatcher.hand_over([Intent(run_id=work.run.id, kind=work.visit.kind, step=work.visit.step, due_at=due)])

    def _is_stale(self, work: Work) -> bool:
        """Whether the step has been running for longer than the host allows, although its worker renews the claim."""
        timeout = self._settings.stale_step_timeout
        if timeout is None or work.claim_id is None or work.claimed_at is None:
            return False
        return (self._clock.now() - work.claimed_at).total_seconds() >= timeout

    def _activated(self, payload: Payload) -> Delivery:
        text = payload.get("intended_window")
        workflow, trigger, signal_id = payload["workflow"], payload["trigger"], payload.get("signal_id")
        window = datetime.fromisoformat(text) if text else None
        try:
            self._scheduler.cron_trigger(workflow, trigger)
        except (UnknownWorkflowError, UnknownTriggerError) as unknown:
            logger.warning("squidmesh: a cron activation is put off: %s", unknown)
            seconds = PUT_OFF.total_seconds()
            self._executor().enqueue_cron(
                workflow, trigger, schedule_in=seconds, intended_window=window, signal_id=signal_id
            )
            return Delivery(outcome="held")
        run_id, new = self._scheduler.activate(
            workflow, trigger, intended_window=window, signal_id=signal_id, by_hand=False
        )
        with self._database.read() as connection:
            run = fact_rows.run_fact(connection, run_id) if run_id else None
        return Delivery(outcome="executed" if new else "duplicate", run_id=run_id, status=run.status if run else None)


def _suspect(work: Work) -> StepFact:
    """The visit as it is claimed: once more abandoned where another's claim has expired."""
    return work.visit._replace(abandoned=work.visit.abandoned + (work.claim_id is not None))
