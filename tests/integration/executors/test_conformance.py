"""What `check_executor` finds in good and bad executors."""

from __future__ import annotations

import heapq
import json
import threading
import time
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
import sqlalchemy as sa

from flask_squidmesh import Executor, Manual, Step, Workflow
from flask_squidmesh.integrations.database_executor import DatabaseExecutor
from flask_squidmesh.storage import tables
from flask_squidmesh.testing import check_executor, executor_check
from tests.shop import Shop


class Toy(Executor):
    """A queue as it should be: jobs are JSON, due after their delay, given out once."""

    def __init__(self) -> None:
        self.jobs: list[tuple[float, int, str]] = []
        self.numbers = count(1)
        self.guard = threading.Lock()

    def enqueue(self, payload: Any, *, schedule_in: float | None = None) -> Any:
        with self.guard:
            number = next(self.numbers)
            heapq.heappush(self.jobs, (time.monotonic() + (schedule_in or 0), number, json.dumps(payload)))
        return {"job": number}

    def due(self) -> Iterator[dict[str, Any]]:
        while self.jobs and self.jobs[0][0] <= time.monotonic():
            yield json.loads(heapq.heappop(self.jobs)[2])


class InTransaction(Toy):
    """One that also hands over inside the run's transaction."""

    waiting = tables.queues

    def enqueue_in(self, connection: sa.Connection, payload: Any, *, schedule_in: float | None = None) -> Any:
        row = sa.insert(self.waiting).values(queue=f"job {json.dumps(payload)}")
        connection.execute(row)
        return {"queue": "rows"}


class Plain(Workflow):
    begin = Manual()
    work = Step(lambda: None)


@pytest.fixture
def shop(migrated_sqlite_url: str) -> Iterator[Shop]:
    """A shop in whose app context the test goes on."""
    yield from opened(migrated_sqlite_url)


@pytest.fixture
def either_shop(migrated_url: str) -> Iterator[Shop]:
    """The same on SQLite and on PostgreSQL."""
    yield from opened(migrated_url)


def opened(url: str) -> Iterator[Shop]:
    made = Shop(url, Plain)
    with made.app.app_context():
        yield made
    made.runtime.database.dispose()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executor_check, "DELAY", 0.5)
    monkeypatch.setattr(executor_check, "TOLERANCE", 0.2)


def problems(shop: Shop, executor: Any, *, travelling: bool = True) -> str:
    """What is found wrong."""

    def deliver() -> None:
        for payload in executor.due():
            shop.mesh.perform(payload)

    with pytest.raises(AssertionError) as caught:
        check_executor(executor, deliver=deliver if travelling else None, timeout=2)
    return str(caught.value)


@pytest.mark.rule("executors-ready-made")
def test_the_executor_of_the_app_is_checked_and_nothing_is_left_behind(either_shop: Shop) -> None:
    check_executor()
    check_executor("database")
    check_executor(DatabaseExecutor)
    assert either_shop.rows(tables.dispatches) == either_shop.rows(tables.queues) == either_shop.rows(tables.runs) == []


def test_a_good_executor_passes_with_its_queue(shop: Shop) -> None:
    toy = Toy()
    performing = shop.runtime.perform

    def deliver() -> None:
        for payload in toy.due():
            shop.mesh.perform(payload)

    check_executor(toy, deliver=deliver)
    assert toy.jobs == []
    assert shop.runtime.perform == performing


def test_a_worker_elsewhere_tells_what_arrived(shop: Shop) -> None:
    toy = Toy()
    check_executor(toy, deliver=lambda: list(toy.due()))


def test_a_hand_over_inside_the_transaction_shares_its_fate(either_shop: Shop) -> None:
    executor = InTransaction()

    def deliver() -> Iterator[dict[str, Any]]:
        with either_shop.runtime.database.write() as connection:
            rows = list(connection.scalars(sa.delete(tables.queues).returning(tables.queues.c.queue)))
        yield from (json.loads(row.removeprefix("job ")) for row in rows)
        yield from executor.due()

    check_executor(executor, deliver=deliver)


class Silent(Toy):
    def enqueue(self, payload: Any, *, schedule_in: float | None = None) -> Any:
        super().enqueue(payload, schedule_in=schedule_in)


class WholeSeconds(Toy):
    def enqueue(self, payload: Any, *, schedule_in: float | None = None) -> Any:
        if isinstance(schedule_in, float):
            raise TypeError("seconds must be an int")
        return super().enqueue(payload)


class Changing(Toy):
    def enqueue(self, payload: Any, *, schedule_in: float | None = None) -> Any:
        payload["queue"] = "slow"
        return super().enqueue(payload, schedule_in=schedule_in)


class Short(Toy):
    def enqueue_steps(self, run: Any, steps: Any, *, schedule_in: float | None = None) -> Any:
        return list(super().enqueue_steps(run, steps, schedule_in=schedule_in))[:2]


class Reversed(Toy):
    def enqueue_steps(self, run: Any, steps: Any, *, schedule_in: float | None = None) -> Any:
        return list(super().enqueue_steps(run, steps, schedule_in=schedule_in))[::-1]


class Generating(Toy):
    def enqueue_steps(self, run: Any, steps: Any, *, schedule_in: float | None = None) -> Any:
        return (self.enqueue_step(run, step, schedule_in=schedule_in) for step in steps)


class OneThread(Toy):
    def __init__(self) -> None:
        super().__init__()
        self.mine = threading.get_ident()

    def enqueue(self, payload: Any, *, schedule_in: float | None = None) -> Any:
        if threading.get_ident() != self.mine:
            raise RuntimeError("connections are for one thread")
        return super().enqueue(payload, schedule_in=schedule_in)


class Undecided(Toy):
    def continues(self, run: Any, step: str) -> Any:
        return None


class Hesitant(Toy):
    def takes_over(self, run: Any, step: str) -> Any:
        return None


class OwnCron(Toy):
    def enqueue_cron(self, workflow: Any, trigger: str, *, schedule_in: float | None = None) -> Any:  # type: ignore[override]
        return {}


@pytest.mark.rule("executor-check")
@pytest.mark.parametrize(
    ("executor", "found"),
    [
        (Silent, "enqueue: found an answer of type NoneType; expected a mapping"),
        (WholeSeconds, "enqueue_compensation: found TypeError: seconds must be an int; expected the job to be queued"),
        (Changing, "enqueue: found a changed payload; expected it as it was"),
        (Short, "enqueue_steps: found 2 answers for 3 steps; expected one for each"),
        (Reversed, "enqueue_steps: found answers for probe_c, probe_b, probe_a; expected probe_a, probe_b, probe_c"),
        (Generating, "enqueue_steps: found an answer of type generator; expected a sequence"),
        (OneThread, "enqueue_step from several threads: found RuntimeError: connections are for one thread"),
        (Undecided, "continues: found None; expected True or False"),
        (Hesitant, "takes_over: found None; expected True or False"),
        (OwnCron, "enqueue_cron: found TypeError"),
    ],
)
def test_an_executor_that_answers_wrongly_is_caught(shop: Shop, executor: type[Toy], found: str) -> None:
    text = problems(shop, executor(), travelling=False)
    assert text.startswith(f"The executor {__name__}.{executor.__name__} does not keep to the contract:")
    assert found in text


def test_an_executor_that_needs_the_hosts_session_is_caught(shop: Shop) -> None:
    class Sharing(Toy):
        def enqueue(self, payload: Any, *, schedule_in: float | None = None) -> Any:
            shop.db.session.execute(sa.text("SELECT 1"))
            return super().enqueue(payload, schedule_in=schedule_in)

    assert "found use of db.session; expected none" in problems(shop, Sharing(), travelling=False)


class Losing(Toy):
    def enqueue_compensation(self, run: Any, *, schedule_in: float | None = None) -> Any:
        return {"job": 0}


class Stringly(Toy):
    def due(self) -> Iterator[dict[str, Any]]:
        yield from ({"args": payload} for payload in super().due())


class Impatient(Toy):
    def enqueue(self, payload: Any, *, schedule_in: float | None = None) -> Any:
        return super().enqueue(payload)


class Broken(Toy):
    def due(self) -> Iterator[dict[str, Any]]:
        raise ConnectionError("no broker")


@pytest.mark.rule("executor-check")
@pytest.mark.parametrize(
    ("executor", "found"),
    [
        (Losing, "enqueue_compensation: found a job that did not come within 2 seconds; expected every job"),
        (Stringly, "enqueue_step: found the payload {'args': "),
        (Impatient, "seconds before its time; expected a delay of 0.5 seconds. Pass schedule_in on to your queue."),
        (Broken, "deliver: found ConnectionError: no broker; expected one pass of your worker"),
    ],
)
def test_a_queue_that_delivers_wrongly_is_caught(shop: Shop, executor: type[Toy], found: str) -> None:
    assert found in problems(shop, executor())


def test_a_hand_over_that_outlives_its_transaction_is_caught(either_shop: Shop) -> None:
    class Hasty(Toy):
        def enqueue_in(self, connection: sa.Connection, payload: Any, *, schedule_in: float | None = None) -> Any:
            return self.enqueue(payload, schedule_in=schedule_in)

    assert "enqueue_in: found a job of a transaction that was rolled back; expected none" in problems(
        either_shop, Hasty()
    )


def test_a_hand_over_that_ends_the_runs_transaction_is_caught(either_shop: Shop) -> None:
    class Committing(Toy):
        def enqueue_in(self, connection: sa.Connection, payload: Any, *, schedule_in: float | None = None) -> Any:
            connection.commit()
            return self.enqueue(payload, schedule_in=schedule_in)

    found = problems(either_shop, Committing(), travelling=False)
    assert "enqueue_in: found the run's transaction committed; expected it left open" in found
    assert either_shop.rows(tables.queues) == []


@pytest.mark.rule("executor-check")
def test_all_problems_are_told_at_once(shop: Shop) -> None:
    class Bad(Silent, Short, Undecided):
        pass

    found = problems(shop, Bad(), travelling=False)
    for call in ("enqueue:", "enqueue_step:", "enqueue_steps:", "enqueue_cron:", "continues:"):
        assert f"- {call}" in found


def test_what_is_no_executor_is_refused_with_what_it_lacks(shop: Shop) -> None:
    class Half:
        def enqueue_step(self, run: Any, step: str) -> None: ...

    with pytest.raises(AssertionError, match="lacks enqueue_steps, enqueue_compensation, enqueue_cron"):
        check_executor(Half)


def test_the_database_executor_has_no_queue_to_deliver_from(shop: Shop) -> None:
    with pytest.raises(ValueError, match="Leave out deliver"):
        check_executor("database", deliver=lambda: None)
