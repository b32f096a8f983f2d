"""What may be typed into the search box; anything that would need a scan of all runs is refused."""

from __future__ import annotations

import re

from ..reading.filters import Filters as Selection
from ..runtime.runtime import current_runtime
from .filters import Filters

_ID = re.compile(r"[0-9a-f]{8}[0-9a-f-]{0,28}", re.IGNORECASE)
_SHORT_ID = re.compile(r"([0-9a-f]{8}-[0-9a-f]{4})…[0-9a-f]{4}", re.IGNORECASE)
QUALIFIERS = frozenset({"step", "error", "workflow"})


def selected(text: str) -> Selection:
    """The filters that a search means: a run id or its beginning, `step:` and its like, else a subject's beginning."""
    text = text.strip()
    shortened = _SHORT_ID.fullmatch(text)
    if shortened:
        return {"run_id": shortened[1]}
    if _ID.fullmatch(text):
        return {"run_id": text}
    qualifier, colon, value = text.partition(":")
    if colon and qualifier.lower() in QUALIFIERS and value.strip():
        return _qualified(qualifier.lower(), value.strip())
    return {"subject": text} if text else {}


def _qualified(qualifier: str, value: str) -> Selection:
    match qualifier:
        case "step":
            return {"step": value}
        case "error":
            return {"error": value}
        case _:
            return {"workflow": value}


def selection(filters: Filters) -> Selection:
    """What the filters of a page select."""
    now = current_runtime().clock.now()
    chosen: Selection = {**selected(filters.q)}
    if filters.word:
        chosen |= {"word": filters.word, "now": now}
    if filters.workflow:
        chosen |= {"workflow": filters.workflow}
    if filters.step:
        chosen |= {"step": filters.step}
    if filters.error:
        chosen |= {"error": filters.error}
    if filters.since:
        chosen |= {"since": filters.started_after(now)}
    return chosen
