"""The language that workflows are written in."""

from .context import CompensationContext, StepContext
from .elements import (
    Approval,
    Cron,
    Deadline,
    Decision,
    End,
    Escalate,
    Exponential,
    Fixed,
    Log,
    Manual,
    Option,
    Pause,
    Retry,
    Step,
    Wait,
)
from .payloads import scheduled_day
from .workflow import Workflow

__all__ = [
    "Approval",
    "CompensationContext",
    "Cron",
    "Deadline",
    "Decision",
    "End",
    "Escalate",
    "Exponential",
    "Fixed",
    "Log",
    "Manual",
    "Option",
    "Pause",
    "Retry",
    "Step",
    "StepContext",
    "Wait",
    "Workflow",
    "scheduled_day",
]
