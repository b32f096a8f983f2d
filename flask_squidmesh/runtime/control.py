"""What people do with runs: decide, cancel, settle what was interrupted.

Every call is given the scope of whoever makes it. It locks the run, answers a repeated idempotency key from what was
stored, checks the decision token, decides and writes, all in one transaction.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from ..engine.actions import STANDSTILLS, hanging
from ..engine.adopting import unfit
from ..engine.approving import identity, is_last, objection, wanted
from ..engine.facts import Performed, StepFact
from ..engine.failures import failed_by_operator
from ..engine.neighbourhood import Neighbourhood
from ..engine.progress import Progress, decision_output
from ..engine.status import STOPPING
from ..errors import ManualActionError
from ..store import claiming, loading
from ..store.database import AnySession
from ..store.scope import Scope
from ..store.summaries import RunSummary
from ..workflow import conditions
from ..workflow.definition.availability import output_names
from .acting import Acting, Deed, act, call_on, recorded
from .adopting import adopting
from .deciders import comment_of, output_of
from .recording import surroundings

if TYPE_CHECKING:
    from .runtime import Runtime


def approve(runtime: Runtime, run_id: Any, *, step: str | None = None, **said: Any) -> RunSummary:
    """Approve the open approval."""
    return _act(
        runtime,
        "approve_run",
        run_id,
        {"step": step},
        partial(_decide, "approved", ("approval",), step),
        actor_required=True,
        **said,
    )


def reject(runtime: Runtime, run_id: Any, *, step: str | None = None, **said: Any) -> RunSummary:
    """Reject the open approval."""
    return _act(
        runtime,
        "reject_run",
        run_id,
        {"step": step},
        partial(_decide, "rejected", ("approval",), step),
        actor_required=True,
        **said,
    )


def unblock(runtime: Runtime, run_id: Any, *, step: str | None = None, **said: Any) -> RunSummary:
    """Resume after a pause."""
    return _act(runtime, "unblock_run", run_id, {"step": step}, partial(_decide, "resumed", ("pause",), step), **said)


def retry_step(runtime: Runtime, run_id: Any, *, step: str | None = None, **said: Any) -> RunSummary:
    """Attempt a step again that was interrupted or did not begin."""
    return _act(runtime, "retry_step", run_id, {"step": step}, partial(_retry_step, step), **said)


def resolve_step(
    runtime: Runtime,
    run_id: Any,
    *,
    output: Any = None,
    allow_new_keys: bool = False,
    step: str | None = None,
    **said: Any,
) -> RunSummary:
    """Say that a step that was interrupted, or did not begin, took effect, with this output."""
    arguments = {"step": step, "output": output, "allow_new_keys": allow_new_keys}
    deed = partial(_resolve_step, step, output, allow_new_keys is True)
    return _act(runtime, "resolve_step", run_id, arguments, deed, **said)


def fail_step(
    runtime: Runtime, run_id: Any, *, reason: str | None = None, step: str | None = None, **said: Any
) -> RunSummary:
    """Say that a step that was interrupted, or did not begin, failed."""
    return _act(
        runtime, "fail_step", run_id, {"step": step, "reason": reason}, partial(_fail_step, step, reason), **said
    )


def cancel(runtime: Runtime, run_id: Any, *, compensate: bool = False, **said: Any) -> RunSummary:
    """Cancel the run."""
    return _act(runtime, "cancel_run", run_id, {"compensate": compensate}, partial(_cancel, compensate), **said)


def retry_compensation(runtime: Runtime, run_id: Any, **said: Any) -> RunSummary:
    """Try failed compensations again."""
    return _act(runtime, "retry_compensation", run_id, {}, _retry_compensation, **said)


def acknowledge(runtime: Runtime, run_id: Any, **said: Any) -> RunSummary:
    """Take a failed run out of what needs a person."""
    return _act(runtime, "acknowledge_run", run_id, {}, _acknowledge, **said)


def _act(
    runtime: Runtime,
    name: str,
    run_id: Any,
    arguments: Mapping[str, Any],
    deed: Deed,
    *,
    scope: Scope,
    actor: Any = None,
    comment: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    session: AnySession | None = None,
    expected: str | None = None,
    idempotency_key: str | None = None,
    actor_required: bool = False,
) -> RunSummary:
    call = call_on(
        runtime,
        name,
        scope,
        run_id,
        actor,
        comment,
        metadata,
        expected,
        idempotency_key,
        arguments,
        actor_required=actor_required,
    )
    return act(runtime, call, deed, session)


def _decide(event: str, kinds: Sequence[str], step: str | None, acting: Acting) -> Any:
    visit, others = _open_decision(acting, kinds, step)
    decision = visit.decision or {}
    if event == "approved":
        _check_approver(acting, visit.step, decision)
        if not is_last(decision):
            progress = acting.progress()
            progress.approve_in_part(visit, acting.call.decider)
            return recorded(acting, progress)
    spec, target = acting.known, decision.get("error" if event == "rejected" else "ok")
    if target is not None and target not in spec.steps:
        raise acting.refuse(
            f"it would continue at step {target}, which workflow {spec.name} does not declare any more."
        )
    if spec.style == "dependency" and event != "rejected":
        _check_declared(acting, visit)
    following = {target} if target else set(spec.dependents.get(visit.step, ()))
    output = decision_output(event, decision, acting.call.decider, acting.runtime.clock.now())
    progress = _progress(acting, following, others, output)
    progress.decide(visit, event, acting.call.decider)
    return recorded(acting, progress)


def _check_approver(acting: Acting, step: str, decision: Mapping[str, Any]) -> None:
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


def _retry_step(step: str | None, acting: Acting) -> Any:
    visit, others = _open_decision(acting, STANDSTILLS, step)
    if acting.run.status in STOPPING:
        raise acting.refuse(f"the run is {acting.run.status}, so its step is not attempted again.")
    _check_declared(acting, visit)
    progress = _progress(acting, (), others)
    progress.try_again(visit, acting.call.decider)
    return recorded(acting, progress)


def _resolve_step(step: str | None, output: Any, allow_new_keys: bool, acting: Acting) -> Any:
    kept = output_of(output, acting.runtime.settings.max_payload_bytes)
    visit, others = _open_decision(acting, STANDSTILLS, step)
    if acting.run.status not in STOPPING:
        _check_declared(acting, visit)
    key = (visit.decision or {}).get("output")
    if not key and not allow_new_keys:
        _check_keys(acting, visit, kept)
    kept = {key: kept} if key else kept
    progress = _progress(acting, acting.known.following(visit.step), others, kept, visit.step)
    progress.resolve(visit, kept, acting.call.decider)
    return recorded(acting, progress)


def _check_keys(acting: Acting, visit: StepFact, output: Mapping[str, Any]) -> None:
    """Raise ManualActionError where keys that the step never returns would overwrite what the run's state holds."""
    earlier = [row.id for row in acting.rows if row.kind == "step" and row.step == visit.step and row.position]
    declared = acting.spec.steps.get(visit.step) if acting.spec else None
    own = loading.returned_keys(acting.connection, earlier) | ((declared and output_names(declared)) or frozenset())
    beyond = output.keys() - own
    outputs = loading.outputs(acting.connection, acting.run.id, sees=acting.run.position, keys=beyond)
    state = {**loading.payload_of(acting.connection, acting.run.id), **outputs}
    overwritten = [key for key in output if key in beyond and key in state and state[key] != output[key]]
    if overwritten:
        raise ManualActionError(
            "allow_new_keys",
            f"resolve_step: step {visit.step} has never returned {', '.join(overwritten)} and does not declare it, and "
            "it would overwrite what the run's state holds. Nothing was done. Leave it out of output, or pass "
            "allow_new_keys=True.",
        )


def _fail_step(step: str | None, reason: str | None, acting: Acting) -> Any:
    said = comment_of(reason, "reason") or acting.call.decider.comment or "An operator said that the step failed."
    hung = _hanging(acting, step)
    if hung is not None:
        return _give_up_hanging(acting, hung, said)
    visit, others = _open_decision(acting, STANDSTILLS, step)
    progress = _progress(acting, acting.known.following(visit.step), others)
    progress.give_up(visit, failed_by_operator(said), acting.call.decider)
    return recorded(acting, progress)


def _hanging(acting: Acting, step: str | None) -> StepFact | None:
    """The executing step that is meant, of a run that was cancelled some time ago."""
    hung = hanging(acting.run, acting.rows, acting.patient_until)
    standing = [row for row in loading.decisions(acting.rows) if (row.decision or {}).get("kind") in STANDSTILLS]
    if step is None and hung and len(hung) + len(standing) > 1:
        names = ", ".join(row.step for row in (*hung, *standing))
        raise ManualActionError("step", f"{acting.call.name}: several steps wait ({names}). Pass step= to say which.")
    return next((row for row in hung if step in (None, row.step)), None)


def _give_up_hanging(acting: Acting, visit: StepFact, said: str) -> Any:
    """Take the claim away under the run's lock, so that what the attempt may still say finds none."""
    held = claiming.holder_of(acting.connection, visit.id)
    worker, since = held or (None, None)
    began = since or visit.started_at or acting.runtime.clock.now()
    performed = Performed(number=max(visit.attempts, 1), worker=worker, started_at=began)
    compensations = [row for row in acting.rows if row.kind == "compensation"]
    progress = acting.progress(Neighbourhood(decisions=loading.decisions(acting.rows), compensations=compensations))
    progress.give_up_hanging(visit, failed_by_operator(said), acting.call.decider, performed)
    return recorded(acting, progress)


def _cancel(compensate: bool, acting: Acting) -> Any:
    if acting.run.status in STOPPING:
        raise acting.refuse(f"the run is {acting.run.status} already.")
    progress = acting.progress()
    opened = [row for row in acting.rows if row.kind == "step" and row.status in ("pending", "running", "paused")]
    progress.cancel(acting.call.decider, opened, compensate=compensate)
    return recorded(acting, progress)


def _retry_compensation(acting: Acting) -> Any:
    if acting.run.compensation != "failed":
        raise acting.refuse("no compensation of this run has failed.")
    compensations = [row for row in acting.rows if row.kind == "compensation"]
    decisions = loading.decisions(acting.rows)
    progress = acting.progress(Neighbourhood(compensations=compensations, decisions=decisions), acting.known)
    progress.retry_compensation(acting.call.decider)
    return recorded(acting, progress)


def _acknowledge(acting: Acting) -> Any:
    if acting.run.needs not in ("failed", "compensation_failed"):
        raise acting.refuse("the run does not wait for anybody to take note of a failure.")
    progress = acting.progress(Neighbourhood(decisions=loading.decisions(acting.rows)))
    progress.acknowledge(acting.call.decider)
    return recorded(acting, progress)


def _open_decision(acting: Acting, kinds: Sequence[str], step: str | None) -> tuple[StepFact, list[StepFact]]:
    """The decision that is meant, and the others that are open."""
    if acting.spec is not None and (reason := unfit(acting.spec, acting.run, acting.stored)):
        raise acting.refuse(reason)
    opened = loading.decisions(acting.rows)
    name = acting.name_of(step)
    fitting = [row for row in opened if (row.decision or {}).get("kind") in kinds and name in (None, row.step)]
    if not fitting:
        wanted = {"approval": "approval", "pause": "pause", "interrupted": "interrupted or blocked step"}[kinds[0]]
        where = f" at step {step}" if step else ""
        elsewhere = [row.step for row in opened if (row.decision or {}).get("kind") in kinds]
        where += f"; it has at: {', '.join(elsewhere)}" if elsewhere else ""
        raise acting.refuse(f"the run is {acting.run.status} and has no {wanted} open{where}.")
    if len(fitting) > 1:
        names = ", ".join(row.step for row in fitting)
        raise ManualActionError("step", f"{acting.call.name}: several steps wait ({names}). Pass step= to say which.")
    return fitting[0], [row for row in opened if row.id != fitting[0].id]


def _check_declared(acting: Acting, visit: StepFact) -> None:
    """Refuse to go on from a step of which nothing says any more what it does and what follows it."""
    if visit.step not in acting.known.steps:
        raise acting.refuse(f"workflow {acting.known.name} does not declare step {visit.step} any more.")


def _progress(
    acting: Acting,
    following: Collection[str],
    others: Sequence[StepFact],
    output: Mapping[str, Any] | None = None,
    leaving: str | None = None,
) -> Progress:
    """A decision that knows what may follow. As all rows are at hand, what waits for others is worked out from them."""
    spec, run = acting.known, acting.run
    payload = loading.payload_of(acting.connection, run.id)
    if run.status not in STOPPING and (spec.style == "dependency" or run.follows != spec.fingerprint):
        return adopting(
            acting.runtime,
            acting.connection,
            spec,
            run,
            acting.stored,
            payload,
            output or {},
            decisions=others,
        )
    step = spec.steps.get(leaving) if leaving else None
    around = surroundings(
        acting.runtime,
        acting.connection,
        spec,
        run,
        following,
        payload=payload,
        output=output or {},
        keys=conditions.keys(step.ok) if step else frozenset(),
        decisions=others,
    )
    compensations = [row for row in acting.rows if row.kind == "compensation"]
    return acting.progress(replace(around, compensations=compensations))
