"""Everything that belongs to one app."""

from __future__ import annotations

import os
import secrets
import socket
import threading
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import sqlalchemy as sa
from flask import Flask, current_app, request_started

from ..clock import Clock, ReferenceClock, SystemClock
from ..config import Config
from ..definition.workflow import Registry
from ..errors import ConfigurationError
from ..executor import Executor, resolve
from ..host import HostApp, watch
from ..host_requirements import findings
from ..secret_names import is_secret
from ..storage import connections
from ..storage.database import Database, open_engine
from ..storage.scope import Scope
from ..subscriptions import Subscriptions
from .adopted_work import WorkAdopter
from .app_check import AppCheck, CheckResult
from .bulk_jobs import BulkRunner, Objection, no_objection
from .claim_renewal import ClaimKeeper
from .claimer import Claimer
from .command_transaction import CommandTransaction
from .decision_states import DecisionStates
from .definition_change import Adopter
from .deliveries import Deliverer, Delivery, JobPerformer
from .dispatcher import Dispatcher
from .doctor import Doctor
from .event_matching import EventMatcher
from .event_sending import EventSender
from .forking import follow
from .internal_work import InternalWork
from .lost_claims import LostWorkLooks, SuspectIsolation
from .maintenance.heartbeats import Heartbeats
from .maintenance.notice_threads import NoticeThreads
from .maintenance.pruning import Pruner, Retention
from .maintenance.upkeep import Maintenance
from .notice_commands import NoticeCommands
from .notice_deliverer import NoticeDeliverer
from .outbox import Outbox
from .queue_progress import QueueProgress
from .queue_watch import QueueWatch
from .recorder import Recorder
from .relay import Relay
from .run_commands import CommandHandler
from .run_starter import RunStarter
from .schedule_commands import ScheduleCommands
from .scheduler import Scheduler
from .signal_publisher import SignalPublisher
from .step_function import OwnContext, StepPerformer
from .transaction_steps import TransactionStepPerformer
from .waking import WakeSignal
from .worker import Worker

if TYPE_CHECKING:
    from flask_sqlalchemy import SQLAlchemy

_beginning_anew = threading.Lock()


LONGEST_SILENCE = 0.6
"""Of a claim timeout: a claim that is renewed outlives a silence of the database that is shorter."""


class Runtime:
    """One app's configuration, database, workflows, executor and clock; stands in `app.extensions["squidmesh"]`.

    subscriptions: who is told of what. findings: what `flask squidmesh check` says of the layers above. objection: what
    they say of each run of an action on many, away from any page. address: answers that of a run's page by its id.
    """

    def __init__(
        self,
        app: Flask,
        registry: Registry,
        config: Config,
        clock: Clock,
        *,
        subscriptions: Subscriptions | None = None,
        findings: Callable[[], Iterable[CheckResult]] = tuple,
        objection: Objection = no_objection,
        address: Callable[[str], str | None] = lambda _: None,
    ) -> None:
        self.app, self.registry = app, registry
        self.clock = ReferenceClock(clock, lambda: self.database.keep_time())
        self.settings = config
        self.subscriptions = Subscriptions() if subscriptions is None else subscriptions
        self.host = HostApp(app, config, registry)
        self._loaded_at = SystemClock().now()
        self._complete_with = -1
        self._findings, self._objection, self._address = findings, objection, address
        self._begin_process()
        follow(self)
        request_started.connect(_look_at_process, sender=app)
        watch(app, "sqlalchemy", self._look_before_sessions)

    def _begin_process(self) -> None:
        """Make what belongs to one process."""
        self._process = os.getpid()
        self.wake_signal = WakeSignal()
        self.worker_name = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(3)}"
        longest_silence = self.settings.claim_timeout * LONGEST_SILENCE
        self.database = Database(self._open_engine, self.clock, self.host.session_here, self._bind, longest_silence)
        self._executor: Executor | None = None
        self._compose_decisions()
        self._compose_deliveries()
        self._compose_commands()
        self._compose_upkeep()

    def _compose_decisions(self) -> None:
        """What begins runs, records what is decided, and tells of it."""
        self.publisher = SignalPublisher(self.app)
        self.outbox = Outbox(self.subscriptions)
        self.dispatcher = Dispatcher(
            executor=self._resolved,
            queue=self.settings.queue,
            database=self.database,
            clock=self.clock,
            publisher=self.publisher,
            wake_signal=self.wake_signal,
        )
        self.adopter = Adopter(clock=self.clock, hides=self.hides, loaded_at=lambda: self.loaded_at)
        self.recorder = Recorder(
            database=self.database,
            clock=self.clock,
            dispatcher=self.dispatcher,
            publisher=self.publisher,
            adopter=self.adopter,
            outbox=self.outbox,
            claim_timeout=timedelta(seconds=self.settings.claim_timeout),
            hides=self.hides,
        )
        self.starter = RunStarter(
            database=self.database,
            clock=self.clock,
            registry=self.registry,
            settings=self.settings,
            dispatcher=self.dispatcher,
            publisher=self.publisher,
            outbox=self.outbox,
            hides=self.hides,
            loaded_at=lambda: self.loaded_at,
        )
        self._states = DecisionStates(clock=self.clock, recorder=self.recorder, adopter=self.adopter)
        self._matcher = EventMatcher(
            database=self.database,
            clock=self.clock,
            registry=self.registry,
            recorder=self.recorder,
            starter=self.starter,
            states=self._states,
        )
        self.recorder.awaiting = self.starter.awaiting = self._matcher.look_at_once
        self.scheduler = Scheduler(
            database=self.database, clock=self.clock, registry=self.registry, starter=self.starter
        )

    def _compose_deliveries(self) -> None:
        """What claims work and performs it."""
        self.claims = ClaimKeeper(
            database=self.database,
            clock=self.clock,
            wake_signal=self.wake_signal,
            timeout=self.settings.claim_timeout,
            in_context=self.in_context,
        )
        self.isolation = SuspectIsolation(patience=self.settings.claim_timeout)
        self.claimer = Claimer(
            database=self.database,
            clock=self.clock,
            registry=self.registry,
            settings=self.settings,
            worker=self.worker_name,
            recorder=self.recorder,
            adopter=self.adopter,
            adopted_work=WorkAdopter(clock=self.clock, adopter=self.adopter, recorder=self.recorder),
            sequencer=self.publisher.sequencer,
            claims=self.claims,
            isolation=self.isolation,
            queue_progress=QueueProgress(self.database, self.clock),
        )
        performer = StepPerformer(
            host=self.host,
            database=self.database,
            claims=self.claims,
            publisher=self.publisher,
            starter=self.starter,
            hides=self.hides,
        )
        transactions = TransactionStepPerformer(
            host=self.host,
            database=self.database,
            claims=self.claims,
            performer=performer,
            patience=self.settings.claim_timeout,
        )
        self.deliverer = Deliverer(
            database=self.database,
            clock=self.clock,
            registry=self.registry,
            settings=self.settings,
            performer=performer,
            transactions=transactions,
            recorder=self.recorder,
            claims=self.claims,
            isolation=self.isolation,
            in_context=self.in_context,
        )
        self.notice_deliverer = NoticeDeliverer(
            database=self.database,
            clock=self.clock,
            outbox=self.outbox,
            worker=self.worker_name,
            in_context=self.in_context,
            address=self._address,
        )
        self.queue_watch = QueueWatch(database=self.database, clock=self.clock, outbox=self.outbox)
        self.lost_work_looks = LostWorkLooks(self.settings.claim_timeout, at_once=False)
        self._jobs = JobPerformer(
            database=self.database,
            clock=self.clock,
            registry=self.registry,
            settings=self.settings,
            executor=self._resolved,
            claimer=self.claimer,
            deliverer=self.deliverer,
            recorder=self.recorder,
            dispatcher=self.dispatcher,
            publisher=self.publisher,
            scheduler=self.scheduler,
            isolation=self.isolation,
            lost_work_looks=self.lost_work_looks,
        )

    def _compose_commands(self) -> None:
        """What people do."""
        most = self.settings.max_payload_bytes
        transaction = CommandTransaction(
            database=self.database,
            clock=self.clock,
            registry=self.registry,
            patience=timedelta(seconds=self.settings.claim_timeout),
            most=most,
        )
        self.commands = CommandHandler(
            transaction=transaction, recorder=self.recorder, starter=self.starter, states=self._states, most=most
        )
        self.events = EventSender(
            database=self.database, clock=self.clock, registry=self.registry, matcher=self._matcher, most=most
        )
        self.scheduler.cancel_run = lambda run_id, actor, comment: self.commands.cancel(
            run_id, actor=actor, comment=comment, scope=Scope.all()
        )
        self.schedule_commands = ScheduleCommands(
            database=self.database, clock=self.clock, scheduler=self.scheduler, starter=self.starter, most=most
        )
        self.notice_commands = NoticeCommands(database=self.database, clock=self.clock, outbox=self.outbox, most=most)
        self.bulk = BulkRunner(
            database=self.database, clock=self.clock, commands=self.commands, most=most, objection=self._objection
        )

    def _compose_upkeep(self) -> None:
        """Make what cleans up, checks and mends."""
        self.internal_work = InternalWork(
            database=self.database,
            clock=self.clock,
            registry=self.registry,
            recorder=self.recorder,
            states=self._states,
            matcher=self._matcher,
        )
        self.relay = Relay(
            database=self.database,
            dispatcher=self.dispatcher,
            claimer=self.claimer,
            recorder=self.recorder,
            internal_work=self.internal_work,
        )
        self.heartbeats = Heartbeats(self.database, self.clock)
        self.pruner = Pruner(
            database=self.database,
            clock=self.clock,
            registry=self.registry,
            settings=self.settings,
            subscriptions=self.subscriptions,
        )
        self.retention = Retention(self.pruner, self.clock, self.registry, self.settings.retention or {})
        self.doctor = Doctor(
            database=self.database,
            clock=self.clock,
            registry=self.registry,
            most=self.settings.max_payload_bytes,
        )
        self.app_check = AppCheck(
            host=self.host,
            database=self.database,
            clock=self.clock,
            scheduler=self.scheduler,
            problems=self.problems,
            executor=lambda: self.executor,
            findings=self._findings,
            subscriptions=self.subscriptions,
        )

    def hold_still(self, patience: float) -> None:
        """The process is about to fork: wait so many seconds at most until no other thread is at the SQLite file."""
        self.database.gate.close(patience)

    def go_on(self) -> None:
        """The process has forked off another."""
        self.database.gate.open()

    def forked(self) -> None:
        """Begin anew in a process that was forked off, which can share no connection, thread or lock with its parent.

        The connections are left to the parent, which goes on using them; the host's engines get new ones.
        """
        connections.keep_for_parent((self.database, self._executor))
        for engine in self.host.engines.values():
            connections.leave(engine)
        self._begin_process()

    def in_this_process(self) -> Runtime:
        """The same; begun anew where a server has forked this process without telling Python."""
        if self._process != os.getpid():
            with _beginning_anew:
                if self._process != os.getpid():
                    self.forked()
        return self

    def _look_before_sessions(self) -> None:
        if self.host.db is not None:
            sa.event.listen(self.host.db.session, "after_transaction_create", _look_at_process)

    @property
    def loaded_at(self) -> datetime:
        """When this process was started, by the machine's clock or the database's: of two it tells the later one."""
        return self._loaded_at + self.clock.lag

    def ensure_configured(self) -> None:
        """Raise ConfigurationError with everything that the app lacks."""
        _ = self.config

    @property
    def config(self) -> Config:
        """The configuration, complete. Raises ConfigurationError naming everything that is missing or wrong."""
        if self._complete_with != len(self.registry):  # requirements look at workflows too
            problems = self.problems()
            if problems:
                raise ConfigurationError(*problems)
            self._complete_with = len(self.registry)
        return self.settings

    @property
    def executor(self) -> Executor:
        """The host's executor. Raises ConfigurationError where there is none or it lacks methods."""
        self.ensure_configured()
        return self._resolved()

    def problems(self) -> list[str]:
        """What is missing or wrong, one sentence each."""
        found = [str(finding) for finding in findings(self.host)]
        if self.settings.executor is not None:
            try:
                found.extend(self._resolved().missing(self.app))
            except ConfigurationError as error:
                found.extend(error.problems)
        return found

    def _resolved(self) -> Executor:
        """The executor, made once."""
        if self._executor is None:
            self._executor = resolve(self.settings.executor)
        return self._executor

    @property
    def host_db(self) -> SQLAlchemy:
        """The host's Flask-SQLAlchemy."""
        db: SQLAlchemy = self.app.extensions["sqlalchemy"]
        return db

    def hides(self, name: str) -> bool:
        """Whether what has this name is secret, so that subjects, prompts and log messages leave it out."""
        return is_secret(name, self.settings.dashboard.redact_keys)

    def in_context(self) -> OwnContext:
        """An app context of our own, with a database session of its own."""
        return OwnContext(self.app)

    def perform(self, payload: object) -> Delivery:
        """Do what a queued job asks for; see `SquidMesh.perform`."""
        here = self.in_this_process()
        here.ensure_configured()
        return here._jobs.perform(payload)

    def upkeep(self, *, threads: int, queue: str | None = None) -> Maintenance:
        """What a worker process of the ready-made executors does beside performing, while the `with` block lasts.

        queue: whose work it takes; None for SQUIDMESH_QUEUE.
        """
        return Maintenance(
            worker=self.worker_name,
            queue=queue or self.config.queue,
            threads=threads,
            claim_timeout=self.settings.claim_timeout,
            looks_itself=hasattr(self.executor, "wake"),
            database=self.database,
            clock=self.clock,
            claims=self.claims,
            heartbeats=self.heartbeats,
            relay=self.relay,
            scheduler=self.scheduler,
            bulk=self.bulk,
            retention=self.retention,
            notice_threads=NoticeThreads(
                deliverer=self.notice_deliverer,
                outbox=self.outbox,
                poll=self.settings.poll_interval,
                in_context=self.in_context,
            ),
            queue_watch=self.queue_watch,
            in_context=self.in_context,
        )

    def worker(self, *, threads: int = 1, queue: str | None = None) -> Worker:
        """A worker of this process. threads: how many steps at once. queue: whose work; None for SQUIDMESH_QUEUE."""
        return Worker(
            threads=threads,
            queue=queue or self.config.queue,
            settings=self.settings,
            database=self.database,
            clock=self.clock,
            wake_signal=self.wake_signal,
            claimer=self.claimer,
            deliverer=self.deliverer,
            scheduler=self.scheduler,
            internal_work=self.internal_work,
            maintenance=self.upkeep(threads=threads, queue=queue),
            in_context=self.in_context,
        )

    def _open_engine(self) -> sa.Engine:
        return open_engine(self._host_engine())

    def _bind(self) -> sa.Engine | None:
        return self._host_engine() if self.settings.bind else None

    def _host_engine(self) -> sa.Engine:
        engine = self.host.engine
        if engine is None:
            raise ConfigurationError(*self.problems())
        return engine


def _look_at_process(*_begins: object, **_: object) -> None:
    """Begin anew before the host's session takes a connection of the parent's, as uWSGI tells nobody of forks."""
    runtime: Runtime | None = current_app.extensions.get("squidmesh") if current_app else None
    if runtime is not None:
        runtime.in_this_process()


def current_runtime() -> Runtime:
    """The runtime of the current app. Raises ConfigurationError where `init_app` was not called for it."""
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]  # its attributes are slow by the proxy
    runtime = app.extensions.get("squidmesh")
    if runtime is None:
        raise ConfigurationError(
            f"Squid Mesh is not set up on the app {app.name!r}. Call mesh.init_app(app) where the app is made."
        )
    found: Runtime = runtime
    return found.in_this_process()


def configured_runtime() -> Runtime:
    """The same, once the app's configuration is complete. Raises ConfigurationError naming everything that it lacks."""
    runtime = current_runtime()
    runtime.ensure_configured()
    return runtime
