"""For a host's tests: an app in memory, a clock to move, performing what is due, looking at what came of it,
and trying an executor out."""

from ..clock import SettableClock
from .assertions import (
    assert_assignee,
    assert_audit,
    assert_compensated,
    assert_outcome,
    assert_status,
    assert_steps,
)
from .drain import advance_to_deadline, drain, work_through
from .executor_check import check_executor
from .memory_app import Host, Told, memory_app

__all__ = [
    "Host",
    "SettableClock",
    "Told",
    "advance_to_deadline",
    "assert_assignee",
    "assert_audit",
    "assert_compensated",
    "assert_outcome",
    "assert_status",
    "assert_steps",
    "check_executor",
    "drain",
    "memory_app",
    "work_through",
]
