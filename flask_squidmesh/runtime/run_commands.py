"""What people do with runs: decide, cancel, settle what was interrupted, replay.

Every call is given the scope of whoever makes it. It locks the run, answers a repeated idempotency key from what was
stored, checks the decision token, decides and writes, all in one transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final, Unpack

from ..definition import state_expressions
from ..definition.definition_checks import output_names
from ..definition.elements import NOT_GIVEN, NotGiven
from ..definition.payloads import validate_answer
from ..definition.spec import end_at
from ..definition.values import JsonObject, size_of
from ..engine.adoption import unfit
from ..engine.approvals import is_last, objection, wanted
from ..engine.assignments import Claimant, may_answer
from ..engine.command_rules import asks_people, hanging
from ..engine.command_table import COMMANDS, Command
from ..engine.decisions import decision_output
from ..engine.error_records import failed_by_operator
from ..engine.facts import (
    ApprovalGiven,
    AttemptGivenUp,
    CompensationRetried,
    DecisionAnswered,
    DecisionContext,
    DecisionState,
    Fact,
    FailureAcknowledged,
    Performed,
    RunCancelled,
    RunNoted,
    RunReplayed,
    RunRescheduled,
    StepFact,
    StepGivenUp,
    StepResolved,
    StepRetried,
    WaitAssigned,
)
from ..engine.kept_decisions import OPTIONS, STANDSTILLS, WAITS, DecisionEvent, DecisionKept, OptionKept
from ..engine.transitions import STOPPING
from ..engine.waits import APPROVE, REJECT, condition_keys, first_option, option_of, options_of, routes_behind
from ..errors import ConflictError, ManualActionError, PayloadError
from ..people import Person, identity
from ..storage import fact_rows, work_queue
from ..storage.summaries import RunId, RunSummary
from .command_arguments import assignee_of, comment_of, output_of
from .command_transaction import CommandContext, CommandOptions, CommandRule, CommandTransaction, Decided
from .decision_states import DecisionStates
from .recorder import Recorded, Recorder, decided
from .replays import plan_replay
from .run_starter import RunStarter
from .start_time import UnfitTimeError, start_time


class CommandHandler:
    """What people do with runs. most: bytes of JSON that an output may take."""

    def __init__(
        self,
        *,
        transaction: CommandTransaction,
        recorder: Recorder,
        starter: RunStarter,
        states: DecisionStates,
        most: int,
    ) -> None:
        self._transaction, self._recorder, self._starter, self._states = transaction, recorder, starter, states
        self._most = most

    def carry_out(self, command: Command, run_id: RunId, **said: Any) -> RunSummary:
        """Carry out a command of the table. said: its arguments, and what every command takes."""
        call: Callable[..., RunSummary] = getattr(self, command.method)
        return call(run_id, **said)

    def approve(
        self,
        run_id: RunId,
        *,
        answer: object = None,
        step: str | None = None,
        claimant: Claimant | None = None,
        **said: Unpack[CommandOptions],
    ) -> RunSummary:
        """Take the option approve. claimant: who has to be one of those whose it is; None for a caller to trust."""
        return self._take("approve_run", run_id, APPROVE, answer, step, claimant, **said)

    def reject(
        self,
        run_id: RunId,
        *,
        answer: object = None,
        step: str | None = None,
        claimant: Claimant | None = None,
        **said: Unpack[CommandOptions],
    ) -> RunSummary:
        """Take the option reject. claimant: as for `approve`."""
        return self._take("reject_run", run_id, REJECT, answer, step, claimant, **said)

    def decide(
        self,
        run_id: RunId,
        option: str,
        *,
        answer: object = None,
        step: str | None = None,
        claimant: Claimant | None = None,
        **said: Unpack[CommandOptions],
    ) -> RunSummary:
        """Take an option of the open decision. claimant: as for `approve`."""
        return self._take("decide_run", run_id, option, answer, step, claimant, **said)

    def _take(
        self,
        name: str,
        run_id: RunId,
        option: str,
        answer: object,
        step: str | None,
        claimant: Claimant | None,
        **said: Unpack[CommandOptions],
    ) -> RunSummary:
        arguments = {"step": step, "option": option, "answer": answer}
        rule = partial(self._decide, option, answer, step, claimant)
        check = None if answer is None else partial(self._answered, option, answer, step, claimant)
        return self._act(name, run_id, arguments, rule, check, **said)

    def assign(
        self,
        run_id: RunId,
        *,
        to: str | Person | None,
        step: str | None = None,
        expected_assignee: str | NotGiven | None = NOT_GIVEN,
        claimant: Claimant | None = None,
        **said: Unpack[CommandOptions],
    ) -> RunSummary:
        """Make an open wait somebody's, or nobody's. claimant: as for `approve`."""
        expected = None if expected_assignee is NOT_GIVEN else [expected_assignee]
        assignee = assignee_of(to)
        arguments = {"to": assignee, "step": step, "expected_assignee": expected}
        rule = partial(self._assign, assignee, step, expected_assignee, claimant)
        return self._act("assign_run", run_id, arguments, rule, **said)

    def note(self, run_id: RunId, text: str, **said: Unpack[CommandOptions]) -> RunSummary:
        """Write words on a run."""
        return self._act("note_run", run_id, {"text": text}, partial(self._note, text), **said)

    def unblock(
        self,
        run_id: RunId,
        *,
        step: str | None = None,
        claimant: Claimant | None = None,
        **said: Unpack[CommandOptions],
    ) -> RunSummary:
        """Resume after a pause. claimant: as for `approve`."""
        return self._act("unblock_run", run_id, {"step": step}, partial(self._resume, step, claimant), **said)

    def retry_step(self, run_id: RunId, *, step: str | None = None, **said: Unpack[CommandOptions]) -> RunSummary:
        """Attempt a step again that was interrupted or did not begin."""
        return self._act("retry_step", run_id, {"step": step}, partial(self._retry_step, step), **said)

    def resolve_step(
        self,
        run_id: RunId,
        *,
        output: object = None,
        allow_new_keys: bool = False,
        step: str | None = None,
        **said: Unpack[CommandOptions],
    ) -> RunSummary:
        """Say that a step that was interrupted, or did not begin, took effect, with this output."""
        arguments = {"step": step, "output": output, "allow_new_keys": allow_new_keys}
        rule = partial(self._resolve_step, step, output, allow_new_keys is True)
        return self._act("resolve_step", run_id, arguments, rule, **said)

    def fail_step(
        self, run_id: RunId, *, reason: str | None = None, step: str | None = None, **said: Unpack[CommandOptions]
    ) -> RunSummary:
        """Say that a step that was interrupted, or did not begin, failed."""
        return self._act(
            "fail_step", run_id, {"step": step, "reason": reason}, partial(self._fail_step, step, reason), **said
        )

    def reschedule(self, run_id: RunId, at: datetime | timedelta, **said: Unpack[CommandOptions]) -> RunSummary:
        """Have a run begin at another time that has not begun."""
        text = at.isoformat() if isinstance(at, datetime) else str(at)
        return self._act("reschedule_run", run_id, {"at": text}, partial(self._reschedule, at), **said)

    def cancel(self, run_id: RunId, *, compensate: bool = False, **said: Unpack[CommandOptions]) -> RunSummary:
        """Cancel the run."""
        return self._act("cancel_run", run_id, {"compensate": compensate}, partial(self._cancel, compensate), **said)

    def retry_compensation(self, run_id: RunId, **said: Unpack[CommandOptions]) -> RunSummary:
        """Try failed compensations again."""
        return self._act("retry_compensation", run_id, {}, self._retry_compensation, **said)

    def acknowledge(self, run_id: RunId, **said: Unpack[CommandOptions]) -> RunSummary:
        """Take a failed run out of what needs a person."""
        return self._act("acknowledge_run", run_id, {}, self._acknowledge, **said)

    def replay(
        self,
        run_id: RunId,
        *,
        allow_irreversible: bool = False,
        from_step: str | None = None,
        undecided: Collection[str] = (),
        **said: Unpack[CommandOptions],
    ) -> RunSummary:
        """Start a new run with the payload of a finished one; see `SquidMesh.replay_run`.

        undecided: decisions that whoever replays may not take, which it therefore does not pass over.
        """
        arguments = {"allow_irreversible": allow_irreversible, "from_step": from_step}
        rule = partial(self._replay, allow_irreversible is True, from_step, undecided)
        return self._act("replay_run", run_id, arguments, rule, **said)

    def _act(
        self,
        name: str,
        run_id: RunId,
        arguments: Mapping[str, object],
        rule: CommandRule,
        check: Callable[[CommandContext], object] | None = None,
        **said: Unpack[CommandOptions],
    ) -> RunSummary:
        call = self._transaction.call_on(COMMANDS[name], run_id, arguments, **said)
        return self._transaction.carry_out(call, rule, said.get("session"), check)

    def _recorded(self, acting: CommandContext, state: DecisionState, fact: Fact) -> Decided:
        """Decide and write; answer the run that it concerns, and what is to be done after the commit."""
        changes = decided(acting.connection, state, fact)
        written: Recorded = self._recorder.write(acting.connection, state, changes, known=acting.rows)
        return acting.run.id, [partial(self._recorder.after_commit, written)]

    def _answered(
        self, option: str, answer: object, step: str | None, claimant: Claimant | None, acting: CommandContext
    ) -> tuple[StepFact, list[StepFact], JsonObject | None]:
        """The open decision that is meant, the others that are open, and what was filled in."""
        visit, others = _open_decision(acting, ("approval", "decision"), step, option)
        decision = visit.decision
        assert decision is not None, "it is open"
        _check_claimant(acting, visit, claimant)
        kept = option_of(decision, option)
        if kept is None:
            names = ", ".join(each["name"] for each in options_of(decision))
            raise ManualActionError(
                "option", f"{acting.call.name}: step {visit.step} has no option {option!r}; it has {names}."
            )
        if kept.get("comment_required") and acting.call.decider.comment is None:
            raise ManualActionError("comment", f"{acting.call.name}: option {option} takes a comment that says why.")
        return visit, others, self._answer(acting, visit, decision, kept, answer)

    def _decide(
        self, option: str, answer: object, step: str | None, claimant: Claimant | None, acting: CommandContext
    ) -> Decided:
        visit, others, filled = self._answered(option, answer, step, claimant, acting)
        decision = visit.decision
        assert decision is not None, "it is open"
        first = option == first_option(decision)
        if first:
            _check_approver(acting, visit.step, decision)
        if first and not is_last(decision, filled):
            state = acting.state(DecisionContext())
            return self._recorded(acting, state, ApprovalGiven(visit, acting.call.decider, filled))
        event = _EVENTS.get(option, "decided") if decision["kind"] == "approval" else "decided"
        return self._end_wait(acting, others, DecisionAnswered(visit, event, acting.call.decider, option, filled))

    def _resume(self, step: str | None, claimant: Claimant | None, acting: CommandContext) -> Decided:
        visit, others = _open_decision(acting, ("pause",), step)
        _check_claimant(acting, visit, claimant)
        return self._end_wait(acting, others, DecisionAnswered(visit, "resumed", acting.call.decider))

    def _end_wait(self, acting: CommandContext, others: Sequence[StepFact], fact: DecisionAnswered) -> Decided:
        visit, spec, decision = fact.visit, acting.known, fact.visit.decision
        assert decision is not None, "it is open"
        routes = routes_behind(decision, fact.option)
        for route in routes:
            if end_at(route.target) is None and route.target not in spec.steps:
                raise acting.refuse(
                    f"it would continue at step {route.target}, which workflow {spec.name} does not declare any more."
                )
        if spec.style == "dependency" and fact.event != "rejected":
            _check_declared(acting, visit)
        following = {route.target for route in routes} or {*spec.dependents.get(visit.step, ())}
        output = decision_output(decision, fact, acting.now)
        state = self._state(acting, following, others, output, keys=condition_keys(decision))
        return self._recorded(acting, state, fact)

    def _answer(
        self, acting: CommandContext, visit: StepFact, decision: DecisionKept, option: OptionKept, answer: object
    ) -> JsonObject | None:
        """What was filled in, as the deployed form takes it; None where neither form nor answer is there."""
        where = f"option {option['name']} of step {visit.step}"
        declared = acting.known.steps.get(visit.step)
        asked = declared.option(option["name"]) if declared else None
        form = asked.form if asked else None
        if form is None and "form" not in option and answer is None:
            return None
        filled = validate_answer(where, form, answer, decision.get("values") or {})
        if (size := size_of(filled)) > self._most:
            said = f"it is {size} bytes of JSON; SQUIDMESH_MAX_PAYLOAD_BYTES allows {self._most}"
            raise PayloadError(f"The answer does not fit {where}: {said}.", invalid_types={"answer": said})
        return filled

    def _assign(
        self,
        assignee: str | None,
        step: str | None,
        expected: str | NotGiven | None,
        claimant: Claimant | None,
        acting: CommandContext,
    ) -> Decided:
        visit, _ = _open_decision(acting, WAITS, step)
        assert visit.decision is not None, "it is open"
        _check_claimant(acting, visit, claimant)
        before = visit.decision.get("assignee")
        if not isinstance(expected, NotGiven) and before != assignee_of(expected, "expected_assignee"):
            whose = f"It is {before}'s now" if before else "It is nobody's now"
            raise ConflictError(
                f"assign_run: step {visit.step} has become somebody else's; nothing was done. {whose}.",
                current={"assignee": before},
            )
        if before == assignee:
            whose = f"{assignee}'s" if assignee else "nobody's"
            raise acting.refuse(f"step {visit.step} is {whose} already.")
        return self._recorded(
            acting, acting.state(DecisionContext()), WaitAssigned(visit, assignee, acting.call.decider)
        )

    def _note(self, text: str, acting: CommandContext) -> Decided:
        said = comment_of(text, "text")
        if said is None:
            raise ManualActionError("text", "note_run: a note is text that is not blank.")
        return self._recorded(
            acting, acting.state(DecisionContext()), RunNoted(replace(acting.call.decider, comment=said))
        )

    def _reschedule(self, at: object, acting: CommandContext) -> Decided:
        if not acting.run.is_scheduled:
            raise acting.refuse("the run has begun.")
        try:
            begins = start_time(at, acting.now) or acting.now
        except UnfitTimeError as unfit:
            raise ManualActionError("at", f"reschedule_run: {unfit}") from unfit
        state = acting.state(DecisionContext())
        return self._recorded(acting, state, RunRescheduled(begins, acting.call.decider))

    def _retry_step(self, step: str | None, acting: CommandContext) -> Decided:
        visit, others = _open_decision(acting, STANDSTILLS, step)
        if acting.run.status in STOPPING:
            raise acting.refuse(f"the run is {acting.run.status}, so its step is not attempted again.")
        _check_declared(acting, visit)
        declared = acting.known.steps[visit.step]
        looks = declared.kind != "function" or declared.timed
        state = self._state(acting, {visit.step} if looks else (), others)
        return self._recorded(acting, state, StepRetried(visit, acting.call.decider))

    def _resolve_step(self, step: str | None, output: object, allow_new_keys: bool, acting: CommandContext) -> Decided:
        kept = output_of(output, self._most)
        visit, others = _open_decision(acting, STANDSTILLS, step)
        if acting.run.status not in STOPPING:
            _check_declared(acting, visit)
            if asks_people(acting.known, visit.step):
                raise acting.refuse(
                    f"step {visit.step} asks people, and nobody answers in their place; retry or fail it."
                )
        key = visit.decision.get("output") if visit.decision else None
        if not key and not allow_new_keys:
            _check_keys(acting, visit, kept)
        kept = {key: kept} if key else kept
        state = self._state(acting, acting.known.following(visit.step), others, kept, visit.step)
        return self._recorded(acting, state, StepResolved(visit, kept, acting.call.decider))

    def _fail_step(self, step: str | None, reason: str | None, acting: CommandContext) -> Decided:
        said = comment_of(reason, "reason") or acting.call.decider.comment or "An operator said that the step failed."
        hung = _hanging(acting, step)
        if hung is not None:
            return self._give_up_hanging(acting, hung, said)
        visit, others = _open_decision(acting, STANDSTILLS, step)
        state = self._state(acting, acting.known.following(visit.step), others)
        return self._recorded(acting, state, StepGivenUp(visit, failed_by_operator(said), acting.call.decider))

    def _give_up_hanging(self, acting: CommandContext, visit: StepFact, said: str) -> Decided:
        """Take the claim away under the run's lock, so that what the attempt may still say finds none."""
        held = work_queue.holder_of(acting.connection, visit.id)
        worker, since = held or (None, None)
        began = since or visit.started_at or acting.now
        performed = Performed(number=max(visit.attempts, 1), worker=worker, started_at=began)
        compensations = [row for row in acting.rows if row.kind == "compensation"]
        state = acting.state(DecisionContext(decisions=fact_rows.decisions(acting.rows), compensations=compensations))
        fact = AttemptGivenUp(visit, failed_by_operator(said), acting.call.decider, performed)
        return self._recorded(acting, state, fact)

    def _cancel(self, compensate: bool, acting: CommandContext) -> Decided:
        if acting.run.status in STOPPING:
            raise acting.refuse(f"the run is {acting.run.status} already.")
        return self._recorded(acting, acting.state(DecisionContext()), RunCancelled(acting.call.decider, compensate))

    def _retry_compensation(self, acting: CommandContext) -> Decided:
        if acting.run.compensation != "failed":
            raise acting.refuse("no compensation of this run has failed.")
        compensations = [row for row in acting.rows if row.kind == "compensation"]
        decisions = fact_rows.decisions(acting.rows)
        state = acting.state(DecisionContext(compensations=compensations, decisions=decisions), acting.known)
        return self._recorded(acting, state, CompensationRetried(acting.call.decider))

    def _acknowledge(self, acting: CommandContext) -> Decided:
        if acting.run.needs not in ("failed", "compensation_failed"):
            raise acting.refuse("the run does not wait for anybody to take note of a failure.")
        state = acting.state(DecisionContext(decisions=fact_rows.decisions(acting.rows)))
        return self._recorded(acting, state, FailureAcknowledged(acting.call.decider))

    def _state(
        self,
        acting: CommandContext,
        following: Collection[str],
        others: Sequence[StepFact],
        output: JsonObject | None = None,
        leaving: str | None = None,
        keys: frozenset[str] = frozenset(),
    ) -> DecisionState:
        """What a decision is taken on that knows what may follow."""
        step = acting.known.steps.get(leaving) if leaving else None
        return self._states.following(
            acting.connection,
            acting.known,
            acting.run,
            acting.stored,
            following=following,
            others=others,
            output=output or {},
            keys=keys | (state_expressions.keys(step.ok) if step else frozenset()),
        )

    def _replay(
        self, allow_irreversible: bool, from_step: str | None, undecided: Collection[str], acting: CommandContext
    ) -> Decided:
        plan = plan_replay(acting, from_step=from_step, undecided=undecided, allow_irreversible=allow_irreversible)
        started = self._starter.insert(acting.connection, plan.request)
        state = acting.state(DecisionContext(decisions=fact_rows.decisions(acting.rows)))
        _, told = self._recorded(acting, state, RunReplayed(acting.call.decider, started.run_id, plan.begins))
        return started.run_id, [*told, partial(self._starter.tell, started)]


def _check_approver(acting: CommandContext, step: str, decision: DecisionKept) -> None:
    """Raise ManualActionError where the approval has to be another person's."""
    person = identity(acting.call.decider.actor)
    names = decision.get("not_by") or ()
    deciders = fact_rows.deciders(acting.connection, acting.run.id, names) if names else ()
    match objection(decision, acting.run.actor, acting.call.decider.actor, deciders):
        case "unnamed":
            why = f'step {step} takes people who can be told apart, so that the actor needs an "id"'
        case "starter":
            why = f"{person} started this run, and step {step} takes the approval of somebody else"
        case "decided_before":
            why = f"{person} has decided at {', '.join(names)}, and step {step} takes somebody else"
        case "again":
            why = f"{person} has approved step {step} already, and it takes {wanted(decision)} different people"
        case _:
            return
    raise ManualActionError("actor", f"{acting.call.name}: {why}. Nothing was done.")


def _check_claimant(acting: CommandContext, visit: StepFact, claimant: Claimant | None) -> None:
    """Raise ManualActionError where the wait is not theirs; None is a caller to trust."""
    decision = visit.decision
    if claimant is None or decision is None or may_answer(decision, claimant):
        return
    assignee, groups = decision.get("assignee"), decision.get("groups") or ()
    whose = [*([f"{assignee}'s"] if assignee else []), *([f"of {', '.join(groups)}"] if groups else [])]
    raise ManualActionError(
        "actor", f"{acting.call.name}: step {visit.step} is {' and '.join(whose)}. Nothing was done."
    )


def _check_keys(acting: CommandContext, visit: StepFact, output: JsonObject) -> None:
    """Raise ManualActionError where keys that the step never returns would overwrite what the run's state holds."""
    earlier = [row.id for row in acting.rows if row.kind == "step" and row.step == visit.step and row.position]
    declared = acting.spec.steps.get(visit.step) if acting.spec else None
    own = fact_rows.returned_keys(acting.connection, earlier) | ((declared and output_names(declared)) or frozenset())
    beyond = output.keys() - own
    outputs = fact_rows.outputs(acting.connection, acting.run.id, sees=acting.run.position, keys=beyond)
    state = {**fact_rows.payload_of(acting.connection, acting.run.id), **outputs}
    overwritten = [key for key in output if key in beyond and key in state and state[key] != output[key]]
    if overwritten:
        raise ManualActionError(
            "allow_new_keys",
            f"resolve_step: step {visit.step} has never returned {', '.join(overwritten)} and does not declare it, and "
            "it would overwrite what the run's state holds. Nothing was done. Leave it out of output, or pass "
            "allow_new_keys=True.",
        )


def _hanging(acting: CommandContext, step: str | None) -> StepFact | None:
    """The executing step that is meant, of a run that was cancelled some time ago."""
    hung = hanging(acting.run, acting.rows, acting.patient_until)
    standing = [row for row in fact_rows.decisions(acting.rows) if row.asks in STANDSTILLS]
    if step is None and hung and len(hung) + len(standing) > 1:
        names = ", ".join(row.step for row in (*hung, *standing))
        raise ManualActionError("step", f"{acting.call.name}: several steps wait ({names}). Pass step= to say which.")
    return next((row for row in hung if step in (None, row.step)), None)


_EVENTS: Final[Mapping[str, DecisionEvent]] = {option: event for event, option in OPTIONS.items()}  # type: ignore[misc]


def _open_decision(
    acting: CommandContext, kinds: Sequence[str], step: str | None, option: str | None = None
) -> tuple[StepFact, list[StepFact]]:
    """The decision that is meant, and the others that are open. option: preferred is one that offers it."""
    if acting.spec is not None and (reason := unfit(acting.spec, acting.run, acting.stored)):
        raise acting.refuse(reason)
    opened = fact_rows.decisions(acting.rows)
    name = acting.name_of(step)
    asking = [row for row in opened if row.asks in kinds]
    if acting.call.name in ("approve_run", "reject_run"):
        asking = [row for row in asking if _offers(row, option)]
    fitting = [row for row in asking if name in (None, row.step)]
    if len(fitting) > 1 and option is not None:
        fitting = [row for row in fitting if _offers(row, option)] or fitting
    if not fitting:
        wanted = COMMANDS[acting.call.name].opened
        where = f" at step {step}" if step else ""
        elsewhere = [row.step for row in asking]
        where += f"; it has at: {', '.join(elsewhere)}" if elsewhere else ""
        raise acting.refuse(f"the run is {acting.run.status} and has no {wanted} open{where}.")
    if len(fitting) > 1:
        names = ", ".join(row.step for row in fitting)
        raise ManualActionError("step", f"{acting.call.name}: several steps wait ({names}). Pass step= to say which.")
    return fitting[0], [row for row in opened if row.id != fitting[0].id]


def _offers(row: StepFact, option: str | None) -> bool:
    return row.decision is not None and option is not None and option_of(row.decision, option) is not None


def _check_declared(acting: CommandContext, visit: StepFact) -> None:
    """Refuse to go on from a step of which nothing says any more what it does and what follows it."""
    if visit.step not in acting.known.steps:
        raise acting.refuse(f"workflow {acting.known.name} does not declare step {visit.step} any more.")
