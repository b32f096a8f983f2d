"""A stored traceback for reading: the host's own frames first, those of libraries folded."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise

_FRAME = re.compile(r'^  File "(?P<path>[^"]+)", line ', re.MULTILINE)
_OF_LIBRARIES = re.compile(r"[/\\](site-packages|dist-packages|lib[/\\]python3\.\d+|flask_squidmesh)[/\\]|^<frozen ")


@dataclass(frozen=True, slots=True)
class Traceback:
    """`own` and `others` hold frames as Python prints them, newest last; `whole` is the text to copy."""

    own: tuple[str, ...]
    others: tuple[str, ...]
    whole: str


def read(text: str) -> Traceback:
    """Take the text of traceback.format_exception apart."""
    starts = [match.start() for match in _FRAME.finditer(text)]
    frames = [text[start:end] for start, end in pairwise([*starts, len(text)])]
    own = [_frame_alone(frame) for frame in frames if not _is_of_library(frame)]
    others = [_frame_alone(frame) for frame in frames if _is_of_library(frame)]
    return Traceback(tuple(own), tuple(others), text)


def _is_of_library(frame: str) -> bool:
    match = _FRAME.match(frame)
    return match is not None and _OF_LIBRARIES.search(match["path"]) is not None


def _frame_alone(frame: str) -> str:
    """Without the exception's own line, which follows the last frame."""
    lines = frame.splitlines()
    return "\n".join([lines[0], *(line for line in lines[1:] if line.startswith("    "))])
