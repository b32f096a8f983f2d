"""When people are told that a step takes long, as it is kept when the step is entered."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from ..definition.spec import StepSpec
from ..definition.values import JsonObject
from .kept_decisions import ReminderKept
from .waits import moment


class Reminders(NamedTuple):
    """due_at: by when the step should have ended. kept: when people are told of it, in that order."""

    due_at: datetime
    kept: list[ReminderKept]


def reminders_of(step: StepSpec, state: JsonObject, now: datetime) -> Reminders:
    """Return when people are told of a step that is entered now. One that is late from the start is told of at once.

    Raises:
        UnresolvedError: The state does not hold the time that the step takes from there.
    """
    if step.within is not None:
        due_at = now + step.within
    else:
        assert step.within_at is not None, "it is timed"
        due_at = moment(state, step.within_at, now, f"within={'.'.join(step.within_at)!r}")
    ahead = [now + after for after in step.remind if now + after < due_at]
    reminders = [ReminderKept(kind="remind", at=at.isoformat()) for at in ahead]
    return Reminders(due_at, [*reminders, ReminderKept(kind="overdue", at=due_at.isoformat())])
