"""Signals as structured log records of the logger "flask_squidmesh", with run_id, workflow, step and attempt."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

logger = logging.getLogger("flask_squidmesh")

KEPT = ("run_id", "workflow", "trigger", "tenant", "status", "current_step", "step", "visit", "attempt")

TOLD: dict[str, tuple[int, str]] = {
    "run_created": (logging.INFO, "run created"),
    "run_dispatched": (logging.DEBUG, "work handed over"),
    "run_transitioned": (logging.INFO, "run went from {from_status} to {status}"),
    "run_replayed": (logging.INFO, "run created as a replay of {replayed_from_id}"),
    "step_started": (logging.DEBUG, "step started"),
    "step_skipped": (logging.DEBUG, "step skipped: {reason}"),
    "step_completed": (logging.INFO, "step completed"),
    "step_failed": (logging.WARNING, "step failed"),
    "step_retry_scheduled": (logging.INFO, "step is tried again in {delay:g} s"),
    "manual_action_taken": (logging.INFO, "{action} by a person"),
}


def write(name: str, facts: Mapping[str, Any]) -> None:
    """Write the record of a signal."""
    level, text = TOLD[name]
    if logger.isEnabledFor(level):
        place = "/".join(str(facts[key]) for key in ("workflow", "step") if facts.get(key))
        message = f"{place} {facts['run_id']}: {text.format(**facts)}"
        logger.log(level, message, extra={key: facts[key] for key in KEPT if key in facts})
