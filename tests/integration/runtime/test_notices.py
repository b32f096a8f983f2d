"""What subscribers and channels are told: written with the fact, delivered at least once, without touching the run."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from flask import current_app, has_app_context

from flask_squidmesh import Approval, Manual, Notice, Retry, Step, Workflow
from flask_squidmesh.errors import ChannelError
from flask_squidmesh.notices import NOTICE_KINDS
from flask_squidmesh.runtime.notice_deliverer import LEASE
from flask_squidmesh.storage import outbox_entries, tables
from flask_squidmesh.testing import drain
from tests.expense import HOUR, expense
from tests.shop import Order, Script, Shop, single

OpenShop = Callable[..., Shop]
DAY = timedelta(days=1)


class Told(list[Notice]):
    """A subscriber that keeps what it is told, and raises what it is given before."""

    def __init__(self, *raises: Exception) -> None:
        super().__init__()
        self.raises, self.tried = [*raises], list[str]()

    def __call__(self, notice: Notice) -> None:
        self.tried.append(notice.id)
        if self.raises:
            raise self.raises.pop(0)
        self.append(notice)

    @property
    def kinds(self) -> list[str]:
        """Of what, in order."""
        return [notice.kind for notice in self]


class Post:
    """A channel that keeps what it sends, and raises what it is given before."""

    def __init__(self, *raises: Exception) -> None:
        self.raises, self.sent = [*raises], list[tuple[str, str]]()

    def send(self, receiver: str, notices: Sequence[Notice]) -> None:
        if self.raises:
            raise self.raises.pop(0)
        self.sent += [(receiver, notice.kind) for notice in notices]


def told_of(shop: Shop, *kinds: Any, raises: Sequence[Exception] = (), **options: Any) -> Told:
    told = Told(*raises)
    shop.mesh.subscribe(*(kinds or NOTICE_KINDS), name="told", **options)(told)
    return told


def approving(script: Script, called: str = "Approving", **options: Any) -> type[Workflow]:
    review, pay, drop = (
        Approval("Good?", output="review", **options),
        Step(script.does("pay")),
        Step(script.does("drop")),
    )
    flow = [review >> pay, review.on_reject >> drop]
    return type(called, (Workflow,), {"place": Manual(Order), "review": review, "pay": pay, "drop": drop, "flow": flow})


def outcomes(shop: Shop) -> Counter[str | None]:
    return Counter(row.outcome for row in shop.rows(tables.outbox))


@pytest.mark.rule("telling-kinds")
def test_a_wait_tells_when_it_opens_reminds_escalates_and_times_out(open_shop: OpenShop, script: Script) -> None:
    shop = open_shop(expense(script))
    told = told_of(shop)
    shop.run("reimburse", actor="dana")
    opened = told[0]
    assert (opened.kind, opened.step, opened.visit, opened.prompt) == (
        "decision.opened",
        "review",
        1,
        "Pay 1 EUR to ACME?",
    )
    assert (opened.assignee, opened.groups, opened.options) == ("mia", ("finance",), ("approve", "ask_back", "reject"))
    assert opened.due_at is not None
    for hours in (24, 12, 12):
        shop.later(hours * HOUR)
    assert told.kinds == [
        "decision.opened",
        "decision.reminded",
        "decision.escalated",
        "decision.timed_out",
        "run.completed",
    ]
    assert (told[2].assignee, told[2].groups) == ("hans", ("finance", "heads"))
    assert told[2].details == {"from": "mia", "to": "hans", "groups": ["heads"]}
    assert told[-1].outcome == "timed_out"
    assert len({notice.id for notice in told}) == 5


@pytest.mark.rule("telling-kinds")
def test_an_answer_is_told_with_who_gave_it(open_shop: OpenShop, script: Script) -> None:
    shop = open_shop(approving(script, approvals=2))
    told = told_of(shop, "decision.decided")
    run_id = shop.run("approving")
    shop.mesh.approve_run(run_id, actor="ann")
    drain()
    assert told == []
    shop.mesh.approve_run(run_id, actor="bob", comment="fine")
    drain()
    [notice] = told
    assert notice.details == {"option": "approve", "actor": "bob", "comment": "fine"}


@pytest.mark.rule("telling-kinds")
def test_failures_incidents_and_failed_compensations_are_told(open_shop: OpenShop, script: Script) -> None:
    class Undone(Workflow):
        place = Manual(Order)
        take = Step(script.does("take"), compensate=script.does("give", ValueError("no")), compensate_retry=Retry(1))
        work = Step(script.does("work", RuntimeError("cut")), retry=Retry(1))
        flow = [take >> work]

    class Charged(Workflow):
        place = Manual(Order)
        charge = Step(script.does("charge", OSError("cut off")), irreversible=True)

    class Asked(Workflow):
        place = Manual(Order)
        review = Approval("Good?", assignee="{order_id}", after=[])

    shop = open_shop(Undone, Charged, Asked)
    told = told_of(shop)
    shop.run(Undone)
    assert told.kinds == ["run.failed", "compensation.failed"]
    assert told[0].error == {"type": "RuntimeError", "message": "cut", "code": None}
    assert told[1].details == {"steps": ["take"]}
    shop.run(Charged)
    assert (told[-1].kind, told[-1].step, told[-1].error) == (
        "run.interrupted",
        "charge",
        {"type": "OSError", "message": "cut off", "code": None},
    )
    blocked = shop.run(Asked, {"order_id": " "})
    assert (told[-1].kind, told[-1].run_id, told[-1].step) == ("run.incident", blocked, "review")
    shop.mesh.cancel_run(blocked, actor="lee")
    drain()
    assert told.kinds[-1] == "run.cancelled"


@pytest.mark.rule("telling-in-the-commit")
def test_nothing_is_told_of_what_was_rolled_back(open_shop: OpenShop, script: Script) -> None:
    shop = open_shop(approving(script))
    told = told_of(shop)
    shop.mesh.start_run("approving", {}, session=shop.db.session)
    shop.db.session.rollback()
    drain()
    assert (told, shop.rows(tables.outbox)) == ([], [])
    shop.mesh.start_run("approving", {}, session=shop.db.session)
    assert not shop.runtime.outbox.wake_signal.take()
    shop.db.session.commit()
    assert shop.runtime.outbox.wake_signal.take()
    drain()
    assert told.kinds == ["decision.opened"]


@pytest.mark.rule("telling-in-the-commit")
def test_what_is_told_is_written_by_the_statement_that_makes_it_true(open_shop: OpenShop, script: Script) -> None:
    shop = open_shop(approving(script))
    told_of(shop, "decision.opened", "decision.decided")
    shop.run("approving")
    with shop.counted() as counts:
        shop.mesh.start_run("approving", {})
    sqlite = shop.runtime.database.dialect == "sqlite"
    begin, run, step_run, audit, wait, entry = 1, 1, 1, 1, 1, 1
    assert counts == {"commits": 1, "statements": begin + run + step_run + audit + wait + entry if sqlite else 1}


@pytest.mark.rule("telling-costs-nothing")
def test_where_nobody_subscribes_nothing_is_written(open_shop: OpenShop, script: Script) -> None:
    shop = open_shop(approving(script), single(script))
    told_of(shop, "run.failed")
    told = Told()
    shop.mesh.subscribe("decision.opened", workflow="single", name="of another")(told)
    shop.mesh.approve_run(shop.run("approving"), actor="lee")
    drain()
    assert (told, shop.rows(tables.outbox)) == ([], [])


@pytest.mark.rule("telling-workflow")
def test_a_subscription_may_be_to_some_workflows(open_shop: OpenShop, script: Script) -> None:
    first, second = single(script, called="First"), single(script, called="Second")
    third = type("Third", (Workflow,), {"aliases": ("older",), "place": Manual(Order), "work": Step(script.does("x"))})
    shop = open_shop(first, second, third)
    told = told_of(shop, workflow=[first, third])
    for workflow in (first, second, third):
        shop.run(workflow)
    assert sorted(str(notice.workflow) for notice in told) == ["first", "third"]


@pytest.mark.rule("telling-receivers")
@pytest.mark.parametrize(
    ("answer", "receivers"),
    [
        (None, []),
        ([], []),
        ("a@x", ["a@x"]),
        ([" a@x ", "b@x", "a@x"], ["a@x", "b@x"]),
        (lambda: (name for name in ("a@x", "b@x")), ["a@x", "b@x"]),
        ([f"{number}@x" for number in range(1_000)], [f"{number}@x" for number in range(1_000)]),
    ],
    ids=["nobody", "none", "one", "twice", "generator", "thousand"],
)
def test_each_receiver_is_told_once(open_shop: OpenShop, script: Script, answer: Any, receivers: list[str]) -> None:
    shop, post = open_shop(single(script)), Post()
    asked: list[Notice] = []

    def to(notice: Notice) -> Any:
        asked.append(notice)
        return answer() if callable(answer) else answer

    shop.mesh.add_channel(post, on="run.completed", to=to)
    shop.run("single")
    assert sorted(receiver for receiver, _ in post.sent) == sorted(receivers)
    assert len(asked) == 1
    ended = {"addressed": 1, "delivered": len(receivers)} if receivers else {"dropped": 1}
    assert outcomes(shop) == ended


@pytest.mark.rule("telling-receivers")
@pytest.mark.parametrize(
    "answer", [5, {"a": 1}, b"a@x", [None], [""], ["a\0b"], ["a\nb"], ["x" * 201], ["x", 5], object()]
)
def test_what_is_no_receiver_is_told_to_operators_and_asked_for_again(
    open_shop: OpenShop, script: Script, answer: Any
) -> None:
    shop, post, answers = open_shop(single(script)), Post(), [answer, ValueError("secret"), "a@x"]

    def to(notice: Notice) -> Any:
        found = answers.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    shop.mesh.add_channel(post, on="run.completed", to=to)
    run_id = shop.run("single")
    [entry] = shop.rows(tables.outbox)
    assert "mesh.add_channel(to=...)" in entry.error
    assert shop.status(run_id) == "completed"
    shop.later(10)
    [entry] = shop.rows(tables.outbox)
    assert entry.error == "The channel raised ValueError."
    shop.later(20)
    assert post.sent == [("a@x", "run.completed")]


@pytest.mark.rule("telling-receivers")
def test_one_receiver_that_fails_keeps_none_of_the_others(open_shop: OpenShop, script: Script) -> None:
    shop, sent, down = open_shop(single(script)), list[str](), {"b@x"}

    def post(notice: Notice, receiver: str) -> None:
        if receiver in down:
            raise ChannelError("mailbox full")
        sent.append(receiver)

    shop.mesh.add_channel(post, on="run.completed", to=["a@x", "b@x", "c@x"])
    shop.run("single")
    assert sorted(sent) == ["a@x", "c@x"]
    down.clear()
    shop.later(10)
    assert sorted(sent) == ["a@x", "b@x", "c@x"]


@pytest.mark.rule("telling-again")
def test_what_fails_is_tried_again_for_a_day_with_the_same_id_and_then_shown(
    open_shop: OpenShop, script: Script
) -> None:
    shop = open_shop(single(script))
    told = told_of(shop, "run.completed", raises=[ValueError("no")] * 1_000)
    run_id = shop.run("single")
    began = shop.clock.now()
    waits = []
    while shop.rows(tables.outbox)[0].outcome is None:
        [entry] = shop.rows(tables.outbox)
        waits.append(entry.due_at - shop.clock.now())
        shop.later(max(entry.due_at - shop.clock.now(), timedelta(milliseconds=1)))
    assert [round(wait.total_seconds(), -1) for wait in waits[:4]] == [10, 20, 40, 80]
    assert round(max(waits).total_seconds(), -1) == HOUR.total_seconds()
    assert abs(shop.clock.now() - began - DAY) < timedelta(minutes=1)
    [entry] = shop.rows(tables.outbox)
    assert (entry.outcome, entry.error) == ("failed", "It raised ValueError.")
    assert {*told.tried} == {entry.id}
    assert shop.status(run_id) == "completed"
    shop.later(DAY)
    assert len(told.tried) == len(waits) + 1


@pytest.mark.rule("telling-again")
def test_a_channel_may_say_when_to_come_again(open_shop: OpenShop, script: Script) -> None:
    shop, post = open_shop(single(script)), Post(ChannelError("busy", retry_after=timedelta(minutes=5)))
    shop.mesh.add_channel(post, on="run.completed")
    shop.run("single")
    shop.later(299)
    assert post.sent == []
    shop.later(2)
    assert post.sent == [("", "run.completed")]


@pytest.mark.rule("telling-dropped")
def test_what_was_to_be_told_of_a_wait_is_dropped_once_that_has_ended(open_shop: OpenShop, script: Script) -> None:
    shop = open_shop(approving(script))
    told = told_of(shop, "decision.opened", "decision.decided", raises=[ValueError("down")])
    run_id = shop.run("approving")
    shop.mesh.approve_run(run_id, actor="lee")
    shop.later(10)
    assert told.kinds == ["decision.decided"]
    assert outcomes(shop) == {"dropped": 1, "delivered": 1}


@pytest.mark.rule("telling-dropped")
def test_of_a_wait_that_opens_and_ends_at_once_nobody_is_told(open_shop: OpenShop, script: Script) -> None:
    class Beside(Workflow):
        place = Manual(Order)
        work = Step(script.does("work", ValueError("no")), after=[], retry=Retry(1))
        review = Approval("Good?", after=[])

    shop = open_shop(Beside)
    told = told_of(shop)
    shop.start(Beside)
    shop.runtime.deliverer.deliver(shop.claim_due()[0])
    drain()
    assert told.kinds == ["run.failed"]


@pytest.mark.rule("telling-fenced")
def test_an_entry_is_told_by_one_process_and_by_another_once_that_is_dead(open_shop: OpenShop, script: Script) -> None:
    shop = open_shop(single(script))
    told = told_of(shop, "run.completed")
    shop.start("single")
    shop.perform(shop.claim_due()[0])
    database = shop.runtime.database

    def claim() -> list[outbox_entries.ClaimedEntry]:
        with database.write() as connection:
            return outbox_entries.claim_due(connection, database, "told", worker="dead:1", limit=5, lease=LEASE)

    [entry] = claim()
    assert claim() == []
    drain()
    assert told == []
    shop.later(LEASE + timedelta(seconds=1))
    assert [notice.id for notice in told] == [entry.id]
    with database.write() as connection:
        assert not outbox_entries.put_off(connection, entry, shop.clock.now(), "late")
    assert outcomes(shop) == {"delivered": 1}


@pytest.mark.rule("telling-own-context")
def test_a_subscriber_has_a_context_of_its_own_and_may_start_runs(open_shop: OpenShop, script: Script) -> None:
    shop = open_shop(single(script), single(script, called="After"))
    contexts = [current_app._get_current_object()]  # type: ignore[attr-defined]
    started: list[str] = []

    @shop.mesh.subscribe("run.completed", workflow="single")
    def go_on(notice: Notice) -> None:
        assert has_app_context()
        assert not shop.db.session.registry.has()
        contexts.append(current_app._get_current_object())  # type: ignore[attr-defined]
        run = shop.mesh.start_run("after", {}, idempotency_key=notice.id, session=shop.db.session)
        shop.db.session.commit()
        started.append(run.id)
        if len(started) == 1:
            raise ValueError("after the commit")

    shop.run("single")
    shop.later(10)
    assert len(started) == 2
    assert len({*started}) == 1
    assert shop.status(started[0]) == "completed"


@pytest.mark.rule("telling-own-code")
def test_a_relay_tells_by_channels_alone(open_shop: OpenShop, script: Script) -> None:
    shop, post = open_shop(single(script)), Post()
    told = told_of(shop, "run.completed")
    shop.mesh.add_channel(post, on="run.completed")
    shop.start("single")
    shop.perform(shop.claim_due()[0])
    shop.relay()
    assert shop.runtime.notice_deliverer.deliver_due(own_code=False) == 1
    assert (post.sent, told) == ([("", "run.completed")], [])


@pytest.mark.rule("telling-rests")
def test_a_channel_that_is_down_is_not_asked_for_everything_that_waits(open_shop: OpenShop, script: Script) -> None:
    shop, post = open_shop(single(script)), Post(*[ChannelError("down")] * 3)
    other = Post()
    shop.mesh.add_channel(post, on="run.completed", to=[f"{number}@x" for number in range(30)], name="down")
    shop.mesh.add_channel(other, on="run.completed", name="up")
    shop.run("single")
    assert (post.raises, post.sent, len(other.sent)) == ([], [], 1)
    shop.later(11)
    assert len({*post.sent}) == len(post.sent) == 30


@pytest.mark.rule("telling-not-the-run")
def test_nothing_that_a_channel_raises_reaches_the_run_or_the_log(
    open_shop: OpenShop, script: Script, caplog: pytest.LogCaptureFixture
) -> None:
    shop = open_shop(single(script))
    post = Post(OSError("https://user:hunter2@example.org"), KeyError("hunter2"))
    shop.mesh.add_channel(post, on="run.completed")
    run_id = shop.run("single")
    shop.later(10)
    [entry] = shop.rows(tables.outbox)
    assert entry.error == "The channel raised KeyError."
    assert "hunter2" not in caplog.text
    assert shop.status(run_id) == "completed"
    assert shop.events(run_id) == []


@pytest.mark.rule("telling-by-workers")
def test_workers_tell_beside_their_steps(open_shop: OpenShop, script: Script, eventually: Callable[..., Any]) -> None:
    shop, post = open_shop(single(script), poll_interval=0.05), Post()
    told = told_of(shop, "run.completed")
    shop.mesh.add_channel(post, on="run.completed")
    run_id = shop.start("single")
    with shop.runtime.upkeep(threads=1):
        shop.deliver(run_id, "work")
        eventually(lambda: told and post.sent)
        eventually(lambda: outcomes(shop) == {"delivered": 2})


@pytest.mark.rule("telling-by-workers")
def test_a_slow_channel_holds_up_no_other(open_shop: OpenShop, script: Script, eventually: Callable[..., Any]) -> None:
    shop, post, may_end = open_shop(single(script), poll_interval=0.05), Post(), threading.Event()

    def slow(notice: Notice, receiver: str) -> None:
        assert may_end.wait(120)

    shop.mesh.add_channel(slow, on="run.completed")
    shop.mesh.add_channel(post, on="run.completed")
    runs = [shop.start("single") for _ in range(3)]
    with shop.runtime.upkeep(threads=1):
        for run_id in runs:
            shop.deliver(run_id, "work")
        eventually(lambda: len(post.sent) == 3)
        may_end.set()
        eventually(lambda: outcomes(shop) == {"delivered": 6})


@pytest.mark.rule("telling-kept")
def test_a_run_of_which_somebody_is_still_to_be_told_is_not_pruned(open_shop: OpenShop, script: Script) -> None:
    shop = open_shop(single(script))
    told = told_of(shop, "run.completed", raises=[ValueError("down")])
    shop.run("single")
    shop.clock.advance(5)
    report = shop.mesh.prune(older_than=timedelta(0))
    assert [(group.kept, group.runs) for group in report.groups] == [("untold", 1)]
    shop.later(10)
    assert len(told) == 1
    assert shop.mesh.prune(older_than=timedelta(0)).pruned == 1
    assert shop.rows(tables.outbox) == []


@pytest.mark.rule("telling-kept")
def test_what_was_told_is_remembered_for_a_week_and_what_could_not_be_for_as_long_as_its_run(
    open_shop: OpenShop, script: Script
) -> None:
    shop = open_shop(single(script), retention=timedelta(days=30))
    told_of(shop, "run.completed")
    shop.mesh.add_channel(Post(*[ChannelError("down")] * 1_000), on="run.completed")
    shop.run("single")
    for _ in range(50):
        shop.later(HOUR)
    assert outcomes(shop) == {"delivered": 1, "failed": 1}
    shop.clock.advance(timedelta(days=7))
    shop.runtime.retention.keep(lambda _: None)
    assert outcomes(shop) == {"failed": 1}
    shop.clock.advance(timedelta(days=30))
    shop.runtime.retention.keep(lambda _: None)
    assert shop.rows(tables.outbox) == []


@pytest.mark.rule("telling-unknown")
def test_what_is_for_a_subscription_of_another_version_waits_for_it_and_is_given_up_in_the_end(
    open_shop: OpenShop, script: Script
) -> None:
    shop = open_shop(single(script))
    told_of(shop, "run.completed")
    shop.start("single")
    shop.perform(shop.claim_due()[0])
    known = shop.runtime.subscriptions._by_name.pop("told")
    drain()
    assert outcomes(shop) == {None: 1}
    shop.runtime.subscriptions._by_name["told"] = known
    drain()
    assert outcomes(shop) == {"delivered": 1}
    shop.start("single")
    shop.perform(shop.claim_due()[0])
    del shop.runtime.subscriptions._by_name["told"]
    shop.clock.advance(timedelta(days=2))
    shop.runtime.retention.keep(lambda _: None)
    assert outcomes(shop) == {"delivered": 1, "failed": 1}


@pytest.mark.rule("telling-digest")
def test_a_digest_gathers_what_one_receiver_gets(open_shop: OpenShop, script: Script) -> None:
    shop, sent = open_shop(single(script), approving(script)), list[tuple[str, list[str]]]()

    class Gathering:
        def send(self, receiver: str, notices: Sequence[Notice]) -> None:
            sent.append((receiver, [notice.kind for notice in notices]))

    shop.mesh.add_channel(
        Gathering(),
        on=("run.completed", "decision.opened"),
        to=lambda notice: ["a@x", "b@x"] if notice.workflow == "single" else "a@x",
        digest=HOUR,
    )
    shop.run("single")
    shop.later(30 * 60)
    opened = shop.run("approving")
    gone = shop.run("approving")
    shop.mesh.cancel_run(gone, actor="lee")
    assert sent == []
    shop.later(30 * 60)
    assert sorted(sent) == [("a@x", ["run.completed", "decision.opened"]), ("b@x", ["run.completed"])]
    shop.later(2 * HOUR)
    assert len(sent) == 2
    shop.mesh.approve_run(opened, actor="lee")
    drain()
    shop.later(HOUR)
    assert sent[2:] == [("a@x", ["run.completed"])]


@pytest.mark.rule("telling-digest")
def test_without_receivers_everything_is_gathered(open_shop: OpenShop, script: Script) -> None:
    shop, sizes, down = open_shop(single(script)), list[int](), [ChannelError("down")]

    class Gathering:
        def send(self, receiver: str, notices: Sequence[Notice]) -> None:
            if down:
                raise down.pop()
            sizes.append(len(notices))

    shop.mesh.add_channel(Gathering(), on="run.completed", digest=HOUR)
    for _ in range(3):
        shop.run("single")
        shop.clock.advance(60)
    shop.later(HOUR)
    assert sizes == []
    shop.later(10)
    assert sizes == [3]


@pytest.mark.rule("telling-doctor")
def test_the_doctor_has_told_again_what_neither_waits_nor_has_ended(open_shop: OpenShop, script: Script) -> None:
    shop = open_shop(single(script))
    told = told_of(shop, "run.completed")
    shop.run("single")
    with shop.runtime.database.write() as connection:
        connection.execute(sa.update(tables.outbox).values(outcome=None))
    found = list(shop.runtime.doctor.examine())
    assert [finding.rule for finding in found] == ["outbox"]
    assert len(list(shop.runtime.doctor.repair(found))) == 1
    drain()
    assert len({notice.id for notice in told}) == 1
    assert len(told) == 2


@pytest.mark.rule("telling-history")
def test_the_history_of_a_run_says_whom_each_subscription_told_and_what_failed(
    open_shop: OpenShop, script: Script
) -> None:
    shop = open_shop(single(script))
    told_of(shop, "run.completed")
    shop.mesh.add_channel(Post(), on="run.completed", to=["ann", "bob", "cleo"], name="mail")
    shop.mesh.add_channel(Post(*[ChannelError("Answered 451.")] * 99), on="run.completed", to="dan", name="fax")
    run_id = shop.run("single")
    began = shop.mesh.inspect_run(run_id, include_history=True).finished_at

    def told_in_history() -> dict[str, Any]:
        timeline = shop.mesh.inspect_run(run_id, include_history=True).timeline or ()
        told = [event for event in timeline if event.type.startswith("notice_")]
        assert [*told] == sorted(told, key=lambda event: event.at)
        return {event.details["subscription"]: event for event in told if event.details}

    said = told_in_history()
    assert {name: event.type for name, event in said.items()} == {
        "told": "notice_delivered",
        "mail": "notice_delivered",
        "fax": "notice_waiting",
    }
    assert said["told"].details == {"kind": "run.completed", "subscription": "told"}
    assert (said["mail"].details["receiver"], said["mail"].details["receivers"]) == ("ann", 3)
    assert said["fax"].details["error"] == "Answered 451."
    for _ in range(40):
        shop.later(HOUR)
    fax = told_in_history()["fax"]
    assert fax.type == "notice_failed"
    assert began is not None
    assert fax.at >= began + DAY
