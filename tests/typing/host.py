"""A host as its authors would write it, annotated throughout: what type checkers are to accept."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Any

from flask import Flask, Request
from flask_sqlalchemy import SQLAlchemy
from pydantic import BaseModel

from flask_squidmesh import (
    Apprise,
    Approval,
    ChannelError,
    CompensationContext,
    Cron,
    Deadline,
    Decision,
    Deny,
    End,
    Escalate,
    Executor,
    Explanation,
    Exponential,
    FailStep,
    Graph,
    Log,
    Mail,
    Manual,
    Notice,
    Option,
    Pause,
    Payload,
    Person,
    Retry,
    RetryStep,
    Run,
    RunHistory,
    RunPage,
    RunSummary,
    Scope,
    Setting,
    SquidMesh,
    Step,
    StepContext,
    Wait,
    Webhook,
    Workflow,
)

db = SQLAlchemy()
mesh = SquidMesh()


class Order(BaseModel):
    order_id: str
    amount: Decimal
    quantity: int = 1


class Digest(BaseModel):
    channel: str = "ops"


class Charge(BaseModel):
    charge: str


def reserve(order_id: str, quantity: int) -> dict[str, str]:
    return {"reservation": f"{quantity} for {order_id}"}


def release(ctx: CompensationContext, reservation: str) -> None:
    print(ctx.failure, ctx.output, reservation)


def capture(ctx: StepContext, amount: Decimal) -> Charge:
    if ctx.attempt > 3:
        raise FailStep("declined", code="declined")
    if ctx.cancelled:
        raise RetryStep("later", after=30)
    return Charge(charge=ctx.idempotency_key)


async def tell(order: Order) -> None:
    print(order.order_id)


@mesh.register
class Checkout(Workflow):
    """Reserve, have it reviewed, capture."""

    subject = "Order {order_id}"

    place_order = Manual(Order)
    nightly = Cron("0 3 * * *", Digest, timezone="Europe/Berlin")

    reserve = Step(reserve, compensate=release)
    review = Approval("Capture {amount}?", within=timedelta(hours=4), permission="payments.review", approvals=2)
    hold = Pause("Go on?")
    settle = Wait(timedelta(seconds=5))
    capture = Step(capture, retry=Retry(5, backoff=Exponential(1, 30)), irreversible=True)
    note = Log("Captured {charge}")
    tell = Step(tell)

    flow = [
        reserve >> review >> hold >> settle >> capture >> note,
        review.on_reject >> tell,
        reserve.when("amount", greater_than=1000) >> review,
        capture.on_error >> tell,
    ]


class Expense(BaseModel):
    amount: Decimal
    manager_id: str
    due: str


class Corrected(BaseModel):
    amount: Decimal
    reason: str = ""


class Dated(Workflow, abstract=True, deadline=Deadline(timedelta(days=30))):
    """What takes no longer than a month."""


@mesh.register
class Expenses(Dated, deadline=Deadline(3600, cancel=True, compensate=True)):
    """Have it paid or sent back."""

    submit = Manual(Expense)

    review = Decision(
        "Pay {amount} EUR?",
        options=(Option("approve", form=Corrected), "ask_back", Option("reject", comment_required=True)),
        input={"amount": "amount"},
        updates=("amount",),
        assignee="{manager_id}",
        groups=["finance"],
        within=timedelta(hours=48),
        remind=(timedelta(hours=24), 3600),
        escalate=Escalate(after=timedelta(hours=36), groups=("heads",)),
    )
    second = Approval("Second signature", form=Corrected, not_by=("review",), within="due")
    fix = Pause("Correct it", remind=60, escalate=[Escalate(after=120, assignee="head")])
    settle = Wait(until="due")
    pay = Step(capture)
    flow = [
        review.on("approve").when("amount", greater_than=1000) >> second >> settle >> pay,
        review.on("approve") >> pay >> End("paid"),
        review.on("ask_back") >> fix >> review,
        review.on("reject") >> End("rejected", compensate=True),
        review.on_timeout >> End("timed_out"),
        second.on("reject") >> End("rejected"),
        pay.on_error >> End("unpaid"),
    ]


class ShopExecutor(Executor):
    def enqueue(self, payload: Payload, *, schedule_in: float | None = None) -> Mapping[str, Any]:
        return {"job": payload["kind"], "in": schedule_in}


@mesh.authorize
def may(action: str, run: RunSummary | None, permission: str | None) -> bool | Deny:
    return run is None or action == "view" or Deny(f"Ask for {permission}.")


@mesh.actor
def who() -> Person:
    return Person("d-1", "Dana")


@mesh.redact
def hide(path: tuple[str | int, ...], value: Any, run: RunSummary) -> Any:
    return value


@mesh.links
def links(run: RunSummary) -> list[tuple[str, str]]:
    return [("Order", f"/orders/{run.subject}")]


@mesh.tenant
def whose() -> str | None:
    return None


@mesh.scope
def known() -> Scope:
    return Scope(tenants=["acme"], workflows=[Checkout])


@mesh.people
def people(run: RunSummary | None, step: str | None) -> list[Person]:
    return [Person("d-1", "Dana")]


def caller(request: Request) -> Person | None:
    return Person("d-1", "Dana") if request.headers.get("Authorization") else None


def create_app() -> Flask:
    app = Flask(__name__)
    app.config["SQUIDMESH_EXECUTOR"] = ShopExecutor
    db.init_app(app)
    mesh.init_app(app)
    app.register_blueprint(mesh.dashboard(name="ops", url_prefix="/ops", authorize=may))
    app.register_blueprint(mesh.api(url_prefix="/api/workflows", authenticate=caller))
    return app


def use() -> None:
    run: Run = mesh.start_run(
        Checkout, Order(order_id="o-1", amount=Decimal(40)), session=db.session, actor="dana", tenant="acme"
    )
    history: RunHistory = mesh.inspect_run(run.id, include_history=True)
    print([attempt.status for visit in history.step_runs for attempt in visit.attempts], len(history.audit_events))
    why: Explanation = mesh.explain_run(run.id)
    if history.last_error is not None:
        print(history.last_error["message"].upper(), history.last_error["code"])
    for visit in history.step_runs:
        if visit.decision is not None and visit.manual is not None:
            print(visit.decision["kind"].upper(), visit.decision["targets"]["ok"], visit.manual["event"])
        print([each["at"] for each in visit.decision.get("given", [])] if visit.decision else [])
    print([step.recovery["replay"] for step in history.steps])
    graph: Graph = mesh.inspect_graph(run.id)
    print(why.reason, [action.action for action in why.next_actions], [node.step for node in graph.nodes])
    page: RunPage = mesh.list_runs(status=["paused", "failed"], workflow=Checkout, limit=10)
    summaries: tuple[RunSummary, ...] = page.runs
    print([each.needs.kind for each in summaries if each.needs], page.next)
    after: RunSummary = mesh.approve_run(run.id, actor=Person("d-1", "Dana"), comment="known", expected=run.decision)
    print(after.status, mesh.prune(older_than=timedelta(days=30), dry_run=True))
    mesh.reject_run(run.id, actor={"id": "d-1"}, comment="no", step="review")
    mesh.cancel_run(run.id, compensate=True, idempotency_key="c-1")
    mesh.replay_run(run.id, from_step="capture", allow_irreversible=True, metadata={"ticket": 7})
    mesh.resolve_step(run.id, output=Charge(charge="c-1"), session=db.session)


@mesh.subscribe("run.completed", "run.failed", workflow=Checkout)
def count(notice: Notice) -> None:
    print(notice.id, notice.kind, notice.subject, notice.details)


def whom(notice: Notice) -> list[str]:
    return [f"{notice.assignee}@example.org", *(f"{group}@example.org" for group in notice.groups)]


def text_message(notice: Notice, receiver: str) -> None:
    if not receiver.startswith("+"):
        raise ChannelError("The number has no country in front.", retry_after=timedelta(hours=1))


mesh.add_channel(
    Mail("smtp.example.org", sender="shop@example.org", username="shop", password=Setting("SMTP_PASSWORD")),
    on=("decision.opened", "decision.reminded"),
    to=whom,
    digest=timedelta(minutes=10),
)
mesh.add_channel(Webhook("https://erp.example.org", Setting("ERP_SECRET")), on="run.completed", workflow="checkout")
mesh.add_channel(Apprise(Setting("CHAT")), on="system.no_worker", name="chat")
mesh.add_channel(text_message, on="run.failed", to=["+4930123"])
