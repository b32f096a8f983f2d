"""Calls and declarations as nobody should write them: type checkers find each line marked wrong, and no other."""

from __future__ import annotations

from datetime import timedelta

from flask_squidmesh import (
    Approval,
    Cron,
    Deadline,
    Decision,
    Deny,
    End,
    Escalate,
    Option,
    Pause,
    Retry,
    RunSummary,
    SquidMesh,
    Step,
    Wait,
    Workflow,
)

mesh = SquidMesh()
run = mesh.start_run("checkout", {})

mesh.approve_run(run.id, actor="dana", coment="typing mistake")  # wrong
mesh.reject_run(run.id, who="dana")  # wrong
mesh.unblock_run(run.id, steps="hold")  # wrong
mesh.cancel_run(run.id, undo=True)  # wrong
mesh.replay_run(run.id, irreversible=True)  # wrong
mesh.retry_step(run.id, output={})  # wrong
mesh.resolve_step(run.id, result={})  # wrong
mesh.fail_step(run.id, because="no")  # wrong
mesh.retry_compensation(run.id, step="reserve")  # wrong
mesh.acknowledge_run(run.id, note="seen")  # wrong
mesh.start_run("checkout", {}, idempotency="o-1")  # wrong
mesh.list_runs(colour="red")  # wrong
mesh.inspect_run(run.id, history=True)  # wrong
mesh.prune(older="30 days")  # wrong
mesh.subscribe("run.fialed")  # wrong
mesh.add_channel(print, on="run.done")  # wrong
mesh.add_channel(print, on="run.failed", to=5)  # wrong
mesh.url_for_run(run.id, "edit")  # wrong

mesh.cancel_run(run.id, compensate="yes")  # wrong
mesh.approve_run(run.id, actor=7)  # wrong
mesh.list_runs(limit="50")  # wrong
mesh.start_run("checkout", {}, actor=object())  # wrong

mesh.inspect_run(run.id).steps[0]  # wrong

if run.last_error:
    print(run.last_error["mesage"])  # wrong

Step(print, retries=3)  # wrong
Approval("Ship it?", approvers=2)  # wrong
Cron("0 9 * * *", zone="UTC")  # wrong
Retry(3, delay=1)  # wrong
Wait(till="order.due")  # wrong
Pause("Go on?", options=("yes",))  # wrong
Decision("Pay?")  # wrong
Decision("Pay?", options=3)  # wrong
Decision("Pay?", options=("yes",), answers=dict)  # wrong
Decision("Pay?", options=("yes",), form=dict)  # wrong
Decision("Pay?", options=("yes",), assignee=7)  # wrong
Decision("Pay?", options=("yes",), escalate="head")  # wrong
Approval("Pay?", options=("yes",))  # wrong
Option("yes", comment=True)  # wrong
Escalate(assignee="head")  # wrong
Escalate(after=60, to="head")  # wrong
End("rejected", undo=True)  # wrong
Deadline(60, "cancel")  # wrong
End("rejected") >> Step(print)  # wrong
Step(print).on_timeout(60)  # wrong


class Late(Workflow, deadline=timedelta(days=3)):  # wrong
    pass


class Misspelt(Workflow, dead_line=Deadline(timedelta(days=3))):  # wrong
    pass


@mesh.authorize  # wrong
def may(action: str, run: RunSummary | None, permission: str | None) -> str:
    return "yes"


@mesh.actor  # wrong
def who() -> int:
    return 7


@mesh.links  # wrong
def links(run: RunSummary) -> list[str]:
    return []


@mesh.people  # wrong
def people() -> list[str]:
    return []


@mesh.authorize
def may_not(action: str) -> bool | Deny:
    return Deny("no")
