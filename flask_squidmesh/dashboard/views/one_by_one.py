"""Going through what needs a person, one run after the other."""

from __future__ import annotations

from typing import Any

from flask import redirect, request, url_for
from werkzeug.wrappers import Response

from ...store.summaries import RunSummary
from .. import data
from ..access import require
from .inbox import MOST, WORDS

ALL = "all"


def lead_on() -> Response:
    """Lead to the most urgent run, or to the one behind that which `after` names; behind the last, to the inbox."""
    require("list")
    word = request.args.get("among", ALL)
    ids = [id for id in _ids(word) if id != request.args.get("done")]
    after = request.args.get("after")
    behind = ids[ids.index(after) + 1 :] if after in ids else ids
    if not behind:
        return redirect(url_for(".inbox", word=None if word == ALL else word), 303)
    return redirect(url_for(".run", run_id=behind[0], among=word, after=after), 303)


def turn() -> dict[str, Any]:
    """What the address of a run's page says of it: among which runs, and behind which of them."""
    return {name: request.args[name] for name in ("among", "after") if "among" in request.args and name in request.args}


def after_acting(run: RunSummary) -> str | None:
    """Where an action leads on to; None where the run is not one of many."""
    return url_for(".next", done=run.id, **turn()) if turn() else None


def skipping(run: RunSummary) -> str | None:
    """Where the run is left as it is; None where it is not one of many."""
    return url_for(".next", among=turn()["among"], after=run.id) if turn() else None


def _ids(word: str) -> list[str]:
    kinds = [kind for kind in WORDS if word in (ALL, WORDS[kind])]
    return [item.run.id for item in data.inbox_glance(kinds, MOST).items]
