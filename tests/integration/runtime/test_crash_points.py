"""A process that dies before or after any of its commits: another takes over, and the run comes to the same end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import pytest
import sqlalchemy as sa

from flask_squidmesh import (
    Approval,
    FailStep,
    Fixed,
    Log,
    Manual,
    Retry,
    RetryStep,
    Step,
    Wait,
    Workflow,
)
from flask_squidmesh.runtime.relaying import relay
from flask_squidmesh.store import tables
from flask_squidmesh.testing import drain
from tests.databases import PostgresDatabases, SqliteDatabases
from tests.shop import Order, Recording, Script, Shop, check_rows

CLAIM_TIMEOUT = 30


class Killed(BaseException):
    """The process is gone."""


class Crash:
    """Kills at one of the commits made while it is armed, counted from 1; never where `at` is 0."""

    def __init__(self, at: int = 0, *, after: bool = False) -> None:
        self.at, self.after, self.seen = at, after, 0

    @contextmanager
    def armed(self, engine: sa.Engine) -> Iterator[None]:
        """Every commit of the engine counts meanwhile."""
        plain = engine.dialect.do_commit

        def commit(dbapi: Any) -> None:
            self.seen += 1
            dies = self.seen == self.at
            if dies and not self.after:
                raise Killed
            plain(dbapi)
            if dies:
                raise Killed

        vars(engine.dialect)["do_commit"] = commit
        try:
            yield
        finally:
            del vars(engine.dialect)["do_commit"]


Build = Callable[[Script], type[Workflow]]


def chain(script: Script) -> type[Workflow]:
    class Chain(Workflow):
        place = Manual(Order)
        a = Step(script.does("a", {"a": 1}))
        tell = Log("at {order_id}")
        b = Step(script.does("b", {"b": 2}))
        c = Step(script.does("c"))
        flow = [a >> tell >> b >> c]

    return Chain


def waits(script: Script) -> type[Workflow]:
    class Waits(Workflow):
        place = Manual(Order)
        a = Step(script.does("a"))
        settle = Wait(60)
        b = Step(script.does("b"))
        flow = [a >> settle >> b]

    return Waits


def retries(script: Script) -> type[Workflow]:
    class Retries(Workflow):
        place = Manual(Order)
        a = Step(script.does("a", RetryStep("busy"), RetryStep("busy"), {"a": 1}), retry=Retry(9, backoff=Fixed(5)))
        b = Step(script.does("b"))
        flow = [a >> b]

    return Retries


def routes(script: Script) -> type[Workflow]:
    class Routes(Workflow):
        place = Manual(Order)
        a = Step(script.does("a", FailStep("no")))
        b = Step(script.does("b"))
        c = Step(script.does("c"))
        flow = [a >> c, a.on_error(recovery="undo") >> b]

    return Routes


def saga(script: Script) -> type[Workflow]:
    class Saga(Workflow):
        place = Manual(Order)
        a = Step(script.does("a"), compensate=script.does("undo_a"))
        b = Step(script.does("b"), compensate=script.does("undo_b"))
        c = Step(script.does("c", FailStep("no")))
        flow = [a >> b >> c]

    return Saga


def approves(script: Script) -> type[Workflow]:
    class Approves(Workflow):
        place = Manual(Order)
        a = Step(script.does("a"))
        review = Approval("Good?", output="review")
        b = Step(script.does("b"))
        stop = Step(script.does("stop"))
        flow = [a >> review >> b, review.on_reject >> stop]

    return Approves


def joins(script: Script) -> type[Workflow]:
    class Joins(Workflow):
        place = Manual(Order)
        top = Step(script.does("top"), after=[])
        left = Step(script.does("left"), after=[top])
        right = Step(script.does("right"), after=[top])
        join = Step(script.does("join"), after=[left, right])

    return Joins


def fails_beside(script: Script) -> type[Workflow]:
    class FailsBeside(Workflow):
        place = Manual(Order)
        top = Step(script.does("top"), after=[], compensate=script.does("undo_top"))
        left = Step(script.does("left", FailStep("no")), after=[top])
        right = Wait(600, after=[top])
        join = Step(script.does("join"), after=[left, right])

    return FailsBeside


def irreversible(script: Script) -> type[Workflow]:
    class Irreversible(Workflow):
        place = Manual(Order)
        a = Step(script.does("a"))
        charge = Step(script.does("charge", {"charge": "c"}), irreversible=True)
        b = Step(script.does("b"))
        flow = [a >> charge >> b]

    return Irreversible


SHAPES: tuple[Build, ...] = (chain, waits, retries, routes, saga, approves, joins, fails_beside, irreversible)


@dataclass(frozen=True)
class End:
    """What a run came to, but for times and numbers of attempts."""

    status: str
    needs: str | None
    compensation: str | None
    context: dict[str, Any]
    visits: tuple[tuple[str, str, int, str], ...]
    called: frozenset[str]


def process(shop: Shop, run_id: str) -> None:
    """All that happens in a run's life, each time from wherever it stands."""
    for _ in range(20):
        shop.clock.advance(CLAIM_TIMEOUT + 1)
        drain()
        _operate(shop, run_id)
        if shop.rows(tables.dispatches) == [] and not _open(shop, run_id):
            return
    raise AssertionError(f"the run does not end: {shop.visits(run_id)}")


def _open(shop: Shop, run_id: str) -> bool:
    needs = shop.mesh.inspect_run(run_id).needs
    return needs is not None and needs.kind in ("decision", "interrupted")


def _operate(shop: Shop, run_id: str) -> None:
    """What a person does about it."""
    run = shop.mesh.inspect_run(run_id)
    if run.needs is None:
        return
    if run.needs.kind == "decision":
        shop.mesh.approve_run(run_id, actor="lee", idempotency_key=f"approve {run.decision}")
    elif run.needs.kind == "interrupted":
        shop.mesh.resolve_step(run_id, output={"charge": "c"}, actor="lee")


def end_of(shop: Shop, run_id: str, script: Script) -> End:
    run = shop.look(run_id)
    context = {**run.context, **({"review": "decided"} if "review" in run.context else {})}
    rows = [(row.kind, row.step, row.visit, row.status) for row in run.step_runs or ()]
    return End(
        status=run.status,
        needs=run.needs.kind if run.needs else None,
        compensation=run.compensation,
        context=context,
        visits=tuple(sorted(rows)),
        called=frozenset(script.calls),
    )


def live(url: str, build: Build, crash: Crash, **settings: Any) -> tuple[End, Script]:
    """Live through a run with one crash, if any, and answer how it ended."""
    script = Script()
    workflow = build(script)
    shop = Shop(url, workflow, **settings)
    with shop.app.app_context():
        run_id = shop.start(workflow)
        try:
            with crash.armed(shop.runtime.database.engine):
                process(shop, run_id)
        except Killed:
            shop.runtime.claims = type(shop.runtime.claims)(shop.runtime)
            process(shop, run_id)
        check_rows(shop)
        ended = end_of(shop, run_id, script)
    shop.runtime.database.dispose()
    return ended, script


def check_effects(script: Script, undisturbed: Script, crash: Crash) -> None:
    """One crash repeats at most the one attempt that it hit, and the charge never."""
    extra = Counter(script.calls) - Counter(undisturbed.calls)
    assert sum(extra.values()) <= 1, (crash.at, crash.after, extra)
    assert not Counter(undisturbed.calls) - Counter(script.calls) - Counter(["charge"])
    assert script.calls.count("charge") <= 1
    keys = {(each.step, each.visit, type(each)): each.idempotency_key for each in script.contexts}
    assert all(keys[each.step, each.visit, type(each)] == each.idempotency_key for each in script.contexts)


@pytest.mark.parametrize("build", SHAPES, ids=lambda build: build.__name__)
def test_a_crash_at_any_commit_changes_no_end(
    build: Build, databases: SqliteDatabases | PostgresDatabases, migrated_url: str
) -> None:
    counted = Crash()
    expected, undisturbed = live(migrated_url, build, counted)
    step = 1 if isinstance(databases, SqliteDatabases) else 2
    for at in range(1, counted.seen + 1, step):
        for after in (False, True):
            crash = Crash(at, after=after)
            ended, script = live(migrated_url, build, crash)
            called = ended.called | ({"charge"} & expected.called)
            assert (ended.status, ended.context, ended.visits, called) == (
                *(expected.status, expected.context),
                *(expected.visits, expected.called),
            ), (at, after)
            assert (ended.needs, ended.compensation) == (expected.needs, expected.compensation)
            check_effects(script, undisturbed, crash)


class Lossy(Recording):
    """A queue that loses one of the jobs it is given, or dies while it takes it."""

    def __init__(self, lost: int, *, dies: bool) -> None:
        super().__init__()
        self.lost, self.dies, self.count = lost, dies, 0

    def enqueue(self, payload: Any, *, schedule_in: float | None = None) -> dict[str, Any]:
        self.count += 1
        if self.count == self.lost:
            if self.dies:
                raise Killed
            return {}
        return super().enqueue(payload, schedule_in=schedule_in)


@pytest.mark.parametrize("dies", [False, True])
@pytest.mark.parametrize("build", [chain, saga, joins, waits], ids=lambda build: build.__name__)
def test_a_hand_over_that_is_lost_is_made_again(build: Build, dies: bool, migrated_sqlite_url: str) -> None:
    expected = None
    for lost in range(8):
        script = Script()
        queue = Lossy(lost, dies=dies)
        workflow = build(script)
        shop = Shop(migrated_sqlite_url, workflow, executor=queue)
        with shop.app.app_context():
            try:
                run_id = shop.start(workflow)
            except Killed:
                run_id = shop.rows(tables.runs, tables.runs.c.status == "pending")[-1].id
            deliver_all(shop, queue)
            check_rows(shop)
            ended = end_of(shop, run_id, script)
        shop.runtime.database.dispose()
        expected = expected or (ended, sorted(script.calls))
        assert (ended, sorted(script.calls)) == expected, lost


def deliver_all(shop: Shop, queue: Recording) -> None:
    """Be the host's queue and its relay for some hours."""
    for _ in range(40):
        jobs, queue.given = queue.given, []
        for payload, _ in jobs:
            with suppress(Killed):
                shop.mesh.perform(payload)
        shop.clock.advance(61)
        with suppress(Killed):
            relay(shop.runtime)
        if not shop.rows(tables.dispatches):
            return
    raise AssertionError("the queue never came to rest")
