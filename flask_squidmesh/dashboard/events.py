"""Audit events in words."""

from __future__ import annotations

from collections.abc import Mapping

from markupsafe import Markup

from ..reading.views import AuditEventView
from ..store.summaries import RunSummary
from .language import _, code

_TITLES: Mapping[str, str] = {
    "started": "started the run",
    "paused": "paused at {step}",
    "resumed": "resumed {step}",
    "approved": "approved {step}",
    "rejected": "rejected {step}",
    "cancelled": "cancelled the run",
    "replayed": "replayed it as a new run",
    "compensation_routed": "{step} failed; a compensating step follows",
    "undo_routed": "{step} failed; an undoing step follows",
    "abandoned": "an attempt at {step} was abandoned",
    "interrupted": "{step} was interrupted",
    "retried": "had {step} run again",
    "resolved": "counted {step} as done",
    "failed_by_operator": "counted {step} as failed",
    "compensation_retried": "had undoing tried again",
    "acknowledged": "acknowledged the failure",
    "revealed": "revealed a hidden value",
    "refused": "tried to {action} without the right to",
}
TYPES = frozenset(_TITLES)


def title_of(event: AuditEventView) -> Markup:
    """What happened, as the rest of a sentence that the actor begins."""
    action = str((event.metadata or {}).get("action", "act")).replace("_", " ")
    text = _TITLES.get(event.type, event.type.replace("_", " "))
    return _(text, step=code(event.step or "?"), action=action)


def started(run: RunSummary) -> AuditEventView:
    """The start as an event; it is kept with the run itself."""
    return AuditEventView(
        id=0,
        run_id=run.id,
        type="started",
        step=None,
        visit=None,
        actor=run.actor,
        comment=None,
        metadata={"trigger": run.trigger},
        at=run.created_at,
    )
