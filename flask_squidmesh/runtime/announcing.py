"""Sending signals once what they tell is committed."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .. import signals
from ..engine.changes import Changes
from ..engine.facts import RunFact

if TYPE_CHECKING:
    from .runtime import Runtime

logger = logging.getLogger("flask_squidmesh")


def announce(runtime: Runtime, run: RunFact, changes: Changes) -> dict[str, Any]:
    """Tell what one decision about the run changed: its steps first, then the run's own move.

    Answer the facts about the run that every signal carries.
    """
    status = changes.run.get("status", run.status)
    facts = {
        "run_id": run.id,
        "workflow": run.workflow,
        "trigger": run.trigger,
        "status": status,
        "current_step": changes.run.get("current_step", run.current_step),
    }
    for notice in changes.notices:
        send(runtime, notice.signal, {**notice.data, **facts})
    if status != run.status:
        send(runtime, "run_transitioned", {**facts, "from_status": run.status})
    return facts


def send(runtime: Runtime, name: str, facts: Mapping[str, Any]) -> None:
    """Send one signal. A subscriber that raises is logged and changes nothing."""
    signal = getattr(signals, name)
    for receiver in signal.receivers_for(runtime.app):
        try:
            receiver(runtime.app, **facts)
        except Exception:
            logger.exception("squidmesh: a subscriber to %s raised", name)
