"""What people do with runs: decide, cancel, settle what was interrupted, replay.

Every call is given the scope of whoever makes it. It locks the run, answers a repeated idempotency key from what was
stored, checks the decision token, decides and writes, all in one transaction.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Unpack

import sqlalchemy as sa

from ..definition import state_expressions
from ..definition.definition_checks import output_names
from ..definition.payloads import validate_again
from ..definition.values import JsonObject
from ..engine.adoption import unfit
from ..engine.approvals import identity, is_last, objection, starters_of, wanted
from ..engine.command_rules import STANDSTILLS, hanging
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
    RunReplayed,
    StepFact,
    StepGivenUp,
    StepResolved,
    StepRetried,
)
from ..engine.kept_decisions import DecisionEvent, DecisionKept
from ..engine.replay_rules import Resumption, asking_again, copied_steps, unsafe_steps
from ..engine.transitions import STOPPING, TERMINAL
from ..errors import ErrorRecord, ManualActionError, UnsafeReplayError
from ..storage import fact_rows, work_queue
from ..storage.summaries import RunId, RunSummary, new_id
from ..storage.tables import runs, step_runs
from .command_arguments import comment_of, output_of
from .command_transaction import CommandContext, CommandOptions, CommandRule, CommandTransaction, Decided
from .definition_change import Adopter
from .recorder import Recorded, Recorder, decided
from .run_starter import NewRunRequest, RunStarter


class CommandHandler:
    """What people do with runs. most: bytes of JSON that an output may take."""

    def __init__(
        self, *, transaction: CommandTransaction, recorder: Recorder, starter: RunStarter, adopter: Adopter, most: int
    ) -> None:
        self._transaction, self._recorder, self._starter, self._adopter = transaction, recorder, starter, adopter
        self._most = most

    def approve(self, run_id: RunId, *, step: str | None = None, **said: Unpack[CommandOptions]) -> RunSummary:
        """Approve the open approval."""
        return self._act(
            "approve_run",
            run_id,
            {"step": step},
            partial(self._decide, "approved", ("approval",), step),
            actor_required=True,
            **said,
        )

    def reject(self, run_id: RunId, *, step: str | None = None, **said: Unpack[CommandOptions]) -> RunSummary:
        """Reject the open approval."""
        return self._act(
            "reject_run",
            run_id,
            {"step": step},
            partial(self._decide, "rejected", ("approval",), step),
            actor_required=True,
            **said,
        )

    def unblock(self, run_id: RunId, *, step: str | None = None, **said: Unpack[CommandOptions]) -> RunSummary:
        """Resume after a pause."""
        return self._act(
            "unblock_run", run_id, {"step": step}, partial(self._decide, "resumed", ("pause",), step), **said
        )

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
        *,
        actor_required: bool = False,
        **said: Unpack[CommandOptions],
    ) -> RunSummary:
        call = self._transaction.call_on(name, run_id, arguments, actor_required=actor_required, **said)
        return self._transaction.carry_out(call, rule, said.get("session"))

    def _recorded(self, acting: CommandContext, state: DecisionState, fact: Fact) -> Decided:
        """Decide and write; answer the run that it concerns, and what is to be done after the commit."""
        changes = decided(acting.connection, state, fact)
        written: Recorded = self._recorder.write(acting.connection, state, changes, known=acting.rows)
        return acting.run.id, [partial(self._recorder.after_commit, written)]

    def _decide(self, event: DecisionEvent, kinds: Sequence[str], step: str | None, acting: CommandContext) -> Decided:
        visit, others = _open_decision(acting, kinds, step)
        decision = visit.decision
        assert decision is not None, "it is open"
        if event == "approved":
            _check_approver(acting, visit.step, decision)
            if not is_last(decision):
                state = acting.state(DecisionContext())
                return self._recorded(acting, state, ApprovalGiven(visit, acting.call.decider))
        spec, target = acting.known, decision.get("error") if event == "rejected" else decision.get("ok")
        if target is not None and target not in spec.steps:
            raise acting.refuse(
                f"it would continue at step {target}, which workflow {spec.name} does not declare any more."
            )
        if spec.style == "dependency" and event != "rejected":
            _check_declared(acting, visit)
        following = {target} if target else set(spec.dependents.get(visit.step, ()))
        output = decision_output(event, decision, acting.call.decider, acting.now)
        state = self._state(acting, following, others, output)
        return self._recorded(acting, state, DecisionAnswered(visit, event, acting.call.decider))

    def _retry_step(self, step: str | None, acting: CommandContext) -> Decided:
        visit, others = _open_decision(acting, STANDSTILLS, step)
        if acting.run.status in STOPPING:
            raise acting.refuse(f"the run is {acting.run.status}, so its step is not attempted again.")
        _check_declared(acting, visit)
        return self._recorded(acting, self._state(acting, (), others), StepRetried(visit, acting.call.decider))

    def _resolve_step(self, step: str | None, output: object, allow_new_keys: bool, acting: CommandContext) -> Decided:
        kept = output_of(output, self._most)
        visit, others = _open_decision(acting, STANDSTILLS, step)
        if acting.run.status not in STOPPING:
            _check_declared(acting, visit)
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
    ) -> DecisionState:
        """What a decision is taken on that knows what may follow.

        As all rows are at hand, what waits for others is worked out from them.
        """
        spec, run = acting.known, acting.run
        payload = fact_rows.payload_of(acting.connection, run.id)
        if run.status not in STOPPING and (spec.style == "dependency" or run.follows != spec.fingerprint):
            return self._adopter.adopting(
                acting.connection,
                spec,
                run,
                acting.stored,
                payload,
                output or {},
                decisions=others,
            )
        step = spec.steps.get(leaving) if leaving else None
        context = self._recorder.surroundings(
            acting.connection,
            spec,
            run,
            following,
            payload=payload,
            output=output or {},
            keys=state_expressions.keys(step.ok) if step else frozenset(),
            decisions=others,
        )
        compensations = [row for row in acting.rows if row.kind == "compensation"]
        return acting.state(context._replace(compensations=compensations))

    def _replay(
        self, allow_irreversible: bool, from_step: str | None, undecided: Collection[str], acting: CommandContext
    ) -> Decided:
        _check_finished(acting)
        payload, schedule = _payload(acting)
        from_step = acting.name_of(from_step)
        begins = _resumption(acting, from_step, undecided)
        copied = begins.copied if begins else ()
        again = [row for row in acting.rows if row.id not in {step.id for step in copied}]
        blocking = unsafe_steps(again)
        if blocking and not allow_irreversible:
            raise UnsafeReplayError(blocking)
        started = self._starter.insert(acting.connection, _start(acting, begins, payload, schedule))
        state = acting.state(DecisionContext(decisions=fact_rows.decisions(acting.rows)))
        _, told = self._recorded(acting, state, RunReplayed(acting.call.decider, started.run_id, _told(begins)))
        return started.run_id, [*told, partial(self._starter.tell, started)]


def _check_approver(acting: CommandContext, step: str, decision: DecisionKept) -> None:
    """Raise ManualActionError where the approval has to be another person's."""
    person = identity(acting.call.decider.actor)
    match objection(decision, acting.run.actor, acting.call.decider.actor):
        case "unnamed":
            why = f'step {step} takes people who can be told apart, so that the actor needs an "id"'
        case "starter":
            why = f"{person} started this run, and step {step} takes the approval of somebody else"
        case "again":
            why = f"{person} has approved step {step} already, and it takes {wanted(decision)} different people"
        case _:
            return
    raise ManualActionError("actor", f"approve_run: {why}. Nothing was done.")


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


def _open_decision(acting: CommandContext, kinds: Sequence[str], step: str | None) -> tuple[StepFact, list[StepFact]]:
    """The decision that is meant, and the others that are open."""
    if acting.spec is not None and (reason := unfit(acting.spec, acting.run, acting.stored)):
        raise acting.refuse(reason)
    opened = fact_rows.decisions(acting.rows)
    name = acting.name_of(step)
    fitting = [row for row in opened if row.asks in kinds and name in (None, row.step)]
    if not fitting:
        wanted = {"approval": "approval", "pause": "pause", "interrupted": "interrupted or blocked step"}[kinds[0]]
        where = f" at step {step}" if step else ""
        elsewhere = [row.step for row in opened if row.asks in kinds]
        where += f"; it has at: {', '.join(elsewhere)}" if elsewhere else ""
        raise acting.refuse(f"the run is {acting.run.status} and has no {wanted} open{where}.")
    if len(fitting) > 1:
        names = ", ".join(row.step for row in fitting)
        raise ManualActionError("step", f"{acting.call.name}: several steps wait ({names}). Pass step= to say which.")
    return fitting[0], [row for row in opened if row.id != fitting[0].id]


def _check_declared(acting: CommandContext, visit: StepFact) -> None:
    """Refuse to go on from a step of which nothing says any more what it does and what follows it."""
    if visit.step not in acting.known.steps:
        raise acting.refuse(f"workflow {acting.known.name} does not declare step {visit.step} any more.")


def _check_finished(acting: CommandContext) -> None:
    run = acting.run
    if run.status not in TERMINAL:
        raise acting.refuse(f"the run is {run.status}; only finished runs are replayed.")
    if run.compensation in ("running", "requested"):
        raise acting.refuse("its compensations are still running.")


def _told(begins: Resumption | None) -> JsonObject:
    """Where the replay begins, for the audit."""
    if begins is None:
        return {}
    decisions = {"asked_again": list(begins.asked), "decisions_taken_over": list(begins.taken_over)}
    return {"from_step": begins.step, **{name: steps for name, steps in decisions.items() if steps}}


def _resumption(acting: CommandContext, from_step: str | None, undecided: Collection[str]) -> Resumption | None:
    """Where the new run begins, with the completed visits whose outputs it takes over; None for at its beginning."""
    if from_step is None:
        return None
    if from_step not in acting.known.steps:
        raise acting.refuse(f"workflow {acting.known.name} declares no step {from_step}.")
    copied = copied_steps(acting.known, acting.rows, from_step)
    if copied is None:
        raise acting.refuse(f"the run never reached step {from_step}.")
    begins = asking_again(acting.known, copied, from_step, undecided)
    undone = {(row.step, row.visit) for row in acting.rows if row.kind == "compensation" and row.status == "completed"}
    compensated = [row.step for row in begins.copied if (row.step, row.visit) in undone]
    if compensated:
        raise acting.refuse(
            f"steps before {begins.step} were compensated ({', '.join(compensated)}), so they must run again."
        )
    return begins


def _payload(acting: CommandContext) -> tuple[JsonObject, JsonObject | None]:
    """The run's payload as the workflow takes it now, and what its schedule said. Raises PayloadError."""
    query = sa.select(runs.c.payload, runs.c.schedule).where(runs.c.id == acting.run.id)
    payload, schedule = acting.connection.execute(query).one()
    trigger = acting.known.triggers.get(acting.run.trigger)
    if trigger is None:
        return payload, schedule
    window = datetime.fromisoformat(schedule["intended_window"]) if schedule else None
    return validate_again(trigger, payload, window=window, now=acting.now), schedule


def _start(
    acting: CommandContext,
    begins: Resumption | None,
    payload: JsonObject,
    schedule: JsonObject | None,
) -> NewRunRequest:
    spec, run = acting.known, acting.run
    return NewRunRequest(
        spec=spec,
        trigger=run.trigger,
        tenant=run.tenant,
        queue=run.queue,
        payload=payload,
        schedule=schedule,
        actor=acting.call.decider.actor if acting.call.decider.actor is not None else run.actor,
        replayed_from=run.id,
        starters=starters_of(run.starters, run.actor),
        copied=tuple(_rows(acting.connection, begins.copied if begins else ())),
        at_step=begins.step if begins else None,
        failure=_failure_before(acting.rows, begins.step) if begins else None,
    )


def _failure_before(rows: Sequence[StepFact], step: str | None) -> ErrorRecord | None:
    """The error that led to the step's last visit, if an error route did."""
    visits = [row for row in rows if row.kind == "step" and row.step == step]
    return max(visits, key=lambda row: row.visit).failure if visits else None


def _rows(connection: sa.Connection, copied: Collection[StepFact]) -> list[dict[str, Any]]:
    """The copied visits as rows of the new run, their outputs in the old order."""
    if not copied:
        return []
    named = {row.id: {"step": row.step, "settings": row.settings.stored()} for row in copied}
    query = sa.select(step_runs).where(step_runs.c.id.in_(named)).order_by(step_runs.c.position)
    found = connection.execute(query).mappings().all()
    return [
        {**row, **named[row["id"]], "id": new_id(), "position": number, "sees": number - 1}
        for number, row in enumerate(found, start=1)
    ]
