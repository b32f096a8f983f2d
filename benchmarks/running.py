"""One measurement, in a process of its own that leaves nothing behind."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from .contenders.counting import SWITCH

PR_SET_CHILD_SUBREAPER = 36
PROJECT = Path(__file__).parent.parent


class MeasurementError(Exception):
    """A contender did not answer."""


def adopt_orphans() -> None:
    """Have processes whose parent is gone become children of this one, so that it can end them (on Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)


def answer_of(module: str, words: Sequence[str], *, counting: bool, seconds: float) -> Mapping[str, Any]:
    """What the module answers.

    :param words: Its command line.
    :param counting: Whether it shall count commits, which can take half a minute more.
    :param seconds: After which it is given up.
    :raises MeasurementError: It failed, took too long, or does not support the work; the message says why.
    """
    environment = os.environ | {SWITCH: "yes" if counting else "no"}
    with tempfile.TemporaryFile("w+") as said, tempfile.TemporaryFile("w+") as complained:
        code = _ended([sys.executable, "-m", module, *words], environment, said, complained, seconds)
        if code:
            raise MeasurementError(_last_line(complained) or f"it ended with exit code {code}")
        answer: Mapping[str, Any] = json.loads(_last_line(said) or "{}")
    if "unsupported" in answer:
        raise MeasurementError(answer["unsupported"])
    return answer


def _ended(
    command: Sequence[str], environment: Mapping[str, str], said: IO[str], complained: IO[str], seconds: float
) -> int:
    before = _children()
    process = subprocess.Popen(
        command, cwd=PROJECT, env=environment, stdout=said, stderr=complained, start_new_session=True
    )
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        raise MeasurementError(f"it took longer than {seconds:.0f} s") from None
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        _end_all(before)


def _end_all(spared: set[int]) -> None:
    """End what the process left behind; what that left behind in turn comes to us as it ends."""
    while left := _children() - spared:
        for pid in left:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def _children() -> set[int]:
    listed = Path(f"/proc/self/task/{os.getpid()}/children")
    return {int(pid) for pid in listed.read_text().split()} if listed.exists() else set()


def _last_line(output: IO[str]) -> str:
    output.seek(0)
    lines = [line.strip() for line in output if line.strip()]
    return lines[-1] if lines else ""
