"""The language that workflows are written in."""

from .context import CompensationContext, StepContext
from .declaration import Workflow
from .elements import Approval, Cron, Log, Manual, Pause, Step, Wait
from .payloads import scheduled_day
from .retries import Exponential, Fixed, Retry

__all__ = [
    "Approval",
    "CompensationContext",
    "Cron",
    "Exponential",
    "Fixed",
    "Log",
    "Manual",
    "Pause",
    "Retry",
    "Step",
    "StepContext",
    "Wait",
    "Workflow",
    "scheduled_day",
]
