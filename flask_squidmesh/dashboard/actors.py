"""How people are called."""

from __future__ import annotations

from typing import Any

from .language import _


def name_of(actor: Any) -> str:
    """How an actor is called: its label, else its id, else all of it."""
    if isinstance(actor, dict):
        return str(actor.get("label") or actor.get("id") or ", ".join(str(value) for value in actor.values()))
    return str(actor) if actor else _("nobody")
