"""What follows when a visit ends: further steps, an error route, the end of the run, or nothing until others decide."""

from __future__ import annotations

from typing import Literal

from ..definition.spec import ErrorRoute, Route, end_at
from ..errors import ErrorRecord
from .compensations import Compensations
from .error_records import error, in_audit
from .facts import FollowUpDue, StepFact
from .kept_decisions import OPTIONS, DecisionKept
from .successors import Successors
from .tally import Tally
from .transitions import STOPPING, TERMINAL
from .waits import REJECT, routes_behind


class Consequences:
    """Ends visits and decides what follows, or leaves that to a process of another version."""

    def __init__(self, tally: Tally, successors: Successors, compensations: Compensations) -> None:
        self._tally, self._successors, self._compensations = tally, successors, compensations
        self._spec, self._left_to = tally.spec, tally.context.left_to

    def follow_up(self, fact: FollowUpDue) -> None:
        """Decide what follows from a visit that ended in a process which had to leave that to others."""
        tally, visit = self._tally, fact.visit
        tally.changes.ended.append(visit.id)
        tally.changes.update(visit.id, due_at=None)
        stopping = tally.status in STOPPING
        if visit.status == "failed":
            if not stopping:
                self.follow_failure(visit, fact.error or error("Unknown", f"Step {visit.step} failed."))
        elif visit.decision and visit.decision.get("answered") and not stopping:
            self.follow_decision(visit, visit.decision)
        else:
            self.advance(visit)

    def advance(self, visit: StepFact) -> None:
        """Go on behind a visit that has completed."""
        tally = self._tally
        if tally.run.diversion is not None:
            tally.end_diversion(visit.step)
        if tally.status in TERMINAL:
            self._compensations.plan_late(visit)
        elif tally.status == "cancelling":
            pass
        elif self._left_to:
            self._leave_to_others(visit, self._left_to)
        elif self._spec.style == "dependency":
            self._successors.release_dependents(visit.step)
        else:
            self._successors.follow_route(visit.step)

    def advance_decided(self, visit: StepFact, decision: DecisionKept) -> None:
        """Go on behind a visit that a person's decision completed. decision: what was asked and how it ended."""
        if self._left_to:
            self._tally.changes.update(visit.id, decision=decision)
            self._leave_to_others(visit, self._left_to)
        else:
            self.follow_decision(visit, decision)

    def follow_decision(self, visit: StepFact, decision: DecisionKept) -> None:
        """Go where the stored decision leads: the answer's routes, or that of the deadline."""
        if self._spec.style == "dependency":
            self._successors.release_dependents(visit.step)
            return
        answered = decision.get("answered")
        option = decision.get("option") or OPTIONS.get(answered or "")
        if answered == "timed_out":
            self._tally.divert("timed_out", visit.step)
            timeout = decision.get("timeout")
            routes = [Route(target=timeout)] if timeout else []
        else:
            if option == REJECT:
                self._tally.divert("rejected", visit.step)
            elif self._tally.run.diversion is not None:
                self._tally.end_diversion(visit.step)
            routes = routes_behind(decision, option)
        self._successors.follow(visit.step, routes)

    def give_up(
        self,
        visit: StepFact,
        reason: ErrorRecord,
        *,
        was_open: bool = True,
        in_full: ErrorRecord | None = None,
    ) -> None:
        """Fail the step run for good.

        was_open: whether the counters of open steps include it. in_full: the error with all its details, for the step
        that an error route leads to.
        """
        tally = self._tally
        tally.close(visit, "failed", error=reason)
        if was_open:
            tally.leave(visit)
        if visit.kind == "compensation":
            self._compensations.go_on(visit, failed=True)
        elif tally.status in STOPPING:
            return
        elif self._left_to:
            self._leave_to_others(visit, self._left_to)
        else:
            self.follow_failure(visit, reason, in_full)

    def follow_failure(self, visit: StepFact, reason: ErrorRecord, in_full: ErrorRecord | None = None) -> None:
        """Take the step's error route, or fail the run."""
        route = self._spec.steps[visit.step].failure_route if visit.step in self._spec.steps else None
        if route is not None and self._spec.style == "flow":
            self._take_error_route(visit, route, in_full or reason)
        else:
            self._successors.fail_run(visit.step, reason)

    def _take_error_route(self, visit: StepFact, route: ErrorRoute, reason: ErrorRecord) -> None:
        tally = self._tally
        if route.recovery:
            tally.changes.update(visit.id, recovery=route.recovery)
            tally.audit(f"{route.recovery}_routed", visit, metadata={"target": route.target})
        tally.set_run(error=None)
        tally.divert("error_route", visit.step)
        end = end_at(route.target)
        if end is not None:
            self._successors.finish(end)
        else:
            self._successors.enter(route.target, failure=reason)

    def interrupt(self, visit: StepFact, reason: ErrorRecord) -> None:
        """Have a person look at a step of which nobody knows whether it took effect."""
        self._tally.audit("interrupted", visit, metadata={"error": in_audit(reason)})
        self.wait_for_a_person(visit, "interrupted", reason)

    def wait_for_a_person(self, visit: StepFact, kind: Literal["interrupted", "incident"], reason: ErrorRecord) -> None:
        """Pause the step until an operator retries it or says how it ended; other steps of the run go on."""
        tally = self._tally
        decision = self._successors.standstill(visit.step, kind, visit.settings)
        tally.move_step(visit, "paused", decision=decision, error=reason, due_at=None)
        tally.changes.ended.append(visit.id)
        tally.leave(visit)
        tally.tell("run.incident" if kind == "incident" else "run.interrupted", visit, {"error": in_audit(reason)})
        if tally.status not in TERMINAL:
            tally.set_run(current_step=visit.step, error=reason)
        tally.need_decision(kind, due=visit.decide_by)

    def _leave_to_others(self, visit: StepFact, reason: str) -> None:
        """Keep the ended visit due, for a process of another version to decide what follows."""
        changes = self._tally.changes
        if visit.id in changes.ended:
            changes.ended.remove(visit.id)
        changes.left[visit.id] = reason
        changes.update(visit.id, due_at=self._tally.now)
