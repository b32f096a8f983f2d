"""The language that workflows are written in."""

from .context import CompensationContext, StepContext
from .elements import (
    Approval,
    CancelOn,
    Cron,
    Deadline,
    Decision,
    End,
    Escalate,
    Every,
    Exponential,
    Fixed,
    Log,
    Manual,
    OnEvent,
    Option,
    Pause,
    Retry,
    Step,
    Wait,
    WaitForEvent,
)
from .payloads import scheduled_day
from .workflow import Workflow

__all__ = [
    "Approval",
    "CancelOn",
    "CompensationContext",
    "Cron",
    "Deadline",
    "Decision",
    "End",
    "Escalate",
    "Every",
    "Exponential",
    "Fixed",
    "Log",
    "Manual",
    "OnEvent",
    "Option",
    "Pause",
    "Retry",
    "Step",
    "StepContext",
    "Wait",
    "WaitForEvent",
    "Workflow",
    "scheduled_day",
]
