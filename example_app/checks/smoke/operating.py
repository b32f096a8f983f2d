"""Keeping everything running: schedules, workers, the audit over all runs, and rows that cannot be."""

from __future__ import annotations

import re

from flask import current_app

from flask_squidmesh.runtime.runtime import current_runtime

from ...extensions import mesh
from ...people import OPERATOR
from ...stage import wait_until
from ...workflows import DailyDigest
from ..looking import expect
from ..pages import expect_words, text_at

NEWEST = 200


def paused_schedule() -> str:
    """A schedule that starts nothing for a while."""
    mesh.pause_schedule(DailyDigest, "daily_digest", actor=OPERATOR.email, comment="stock-taking")
    try:
        page = text_at("/schedules")
    finally:
        mesh.resume_schedule(DailyDigest, "daily_digest", actor=OPERATOR.email, comment="done")
    expect_words("the schedules' page", page, "not before somebody resumes it")
    expect_words("the schedules' page afterwards", text_at("/schedules"), "Europe/Berlin")
    expect_words("the audit", text_at("/audit"), "stock-taking", OPERATOR.email)
    return "paused and resumed, both with a reason in the audit"


def worker_at_work() -> str:
    """The worker that performs all this, as the page System shows it."""
    queue = current_app.config["SQUIDMESH_QUEUE"]
    live = rf"Live \S+ {queue} "
    wait_until(lambda: re.search(live, text_at("/system")), f"the page System shows one that is live on {queue}")
    return "on the page System, with its queue"


def nothing_impossible() -> str:
    """What `flask squidmesh doctor` finds in the runs of all these walks."""
    newest = mesh.list_runs(limit=NEWEST).runs
    findings = [finding for run in newest for finding in current_runtime().doctor.examine(run.id)]
    expect("what the doctor found", findings, [])
    return f"{len(newest)} runs examined, no row that cannot be"
