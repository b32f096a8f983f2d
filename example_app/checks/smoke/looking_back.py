"""Finding runs again, and reading what became of them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote
from uuid import uuid4

from flask_squidmesh import FilterError

from ...extensions import mesh
from ...people import BUYER, OPERATOR
from ...workflows import ManualApproval, RetryVerification
from ..looking import Mismatch, ended, expect, start
from ..pages import Visitor, expect_words, text_at


def timeline() -> str:
    """Everything that happened to a run, as one list in order, and its graph; whom it was told is another matter."""
    run = ended(start(ManualApproval, {"account_id": BUYER.email}), "paused")
    mesh.approve_run(run.id, actor=OPERATOR.email, comment="known")
    done = ended(run.id, "completed")
    events = [event for event in done.timeline or () if not event.type.startswith("notice_")]
    story = [(event.type, event.step) for event in events]
    expect("the timeline", story, _STORY)
    times = [event.at for event in events]
    expect("its order", times, sorted(times))
    graph = mesh.inspect_graph(run.id)
    selected = [(edge.source, edge.target) for edge in graph.edges if edge.status == "selected"]
    expect("the way through the graph", selected, [("wait_for_approval", "accept")])
    expect_words("the graph's page", text_at(f"/runs/{run.id}?view=graph"), "wait_for_approval", "accept", "refuse")
    exported = json.loads(Visitor(OPERATOR).open(f"/runs/{run.id}.json"))
    expect("status and reason as JSON", (exported["status"], exported["explanation"]["reason"]), ("completed",) * 2)
    return f"{len(events)} events in order, the way marked in the graph, the same as JSON"


def lists() -> str:
    """Runs found by workflow, status, subject, need and time; page by page; and a filter that makes no sense."""
    began, name = datetime.now(UTC), f"list-{uuid4().hex[:8]}"
    started = [start(RetryVerification, {"attempt_id": f"{name}-{number}", "failures": 0}) for number in range(3)]
    for run_id in started:
        ended(run_id, "completed")
    asking = ended(start(ManualApproval, {"account_id": BUYER.email}), "paused").id
    subject = f"Exercise {name}"
    expect("by subject", _found(subject=subject), started[::-1])
    expect("by workflow and status", _found(workflow=RetryVerification, status="completed", since=began), started[::-1])
    expect("by need", _found(needs="decision", since=began), [asking])
    first = mesh.list_runs(subject=subject, limit=2)
    rest = mesh.list_runs(subject=subject, limit=2, after=first.next)
    expect("page by page", [len(page.runs) for page in (first, rest)], [2, 1])
    expect("after the last page", rest.next, None)
    text = text_at(f"/runs?q={quote(subject)}&workflow=retry_verification&word=completed")
    expect_words("the list's page", text, *(f"{subject}-{number}" for number in range(3)))
    mesh.cancel_run(asking, actor=OPERATOR.email)
    try:
        mesh.list_runs(status="finished")
    except FilterError as refused:
        expect("the filter that was refused", refused.name, "status")
        return "found by subject, workflow, status, need and time, page by page; status=finished was refused"
    raise Mismatch("a list of the status finished: it was made, expected a FilterError")


_STORY = [
    ("started", None),
    ("entered", "wait_for_approval"),
    ("paused", "wait_for_approval"),
    ("approved", "wait_for_approval"),
    ("entered", "accept"),
    ("attempt_started", "accept"),
    ("attempt_completed", "accept"),
    ("completed", None),
]


def _found(**filters: Any) -> list[str]:
    return [run.id for run in mesh.list_runs(limit=100, **filters).runs]
