"""What reading a step that waits for somebody has in common: whose it is, and becomes."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

from . import state_expressions
from .elements import Escalate
from .spec import EscalationSpec
from .step_reader import StepReader


class WaitingStepReader(StepReader):
    """Reads one step that waits for somebody."""

    def person(self, template: object, what: str) -> str | None:
        """Text that names a person or a group."""
        if template is None:
            return None
        faults = state_expressions.people_problems(template)
        for fault in faults:
            self.fault(f"{what} {fault}")
        return template if isinstance(template, str) and not faults else None

    def groups(self, groups: object, argument: str) -> tuple[str, ...]:
        """Texts that name groups."""
        found = self.names(groups, argument, "finance")
        return tuple(group for each in found if (group := self.person(each, f"the group {each!r} of {argument}=")))

    def escalations(
        self, escalate: object, within: timedelta | None, assignee: str | None, groups: tuple[str, ...]
    ) -> tuple[EscalationSpec, ...]:
        """Whose it becomes when, the earliest first."""
        given = escalate if isinstance(escalate, (list, tuple)) else (escalate,)
        found = [read for each in given if (read := self._escalation(each, within)) is not None]
        found.sort(key=lambda each: each.after)
        for earlier, later in pairwise(found):
            if earlier.after == later.after:
                self.fault(f"escalates twice after {later.after}; write one Escalate with all of it")
        for each in found:
            if each.assignee is not None and each.assignee == assignee:
                self.fault(
                    f"escalates after {each.after} to {each.assignee!r}, whose it is already; name somebody else"
                )
            for group in each.groups:
                if group in groups:
                    self.fault(
                        f"escalates after {each.after} to the group {group!r}, whose it is already; name another"
                    )
            assignee, groups = each.assignee or assignee, (*groups, *each.groups)
        return tuple(found)

    def _escalation(self, value: object, within: timedelta | None) -> EscalationSpec | None:
        if not isinstance(value, Escalate):
            self.fault(
                f"escalate={value!r} must be an Escalate, or several; "
                'write escalate=Escalate(after=timedelta(hours=36), assignee="{head_id}")'
            )
            return None
        assignee = self.person(value.assignee, "the assignee of an escalation")
        groups = self.groups(value.groups, "groups")
        after = self.positive(
            value.after,
            f"escalates after {value.after!r}, which must be a positive time of at most 100 years; "
            "write Escalate(after=timedelta(hours=36), ...)",
        )
        if value.assignee is None and not value.groups:
            self.fault('escalates to nobody; write Escalate(after=..., assignee="{head_id}"), or groups=("heads",)')
            return None
        if after is None:
            return None
        if within is not None and after >= within:
            self.fault(f"escalates after {after}, when its time is over, for within= is {within}; escalate before that")
        return EscalationSpec(after=after, assignee=assignee, groups=groups)
