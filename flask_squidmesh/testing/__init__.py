"""For a host's tests: an app in memory, a clock to move, performing what is due, and looking at what came of it."""

from ..clock import SettableClock
from .asserting import assert_audit, assert_compensated, assert_status, assert_steps
from .draining import drain, work_through
from .memory import Host, memory_app

__all__ = [
    "Host",
    "SettableClock",
    "assert_audit",
    "assert_compensated",
    "assert_status",
    "assert_steps",
    "drain",
    "memory_app",
    "work_through",
]
