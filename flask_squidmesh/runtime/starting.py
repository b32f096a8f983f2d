"""Starting runs: in a transaction of our own, or in the caller's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..engine.approving import has_id
from ..errors import ConflictError, ManualActionError, PayloadError, UnknownTriggerError, given
from ..store.claiming import Claim
from ..store.database import AnySession
from ..workflow import values
from ..workflow.payloads import validate, without_generated
from ..workflow.schedule import metadata
from ..workflow.spec import TriggerSpec, WorkflowSpec
from .deciders import actor_of, key_of, tenant_of
from .new_runs import CRON_KEY, Start, Started, begin

if TYPE_CHECKING:
    from .runtime import Runtime


def start(
    runtime: Runtime,
    workflow: Any,
    payload: Any = None,
    *,
    trigger: str | None = None,
    idempotency_key: str | None = None,
    actor: Any = None,
    tenant: str = "",
    session: AnySession | None = None,
) -> Started:
    """Start a run; see `SquidMesh.start_run`. tenant: '' for none."""
    config = runtime.config
    spec = runtime.registry.get(workflow)
    chosen = trigger_of(spec, trigger)
    runtime.database.keep_time(session)
    valid = validate(chosen, payload, now=runtime.clock.now())
    check_size(valid, config.max_payload_bytes)
    said = without_generated(chosen, payload, valid)
    key, who = _own_key(idempotency_key), actor_of(actor, config.max_payload_bytes)
    check_starter(spec, chosen, who)
    schedule = _schedule_of(runtime, spec, chosen)
    wanted = Start(
        spec=spec,
        trigger=chosen.name,
        payload=valid,
        tenant=tenant_of(tenant),
        said=said,
        key=key,
        actor=who,
        schedule=schedule,
    )
    started = begin(runtime, wanted, session)
    if started.pruned:
        raise ConflictError(
            f"Run {started.run_id} of workflow {spec.name} was started with this idempotency key and has been pruned "
            "since, so it cannot be returned. Use another key to start a new run.",
            current=started.run_id,
        )
    return started


def _own_key(given: object) -> str | None:
    key = key_of(given)
    if key is not None and key.startswith(CRON_KEY):
        raise ConflictError(f"An idempotency key that begins with {CRON_KEY!r} is a schedule's. Choose another.")
    return key


def trigger_of(spec: WorkflowSpec, name: str | None) -> TriggerSpec:
    """The trigger of this name, or the default one. Raises UnknownTriggerError."""
    if name is None:
        return spec.default_trigger
    if not isinstance(name, str) or name not in spec.triggers:
        raise UnknownTriggerError(
            f"Workflow {spec.name} has no trigger {given(name)}; it has: {', '.join(spec.triggers)}."
        )
    return spec.triggers[name]


def check_starter(spec: WorkflowSpec, trigger: TriggerSpec, actor: Any) -> None:
    """Raise ManualActionError where nobody is said to start a run that somebody else has to approve."""
    asking = [step.name for step in spec.steps.values() if step.not_starter]
    if asking and not has_id(actor) and trigger.kind == "manual":
        raise ManualActionError(
            "actor",
            f"Step {asking[0]} of workflow {spec.name} takes the approval of somebody other than the person who "
            'starts the run, so that person must be known: pass actor= as text, a mapping with an "id" or a Person.',
        )


def check_size(payload: Mapping[str, Any], most: int) -> None:
    """Raise PayloadError where the payload is larger than SQUIDMESH_MAX_PAYLOAD_BYTES."""
    size = values.size_of(payload)
    if size > most:
        raise PayloadError(
            f"The payload is {size} bytes of JSON; SQUIDMESH_MAX_PAYLOAD_BYTES allows {most}. "
            "Store the data elsewhere and pass a reference to it."
        )


def start_child(
    runtime: Runtime, claim: Claim, workflow: Any, payload: Any = None, *, key: str, trigger: str | None = None
) -> str:
    """Start a run linked to the one whose step is running, or find the one this key started."""
    spec = runtime.registry.get(workflow)
    chosen = trigger_of(spec, trigger)
    valid = validate(chosen, payload, now=runtime.clock.now())
    check_size(valid, runtime.settings.max_payload_bytes)
    check_starter(spec, chosen, claim.run.actor)
    parent = (claim.run.id, claim.visit.step, key_of(key or "") or "")
    wanted = Start(
        spec=spec,
        trigger=chosen.name,
        payload=valid,
        tenant=claim.run.tenant,
        queue=claim.run.queue,
        actor=claim.run.actor,
        starters=claim.run.starters or (),
        parent=parent,
        schedule=_schedule_of(runtime, spec, chosen),
    )
    session = runtime.host_db.session if claim.visit.settings.get("transaction") else None
    return begin(runtime, wanted, session).run_id


def _schedule_of(runtime: Runtime, spec: WorkflowSpec, trigger: TriggerSpec) -> dict[str, Any] | None:
    """A cron trigger's steps count on the schedule's facts, also where a person starts the run."""
    now = runtime.clock.now()
    return metadata(spec.name, trigger, window=now, now=now) if trigger.kind == "cron" else None
