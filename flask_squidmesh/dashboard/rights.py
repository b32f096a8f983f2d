"""What the rights are called that `authorize` is asked about."""

from __future__ import annotations

from collections.abc import Mapping

from markupsafe import Markup

from .language import N_, _

NAMES: Mapping[str, str] = {
    "list": N_("list runs"),
    "view": N_("view a run"),
    "payload": N_("see payloads"),
    "export": N_("export"),
    "audit": N_("read the audit"),
    "start": N_("start"),
    "approve": N_("approve"),
    "reject": N_("reject"),
    "resume": N_("resume"),
    "cancel": N_("cancel"),
    "replay": N_("replay"),
    "replay_irreversible": N_("replay what cannot be undone"),
    "retry": N_("retry a step"),
    "resolve": N_("count a step as done"),
    "fail": N_("count a step as failed"),
    "retry_compensation": N_("try again to undo"),
    "acknowledge": N_("acknowledge"),
    "bulk": N_("act on many runs"),
    "bulk_any": N_("see and stop what others do with many runs"),
    "schedule_run": N_("run a schedule now"),
    "schedule_pause": N_("pause a schedule"),
    "reveal": N_("reveal hidden values"),
}


def name_of_right(right: str) -> Markup:
    """The right in words; one that is not ours as it stands."""
    return _(NAMES[right]) if right in NAMES else Markup.escape(right)
