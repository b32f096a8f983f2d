"""Which pages of the example app's dashboard are measured, pointed at rows that its database has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from flask_squidmesh.queries.operator_status import OPERATOR_WORDS
from flask_squidmesh.queries.run_list import cursor_of
from flask_squidmesh.storage.tables import AuditEvent, StepRun, WorkflowRun

WORKFLOW = "checkout"
PAGE_SIZE, DEEP, MANY = 25, 1000, 10_000

POLLED = ("Needs you", "Runs, newest first", "A run that waits for a decision", "Failures", "Workflows", "A workflow")


def addresses(connection: sa.Connection) -> Mapping[str, str]:
    """Each page's name and its address below the dashboard's own."""
    run, waiting, step, error, actor = map(connection.scalar, (_LONGEST, _WAITING, _STEP, _ERROR, _ACTOR))
    return {
        "Needs you": "/",
        "Needs you, decisions": "/?word=decision",
        "Runs, newest first": "/runs",
        **{f"Runs, {word}": f"/runs?word={word}" for word in OPERATOR_WORDS},
        "Runs of a workflow": f"/runs?workflow={WORKFLOW}",
        "Runs of a workflow, failed": f"/runs?workflow={WORKFLOW}&word=failed",
        "Runs, subject begins": f"/runs?q={_subject(connection)}",
        "Runs, id begins": f"/runs?q={str(run)[:13]}",
        "Runs at a step": f"/runs?step={step}",
        "Runs with an error": f"/runs?error={error}",
        "Runs of the last 24 hours": "/runs?since=24h",
        "Runs of the last 30 days, completed": "/runs?since=30d&word=completed",
        f"Runs, page {DEEP}": f"/runs?after={_cursor(connection)}",
        "A run with many steps": f"/runs/{run}",
        "The same as a graph": f"/runs/{run}?view=graph",
        "The same as JSON": f"/runs/{run}.json",
        "A run that waits for a decision": f"/runs/{waiting}",
        "Failures": "/failures",
        "Workflows": "/workflows",
        "A workflow": f"/workflows/{WORKFLOW}",
        "Schedules": "/schedules",
        "Workers": "/workers",
        "Audit": "/audit",
        "Audit of one person": f"/audit?actor={actor}",
        "Audit, approvals": "/audit?type=approved",
        "Preview of an action on 500 runs": "/bulk?word=failed&action=acknowledge",
    }


_LONGEST: sa.Select[Any] = (
    sa.select(StepRun.run_id)
    .where(StepRun.run_id.in_(sa.select(WorkflowRun.id).order_by(WorkflowRun.created_at.desc()).limit(MANY)))
    .group_by(StepRun.run_id)
    .order_by(sa.func.count().desc(), StepRun.run_id)
    .limit(1)
)
_WAITING: sa.Select[Any] = (
    sa.select(WorkflowRun.id).where(WorkflowRun.needs == "decision").order_by(WorkflowRun.needs_since.desc()).limit(1)
)
_STEP: sa.Select[Any] = sa.select(WorkflowRun.current_step).where(WorkflowRun.status == "failed").limit(1)
_ERROR: sa.Select[Any] = (
    sa.select(WorkflowRun.error_fingerprint).where(WorkflowRun.error_fingerprint.is_not(None)).limit(1)
)
_ACTOR: sa.Select[Any] = sa.select(AuditEvent.actor_id).where(AuditEvent.type == "approved").limit(1)


def _subject(connection: sa.Connection) -> str:
    """How the newest subject of the workflow begins."""
    newest = (
        sa.select(WorkflowRun.subject)
        .where(WorkflowRun.workflow == WORKFLOW)
        .order_by(WorkflowRun.created_at.desc())
        .limit(1)
    )
    return str(connection.scalar(newest))[:9]


def _cursor(connection: sa.Connection) -> str:
    """The cursor of the page so deep down; on a smaller database, of the last run but one page."""
    runs = sa.select(WorkflowRun.created_at, WorkflowRun.id).order_by(
        WorkflowRun.created_at.desc(), WorkflowRun.id.desc()
    )
    total: int = connection.scalar(sa.select(sa.func.count()).select_from(WorkflowRun.__table__)) or 0
    place = min((DEEP - 1) * PAGE_SIZE - 1, max(total - PAGE_SIZE - 1, 0))
    return cursor_of(*connection.execute(runs.offset(place).limit(1)).one())
