"""What is started again, or started once although it is asked for twice, and what runs start."""

from __future__ import annotations

from contextvars import Context
from datetime import UTC, datetime, timedelta

from flask import current_app

from flask_squidmesh import ConflictError, TransitionError, UnsafeReplayError
from flask_squidmesh.runtime.runtime import current_runtime

from ...extensions import mesh
from ...gateway.client import behaving
from ...people import FINANCE, OPERATOR
from ...stage import run_once, wait_until
from ...workflows import DailyDigest, PaymentRecovery, Reminders, RetryVerification
from ..looking import Mismatch, asked, ended, expect, invoice, order_of, start
from ..pages import Visitor, expect_words, on_page, text_at


def replay() -> str:
    """A finished run made anew; both know each other."""
    digest = ended(start(DailyDigest, {"channel": "ops"}, trigger="manual_digest"), "completed")
    on_page(digest.id, "Completed", "Replay")
    again = mesh.replay_run(digest.id, actor=OPERATOR.email, comment="the numbers were corrected")
    run = ended(again.id, "completed")
    linked = (run.replayed_from_id, mesh.inspect_run(digest.id).replayed_as_id)
    expect("how both are linked", linked, (digest.id, run.id))
    expect("the payload", run.payload, digest.payload)
    expect_words("the pages", on_page(run.id, "Completed", "Replay").text, "replayed by this run")
    return "replayed with the same payload, linked both ways"


def guarded_replay() -> str:
    """A replay that would tell the customer again needs to be confirmed, here and on the page."""
    first = ended(start(PaymentRecovery, invoice()), "completed")
    try:
        mesh.replay_run(first.id, actor=OPERATOR.email)
    except UnsafeReplayError as refused:
        expect("what blocks it", [(each["step"], each["reason"]) for each in refused.steps], [("notify", "completed")])
    else:
        raise Mismatch("a replay that repeats notify: it was made, expected an UnsafeReplayError")
    visitor = Visitor(OPERATOR)
    button = visitor.run(first.id).buttons["Replay"]
    status, text = visitor.send(button, {**visitor.form(button), "comment": "again"})
    expect("the answer to an unconfirmed form", status, 422)
    expect_words("what is asked for", text, "Type notify to confirm")
    status, _ = visitor.send(button, {**visitor.form(button), "comment": "again", "confirm": "notify"})
    expect("the answer to a confirmed form", status, 303)
    ended(mesh.inspect_run(first.id).replayed_as_id or "", "completed")
    return "refused because of notify, made once the step's name was typed"


def partial_replay() -> str:
    """A replay that begins in the middle, with the outputs of what came before."""
    first = ended(start(PaymentRecovery, invoice()), "completed")
    again = mesh.replay_run(first.id, from_step="notify", allow_irreversible=True, actor=OPERATOR.email)
    run = ended(again.id, "completed")
    attempts = {view.step: len(view.attempts) for view in run.steps or ()}
    expect("the attempts", attempts, {"load": 0, "check_gateway": 0, "notify": 1, "issue_credit": 0})
    expect("what was copied", run.context, first.context)
    return "began at notify with the outputs of load and check_gateway"


def replay_of_what_was_undone() -> str:
    """What was undone cannot be copied, and a run that never went there cannot be begun there."""
    order = order_of("teapot")
    ended(order.run_id or "", "paused")
    with behaving("declining"):
        mesh.approve_run(order.run_id or "", actor=FINANCE.email)
        run = run_once(order.run_id or "", "failed", compensation="completed")
    for step_name in ("capture", "decline"):
        try:
            mesh.replay_run(run.id, from_step=step_name, actor=OPERATOR.email)
        except TransitionError:
            continue
        raise Mismatch(f"a replay from {step_name}: it was made, expected a TransitionError")
    mesh.acknowledge_run(run.id, actor=OPERATOR.email)
    expect("the payment", asked(order), ["authorise", "capture", "void"])
    return "refused for capture, whose steps were undone, and for decline, which was never reached"


def one_start_for_one_key() -> str:
    """Started twice under one key."""
    key, payload = f"smoke-{datetime.now(UTC):%H%M%S%f}", {"attempt_id": "key"}
    first, again = (mesh.start_run(RetryVerification, payload, idempotency_key=key) for _ in range(2))
    expect("the second start", again.id, first.id)
    try:
        mesh.start_run(RetryVerification, {"attempt_id": "other"}, idempotency_key=key)
    except ConflictError:
        ended(first.id, "completed")
        return "one run for one key; another payload under it was refused"
    raise Mismatch("a start with another payload under a used key: it was made, expected a ConflictError")


def cron_by_command() -> str:
    """A window fired twice by `flask squidmesh cron fire`, as an operator makes up for one that was missed."""
    window = (datetime.now(UTC) - timedelta(days=1)).replace(tzinfo=None).isoformat()
    words = ["squidmesh", "cron", "fire", "daily_digest", "daily_digest", "--window", window]
    runner = current_app.test_cli_runner()
    first, again = (Context().run(runner.invoke, args=words).output.strip() for _ in range(2))
    expect("the second line", again, first)
    run = ended(first.removeprefix("Run "), "completed")
    schedule = run.schedule
    assert schedule is not None
    expect("window and zone", (schedule["intended_window"][:19], schedule["timezone"]), (window[:19], "Europe/Berlin"))
    return "one run for one window, although it was fired twice"


def cron_through_the_queue() -> str:
    """An activation handed to the executor twice, as a scheduler does."""
    window = datetime.now(UTC) - timedelta(days=2)
    for _ in range(2):
        mesh.enqueue_cron(DailyDigest, "daily_digest", intended_window=window)
    wait_until(lambda: _made_for(window), "the activation has become a run")
    run = ended(_made_for(window)[0], "completed")
    expect(
        "the run for a third activation",
        current_runtime().scheduler.fire("daily_digest", "daily_digest", intended_window=window),
        run.id,
    )
    expect("the runs for this window", _made_for(window), [run.id])
    return "one run for one window, although it was handed over twice"


def child_runs() -> str:
    """A run that starts a letter for each order; parent and children know each other."""
    numbers = [invoice()["invoice_id"] for _ in range(2)]
    parent = ended(start(Reminders, {"numbers": numbers}), "completed")
    expect("the number of children", len(parent.children), 2)
    for child_id in parent.children:
        child = ended(child_id, "completed")
        expect("where the child comes from", (child.parent_run_id, child.parent_step), (parent.id, "write"))
        expect_words("the child's page", text_at(f"/runs/{child_id}"), "started this run at write")
    page = on_page(parent.id, "Completed", "Replay")
    expect_words(
        "the parent's page", page.text, "2 of 2 completed", *(f"Reminder for order {number}" for number in numbers)
    )
    return "two letters, each a run of its own, linked both ways"


def _made_for(window: datetime) -> list[str]:
    """The runs that the schedule made for this window, among the newest."""
    newest = mesh.list_runs(workflow=DailyDigest, trigger="daily_digest", limit=10).runs
    runs = [mesh.inspect_run(run.id) for run in newest]
    return [run.id for run in runs if run.schedule and run.schedule["intended_window"] == window.isoformat()]
