"""What ends the process and not only what it is at: Python raises it in the main thread, wherever that is."""

from __future__ import annotations

import threading
from asyncio import CancelledError

from .error_records import is_a


def let_shutdown_through(error: BaseException) -> None:
    """Raise it again unless a step may raise it for itself. In any other thread SystemExit and its like are its own."""
    if _is_in_main_thread() and not is_a(error, Exception, CancelledError, BaseExceptionGroup):
        raise error


def let_ctrl_c_through(error: BaseException) -> None:
    """Raise it again where somebody wants the process to end, whichever code of the host's was being called."""
    if _is_in_main_thread() and is_a(error, KeyboardInterrupt):
        raise error


def _is_in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
