"""Signals as structured log records of the logger "flask_squidmesh", with run_id, workflow, step and attempt."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import FailStep
from .error_records import is_a, loggable

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


@dataclass(frozen=True, slots=True)
class Unsuccessful:
    """An attempt that failed. raised: by the step, if it did. goes_on: whether it is tried again."""

    raised: BaseException | None
    goes_on: bool

    @property
    def is_error(self) -> bool:
        """Whether the step is at its end by what nobody meant; `FailStep` is its own word."""
        return not self.goes_on and self.raised is not None and not is_a(self.raised, FailStep)


def write(name: str, facts: Mapping[str, Any], failed: Unsuccessful | None = None) -> None:
    """Write the record of a signal. failed: of the one that tells of a failed attempt.

    What the step raised goes with it, where error trackers look for it.
    """
    level, text = TOLD[name]
    if failed is not None and failed.is_error:
        level = logging.ERROR
    if not logger.isEnabledFor(level):
        return
    place = "/".join(str(facts[key]) for key in ("workflow", "step") if facts.get(key))
    message = f"{place} {facts['run_id']}: {text.format(**facts)}"
    raised = loggable(failed.raised) if failed and failed.raised is not None else None
    if failed and raised is None:
        error = facts.get("error") or {}
        message += "".join(f": {error[part]}" for part in ("type", "message") if error.get(part))
    logger.log(level, message, exc_info=raised, extra={key: facts[key] for key in KEPT if key in facts})
