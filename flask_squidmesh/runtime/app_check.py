"""What is wrong with an app's Squid Mesh, and how to mend it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import sqlalchemy as sa
from sqlalchemy.orm import InstrumentedAttribute

from ..clock import ReferenceClock
from ..definition.payloads import validate
from ..errors import PayloadError
from ..executor import Executor
from ..host import HostApp
from ..storage import migrations
from ..storage.connections import driver_of, server_of
from ..storage.database import Database
from ..storage.outages import reason_of, refuses_transactions
from ..storage.retained_rows import runs_per_day, table_sizes
from ..storage.tables import ADVICE, Dispatch, Process
from ..storage.write_batch import NO_QUEUE
from ..subscriptions import Subscriptions
from .maintenance.heartbeats import FORGOTTEN_AFTER
from .maintenance.pruning import unknown_keys
from .outbox_check import outbox_faults
from .scheduler import Scheduler

WORKER_SILENCE: Final = timedelta(minutes=1)
RELAY_SILENCE: Final = timedelta(minutes=5)
CLOCK_TOLERANCE: Final = timedelta(seconds=5)
TIMERS_LATE: Final = timedelta(minutes=2)
"""A relay that runs once a minute makes them a minute late."""
NO_TIME: Final = timedelta(0)
UNREACHABLE: Final = "Check SQLALCHEMY_DATABASE_URI, and that it is up."
WITHOUT_TRANSACTIONS: Final = (
    "Have the pooler give out connections for a transaction or a session (pool_mode of PgBouncer): neither Squid Mesh "
    "nor SQLAlchemy works without transactions."
)
HOST_PREPARES: Final = (
    " psycopg prepares your own statements, which fails where the pooler gives each transaction another connection and "
    'does not keep track of them. There set SQLALCHEMY_ENGINE_OPTIONS = {"connect_args": {"prepare_threshold": None}}.'
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """One thing that was looked at. subject: what. wrong: whether it needs mending. notice: whether it is right, but
    perhaps not meant. text: what was found.
    """

    subject: str
    wrong: bool = False
    notice: bool = False
    text: str


class AppCheck:
    """Looks at everything that runs need.

    problems: what the configuration lacks. executor: the host's, where nothing is missing. findings: what the layers
    above find.
    """

    def __init__(
        self,
        *,
        host: HostApp,
        database: Database,
        clock: ReferenceClock,
        scheduler: Scheduler,
        problems: Callable[[], list[str]],
        executor: Callable[[], Executor],
        findings: Callable[[], Iterable[CheckResult]],
        subscriptions: Subscriptions,
    ) -> None:
        self._host, self._settings, self._registry = host, host.settings, host.workflows
        self._database, self._clock, self._scheduler = database, clock, scheduler
        self._problems, self._executor, self._findings = problems, executor, findings
        self._subscriptions = subscriptions

    def results(self) -> Iterator[CheckResult]:
        """Look at everything that runs need, from the settings to overdue work. Reads the database."""
        yield from self._configuration()
        yield from self._workflows()
        yield from self._retention()
        yield from self._findings()
        if self._host.engine is None:
            return
        try:
            with self._database.read() as connection:
                yield from self._live(connection)
            yield from self._pooler()
        except sa.exc.OperationalError as error:
            advice = WITHOUT_TRANSACTIONS if refuses_transactions(error) else UNREACHABLE
            yield _wrong("database", f"It could not be read: {reason_of(error)}. {advice}")

    def _configuration(self) -> Iterator[CheckResult]:
        problems = self._problems()
        yield from (_wrong("configuration", problem) for problem in problems)
        if not problems:
            owner = type(self._executor())
            yield _right("configuration", f"complete, executor {owner.__module__}.{owner.__qualname__}")

    def _workflows(self) -> Iterator[CheckResult]:
        names = [spec.name for spec in self._registry]
        if names:
            yield _right("workflows", ", ".join(names))
        else:
            yield _wrong("workflows", "None is registered. Pass their classes to mesh.register.")

    def _retention(self) -> Iterator[CheckResult]:
        retention = self._settings.retention
        unknown = unknown_keys(retention or {}, self._registry)
        for key in unknown:
            yield _wrong(
                "retention",
                f"SQUIDMESH_RETENTION names {key!r}, which is neither completed, failed or cancelled nor a registered "
                "workflow. Correct the name, or take it out.",
            )
        if not retention:
            yield _right("retention", "ended runs are kept for ever")
        elif not unknown:
            yield _right("retention", ", ".join(f"{key}: {period or 'for ever'}" for key, period in retention.items()))

    def _live(self, connection: sa.Connection) -> Iterator[CheckResult]:
        problems = migrations.verify(connection)
        if problems:
            yield from (_wrong("schema", problem) for problem in problems)
            yield _wrong("schema", ADVICE)
            return
        yield _right("schema", f"version {migrations.SCHEMA.version}")
        now: datetime = connection.execute(sa.select(self._database.now())).scalar_one()
        if not self._problems():
            yield from (_wrong("executor", problem) for problem in self._executor().verify(connection))
            yield from self._beats(connection, now)
            yield from self._other_queues(connection, now)
        yield from self._clocks()
        yield from self._schedules(connection, now)
        yield from self._dispatches(connection, now)
        yield from self._outbox(connection, now)
        yield from _sizes(connection, now)

    def _pooler(self) -> Iterator[CheckResult]:
        """Whether something between the app and PostgreSQL gives out the server's connections, and what that means."""
        if self._database.dialect != "postgresql":
            return
        with self._database.engine.connect() as connection:
            driver = driver_of(connection.connection)
            direct, prepares = server_of(connection.connection).direct, driver.prepare_threshold is not None
        if not direct:
            waking = f"workers are not woken, and look for work every {self._settings.poll_interval:g} s"
            text = f"There is one before the database: {waking}.{HOST_PREPARES if prepares else ''}"
            yield CheckResult(subject="pooler", notice=prepares, text=text)

    def _clocks(self) -> Iterator[CheckResult]:
        """Whether this machine's clock is right; that of the database is taken for it, and on SQLite there is
        no other.
        """
        lag = self._clock.lag
        if abs(lag) > CLOCK_TOLERANCE:
            yield _wrong(
                "clock",
                f"This machine's clock is {_ago(abs(lag))} {'behind' if lag > NO_TIME else 'ahead of'} the database's. "
                "Squid Mesh goes by the database's, but little else will: set this machine's clock by NTP.",
            )
        elif self._database.dialect == "postgresql":
            yield _right("clock", "this machine's agrees with the database's")

    def _schedules(self, connection: sa.Connection, now: datetime) -> Iterator[CheckResult]:
        for spec, declared_trigger in self._scheduler.declared():
            try:
                validate(declared_trigger, None, window=now, now=now)
            except PayloadError as error:
                subject = f"The schedule {declared_trigger.name} of {spec.name}"
                yield _wrong("schedules", f"{subject} cannot start its run: {error}")
        for workflow, trigger, time in self._scheduler.ahead_of_time(connection):
            yield _wrong(
                "schedules",
                f"The schedule {trigger} of {workflow} remembers {time:%Y-%m-%d %H:%M} UTC, which has yet to come: a "
                "clock was wrong. It is not believed. Look for runs that were started too early, and resume it or let "
                "it fire for another time to be remembered.",
            )

    def _beats(self, connection: sa.Connection, now: datetime) -> Iterator[CheckResult]:
        """Workers relay too, so that a relay is needed only where none of them serves the queue."""
        queue, silence = self._settings.queue, max(WORKER_SILENCE, timedelta(seconds=self._settings.claim_timeout))
        since = now - FORGOTTEN_AFTER
        worker, relay = (_last_beat(connection, kind, queue, since) for kind in ("worker", "relay"))
        if self._executor().worker_command is not None:
            advice = f"Keep `{self._executor().worker_command}` running for the queue {queue!r}."
            yield _beat("workers", worker, now, silence, advice)
        elif worker is None or now - worker > silence:
            yield _beat(
                "relay", relay, now, RELAY_SILENCE, "Run `flask squidmesh relay` every minute, as a periodic job."
            )
        else:
            yield _beat("workers", worker, now, silence, "")

    def _other_queues(self, connection: sa.Connection, now: datetime) -> Iterator[CheckResult]:
        """Queues of other apps on this database whose work nobody takes; the beats tell of the app's own."""
        command, late = self._executor().worker_command, timedelta(seconds=self._settings.claim_timeout)
        served = sa.select(Process.queue).where(
            Process.kind == "worker", Process.seen_at >= now - max(WORKER_SILENCE, late)
        )
        waiting = sa.select(Dispatch.queue).where(
            Dispatch.claim_id.is_(None),
            Dispatch.due_at < now - late,
            Dispatch.queue.not_in((self._settings.queue, NO_QUEUE)),
            Dispatch.queue.not_in(served),
        )
        for queue in connection.scalars(waiting.distinct()) if command is not None else ():
            yield _wrong(
                "queues", f"Work is due in the queue {queue!r}, and no worker takes it. Start `{command}` for it too."
            )

    def _dispatches(self, connection: sa.Connection, now: datetime) -> Iterator[CheckResult]:
        before = now - timedelta(seconds=self._settings.claim_timeout)
        overdue = sa.select(sa.func.count(), sa.func.min(Dispatch.due_at, type_=Dispatch.due_at.type)).where(
            Dispatch.due_at < before, Dispatch.queue != NO_QUEUE
        )
        count, oldest = connection.execute(overdue).one()
        if count:
            yield _wrong("work", f"{count} overdue, the oldest for {_ago(now - oldest)}. More workers may be needed.")
        else:
            yield _right("work", "nothing is overdue")
        yield from self._timers(connection, now)
        yield from _obstacles(connection, Dispatch.held, "held back by a worker")
        yield from _obstacles(connection, Dispatch.hand_over_error, "not taken by the executor")

    def _outbox(self, connection: sa.Connection, now: datetime) -> Iterator[CheckResult]:
        """Whether what subscribers and channels are to be told is told."""
        silence = max(WORKER_SILENCE, timedelta(seconds=self._settings.claim_timeout))
        faults = [
            *outbox_faults(connection, self._subscriptions, now, worker_silence=silence, relay_silence=RELAY_SILENCE)
        ]
        yield from (_wrong("outbox", fault) for fault in faults)
        channels = [each.name for each in self._subscriptions if not each.own_code]
        if channels and self._settings.external_url is None:
            text = f"What {', '.join(channels)} sends leads nowhere: set SQUIDMESH_EXTERNAL_URL for links to the runs."
            yield CheckResult(subject="outbox", notice=True, text=text)
        if self._subscriptions and not faults:
            yield _right("outbox", f"told: {', '.join(each.name for each in self._subscriptions)}")

    def _timers(self, connection: sa.Connection, now: datetime) -> Iterator[CheckResult]:
        """Whether what happens at waits and runs by itself happens in time: all workers and relays see to it."""
        worker = _last_beat(connection, "worker", self._settings.queue, now - FORGOTTEN_AFTER)
        lives = worker is not None and now - worker <= max(
            WORKER_SILENCE, timedelta(seconds=self._settings.claim_timeout)
        )
        late = sa.select(sa.func.count(), sa.func.min(Dispatch.due_at, type_=Dispatch.due_at.type)).where(
            Dispatch.queue == NO_QUEUE, Dispatch.due_at < now - TIMERS_LATE
        )
        count, oldest = connection.execute(late).one()
        if count:
            yield _wrong(
                "timers",
                f"{count} {'is' if count == 1 else 'are'} late, the oldest by {_ago(now - oldest)}: nobody reminds, "
                "escalates, times out waits or ends runs at their deadline. Every worker does; where none runs, run "
                "`flask squidmesh relay` every minute, as a periodic job.",
            )
        elif lives:
            yield _right("timers", "none is late; workers see to them")
        else:
            yield _right("timers", "none is late; without a worker they wait for the next `flask squidmesh relay`")


def _right(subject: str, text: str) -> CheckResult:
    return CheckResult(subject=subject, text=text)


def _wrong(subject: str, text: str) -> CheckResult:
    return CheckResult(subject=subject, text=text, wrong=True)


def _last_beat(connection: sa.Connection, kind: str, queue: str, since: datetime) -> datetime | None:
    of_kind = (
        (Process.kind == kind) & ((Process.queue == queue) | (Process.kind == "relay")) & (Process.seen_at > since)
    )
    return connection.scalar(sa.select(sa.func.max(Process.seen_at, type_=Process.seen_at.type)).where(of_kind))


def _beat(subject: str, seen: datetime | None, now: datetime, silence: timedelta, advice: str) -> CheckResult:
    if seen is None:
        return _wrong(subject, f"None has been seen. {advice}")
    if now - seen > silence:
        return _wrong(subject, f"Last seen {_ago(now - seen)} ago. {advice}")
    return _right(subject, f"seen {_ago(now - seen)} ago")


def _ago(span: timedelta) -> str:
    seconds = max(0, int(span.total_seconds()))
    for unit, name in ((86_400, "days"), (3_600, "hours"), (60, "minutes")):
        if seconds >= 2 * unit:
            return f"{seconds // unit} {name}"
    return f"{seconds} seconds"


def _obstacles(
    connection: sa.Connection, column: InstrumentedAttribute[str | None], what: str
) -> Iterator[CheckResult]:
    found = sa.select(sa.func.count(), sa.func.max(column)).where(column.is_not(None))
    count, example = connection.execute(found).one()
    if count:
        yield _wrong("work", f"{count} {what}: {example}")


def _sizes(connection: sa.Connection, now: datetime) -> Iterator[CheckResult]:
    for table in table_sizes(connection):
        rows = f"{'about ' if table.estimated else ''}{table.rows:,} {'row' if table.rows == 1 else 'rows'}"
        size = "" if table.size is None else f", {table.size / 1_000_000:,.1f} MB"
        yield _right(table.table, rows + size)
    yield _right("growth", f"{runs_per_day(connection, now):,.1f} runs a day over the last week")
