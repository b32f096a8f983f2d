"""What a run's page says beside the reason: questions of decisions, facts, and how the children fare."""

from __future__ import annotations

from collections.abc import Mapping

from markupsafe import Markup

from ...queries.related_runs import ChildCounts
from ...queries.results import DecisionView
from ...storage.summaries import is_readable
from .badges import badge_of_end
from .language import N_, _, code, plural

LONGEST_FACT = 160
_QUESTIONS: Mapping[str, str] = {
    "approval": N_("Approve {step}?"),
    "decision": N_("What now at {step}?"),
    "pause": N_("Can it go on after {step}?"),
    "interrupted": N_("Did {step} take effect?"),
    "incident": N_("{step} cannot begin. What now?"),
}


def question_of(decision: DecisionView) -> Markup | str:
    """What is asked, in the words of the workflow where it has any."""
    if decision.prompt and is_readable(decision.prompt):
        return decision.prompt
    return _(_QUESTIONS.get(decision.kind, _QUESTIONS["pause"]), step=code(decision.step))


def is_short(value: object) -> bool:
    """Whether a value can be read in a line."""
    return isinstance(value, str | int | float) and is_readable(str(value))


def label_of(name: str) -> str:
    """A name of the payload as the form that starts a run writes it."""
    return name.replace("_", " ").strip().title()


def fact_of(value: object) -> str:
    """A short value in words."""
    if isinstance(value, bool):
        return str(_("yes") if value else _("no"))
    text = str(value)
    return text if len(text) <= LONGEST_FACT else text[: LONGEST_FACT - 1] + "…"


def rolled_up(counts: ChildCounts) -> Markup:
    """How the children fare: "3 of 5 completed, 1 failed"."""
    done = counts.by_status.get("completed", 0)
    total = str(counts.total)
    parts = [_("{done} of {total} completed", done=done, total=total)]
    failed, cancelled = counts.by_status.get("failed", 0), counts.by_status.get("cancelled", 0)
    if failed:
        parts.append(plural(failed, "{count} failed", "{count} failed"))
    if cancelled:
        parts.append(plural(cancelled, "{count} cancelled", "{count} cancelled"))
    for outcome in ("rejected", "timed_out", "error_route"):
        if number := counts.by_status.get(outcome, 0):
            parts.append(Markup("{} {}").format(number, badge_of_end(outcome).label.lower()))
    waiting = counts.by_status.get("paused", 0)
    if waiting:
        parts.append(plural(waiting, "{count} waits for somebody", "{count} wait for somebody"))
    return Markup(", ").join(parts)
