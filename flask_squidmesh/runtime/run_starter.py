"""Starting runs, in a transaction of our own or in the caller's: the row, its first steps and their dispatches."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import sqlalchemy as sa

from ..clock import Clock
from ..config import Config
from ..definition import state_expressions, values
from ..definition.cron import metadata
from ..definition.payloads import validate, validate_again, without_generated
from ..definition.spec import TriggerSpec, WorkflowSpec
from ..definition.values import JsonObject, JsonValue
from ..definition.workflow import Registry, Workflow
from ..engine.changes import Changes, RowsToRead
from ..engine.decide import decide
from ..engine.facts import (
    COUNTERS,
    DecisionContext,
    DecisionState,
    Fact,
    RunFact,
    RunScheduled,
    RunStarted,
    StepFact,
)
from ..engine.waits import UnresolvedError, event_key
from ..errors import (
    ConflictError,
    ErrorRecord,
    ManualActionError,
    PayloadError,
    TransitionError,
    UnknownTriggerError,
    given,
)
from ..people import has_id
from ..storage import fact_rows, write_batch
from ..storage.connections import AnySession
from ..storage.database import Database
from ..storage.events import EventRow
from ..storage.summaries import new_id
from ..storage.tables import runs, start_keys
from ..storage.work_queue import Claim
from ..storage.write_batch import WriteBatch
from ..storage.write_statements import INSERTS
from .command_arguments import actor_of, key_of, tenant_of
from .dispatcher import Dispatcher, HandOver, intents
from .outbox import Outbox
from .recorder import Awaiting, awaits_in
from .signal_publisher import SignalPublisher, signalled
from .start_time import UnfitTimeError, start_time

CRON_KEY: Final = "cron:"
EVENT_KEY: Final = "event:"
_COUNTED: Final[dict[str, Any]] = dict.fromkeys((*COUNTERS, "revision"), 0)
_NOTHING_THERE: Final[Mapping[RowsToRead, Sequence[StepFact]]] = {"open": (), "completed": ()}
_UNBEGUN: Final = RunFact(**{**dict.fromkeys(RunFact._fields), **_COUNTED, "status": "pending"})


class NewRunRequest(NamedTuple):
    """A run to be started: everything is valid, nothing is written.

    said: what starts with one key must share. at: when it begins; None for now.
    """

    spec: WorkflowSpec
    trigger: str
    payload: JsonObject
    tenant: str = ""
    queue: str | None = None
    key: str | None = None
    said: JsonObject = MappingProxyType({})
    actor: JsonValue = None
    schedule: JsonObject | None = None
    parent: tuple[str, str, str] | None = None
    replayed_from: str | None = None
    starters: Sequence[str] = ()
    copied: tuple[Mapping[str, Any], ...] = ()
    at_step: str | None = None
    failure: ErrorRecord | None = None
    at: datetime | None = None


class StartedRun(NamedTuple):
    """A run that was written, and what is to be done after the commit. `new` is False where a key found it, `pruned`
    is True where that run has been deleted since."""

    run_id: str
    new: bool
    pruned: bool = False
    run: RunFact | None = None
    row: Mapping[str, object] = MappingProxyType({})
    changes: Changes | None = None
    handed: HandOver = HandOver()
    replayed_from: str | None = None


class RunStarter:
    """Starts runs. hides: whether what has this name is left out of subjects and prompts. loaded_at: when this process
    was started, by which of two definitions the one that is deployed is known.
    """

    def __init__(
        self,
        *,
        database: Database,
        clock: Clock,
        registry: Registry,
        settings: Config,
        dispatcher: Dispatcher,
        publisher: SignalPublisher,
        outbox: Outbox,
        hides: Callable[[str], bool],
        loaded_at: Callable[[], datetime],
    ) -> None:
        self._database, self._clock, self._registry, self._settings = database, clock, registry, settings
        self._dispatcher, self._publisher, self._outbox = dispatcher, publisher, outbox
        self._hides, self._loaded_at = hides, loaded_at
        self.awaiting: Awaiting | None = None

    def start(
        self,
        workflow: type[Workflow] | str,
        payload: object = None,
        *,
        trigger: str | None = None,
        idempotency_key: str | None = None,
        actor: object = None,
        tenant: str = "",
        session: AnySession | None = None,
        at: object = None,
    ) -> StartedRun:
        """Start a run; see `SquidMesh.start_run`. tenant: '' for none."""
        spec = self._registry.get(workflow)
        chosen = trigger_of(spec, trigger)
        self._database.keep_time(session)
        valid = validate(chosen, payload, now=self._clock.now())
        check_size(valid, self._settings.max_payload_bytes)
        key, who = _own_key(idempotency_key), actor_of(actor, self._settings.max_payload_bytes)
        check_starter(spec, chosen, who)
        schedule = self._schedule_of(spec, chosen)
        wanted = NewRunRequest(
            spec=spec,
            trigger=chosen.name,
            payload=valid,
            tenant=tenant_of(tenant),
            said=without_generated(chosen, payload, valid) if key is not None else {},
            key=key,
            actor=who,
            schedule=schedule,
            at=_beginning(at, self._clock.now()),
        )
        started = self._begin(wanted, session)
        if started.pruned:
            raise ConflictError(
                f"Run {started.run_id} of workflow {spec.name} was started with this idempotency key and has been "
                "pruned since, so it cannot be returned. Use another key to start a new run.",
                current=started.run_id,
            )
        return started

    def wanted_by_event(self, spec: WorkflowSpec, trigger: str, event: EventRow) -> NewRunRequest:
        """The start that an event asks for. Raises PayloadError where the trigger does not take the payload."""
        chosen = spec.triggers[trigger]
        payload = validate_again(chosen, event.payload, now=self._clock.now()) if chosen.model else {}
        return NewRunRequest(
            spec=spec,
            trigger=trigger,
            payload=payload,
            tenant=event.tenant,
            key=f"{EVENT_KEY}{values.fingerprint([event.name, event.event_id])}",
            said={"event": event.fingerprint},
            actor=f"event {event.name}",
        )

    def start_child(
        self,
        claim: Claim,
        session: AnySession | None,
        workflow: type[Workflow] | str,
        payload: object = None,
        *,
        key: str,
        trigger: str | None = None,
    ) -> str:
        """Start a run linked to the one whose step is running, or find the one this key started."""
        spec = self._registry.get(workflow)
        chosen = trigger_of(spec, trigger)
        valid = validate(chosen, payload, now=self._clock.now())
        check_size(valid, self._settings.max_payload_bytes)
        check_starter(spec, chosen, claim.run.actor)
        parent = (claim.run.id, claim.visit.step, key_of(key or "") or "")
        wanted = NewRunRequest(
            spec=spec,
            trigger=chosen.name,
            payload=valid,
            tenant=claim.run.tenant,
            queue=claim.run.queue,
            actor=claim.run.actor,
            starters=claim.run.starters or (),
            parent=parent,
            schedule=self._schedule_of(spec, chosen),
        )
        return self._begin(wanted, session).run_id

    def _begin(self, wanted: NewRunRequest, session: AnySession | None = None) -> StartedRun:
        """Write the run, in a transaction of our own or in the session's; hand over once that is committed."""
        if session is None and (at_once := self._begun_at_once(wanted)) is not None:
            self.tell(at_once)
            return at_once
        started: StartedRun = self._database.in_transaction(
            session, lambda connection: self.written(connection, wanted), self.tell
        )
        return started

    def written(self, connection: sa.Connection, wanted: NewRunRequest) -> StartedRun:
        """Write the run, or find the one that its key has started."""
        found = _found(connection, wanted)
        if found is not None:
            return found
        run_id = new_id()
        if wanted.key is not None and not self._take_key(connection, wanted, run_id):
            found = _found(connection, wanted)
            if found is None:
                raise ConflictError("Another transaction is just starting a run with this idempotency key. Try again.")
            return found
        return self.insert(connection, wanted, run_id)

    def found(self, connection: sa.Connection, wanted: NewRunRequest) -> StartedRun | None:
        """The run that the request's key has started before."""
        return _found(connection, wanted)

    def insert(self, connection: sa.Connection, wanted: NewRunRequest, run_id: str | None = None) -> StartedRun:
        """Insert the run with its first step runs and dispatches."""
        batch = WriteBatch()
        started = self._new(batch, wanted, run_id or new_id())
        batch.execute(connection)
        assert started.run is not None
        self._publisher.sequencer.take(started.run)
        if not started.handed.left:
            return started
        return started._replace(handed=self._dispatcher.hand_over_within(connection, started.handed.left))

    def tell(self, started: StartedRun) -> None:
        """After the commit: signals and hand-over."""
        run, changes = started.run, started.changes
        if run is None or changes is None:
            return
        begun = signalled(run, changes.run)

        def tell_of_it() -> None:
            if started.replayed_from:
                self._publisher.send("run_replayed", begun, {"replayed_from_id": started.replayed_from})
            else:
                self._publisher.send("run_created", begun)
            self._publisher.announce(run, changes)

        self._publisher.sequencer.tell(run, tell_of_it)
        self._dispatcher.finish(begun, started.handed)
        self._outbox.committed(changes)
        waits, cancels = awaits_in(changes), started.row.get("cancel_key") is not None
        if (waits or cancels) and self.awaiting is not None:
            self.awaiting(run.id, waits, cancels=cancels)

    def _begun_at_once(self, wanted: NewRunRequest) -> StartedRun | None:
        """Write the run and its key as one statement. None where that does not do, and then nothing is written."""
        aliased = wanted.key is not None and wanted.spec.aliases
        if wanted.parent is not None or aliased or self._dispatcher.enqueues_within():
            return None
        batch = WriteBatch(fenced=wanted.key is not None)
        run_id = new_id()
        if wanted.key is not None:
            batch.insert(start_keys, [self._key_row(wanted, run_id, wanted.spec.name)], unless_there=True)
        started = self._new(batch, wanted, run_id)
        assert started.run is not None
        return (
            started if self._publisher.sequencer.written(started.run, partial(self._database.commit, batch)) else None
        )

    def _new(self, batch: WriteBatch, wanted: NewRunRequest, run_id: str) -> StartedRun:
        """Decide how the run begins, and add the writes of it to the batch."""
        now = self._clock.now()
        run = _new_fact(wanted, run_id, self._settings.queue, now)
        context = DecisionContext(
            state=_state(wanted), visits=_copied_visits(wanted), hides=self._hides, read=_NOTHING_THERE
        )
        begins: Fact = RunStarted(wanted.at_step, {str(row["step"]) for row in wanted.copied}, wanted.failure)
        if wanted.at is not None:
            begins = RunScheduled(wanted.at)
        changes = decide(DecisionState(wanted.spec, run, now, new_id, context), begins)
        row = {**_row(wanted, run, now, self._loaded_at(), self._hides), **changes.run}
        copied = [{**each, "run_id": run_id} for each in wanted.copied]
        told = self._outbox.entries(run, changes, now)
        write_batch.begin(batch, row, changes, now=now, copied=copied, deadline=wanted.spec.deadline, told=told)
        handed = self._dispatcher.announce_work(intents(run, changes))
        if handed.notice is not None:
            batch.notify(*handed.notice)
        return StartedRun(
            run_id=run_id,
            new=True,
            run=run,
            row=row,
            changes=changes,
            handed=handed,
            replayed_from=wanted.replayed_from,
        )

    def _take_key(self, connection: sa.Connection, wanted: NewRunRequest, run_id: str) -> bool:
        """Insert the key, or wait for the transaction that is inserting it and answer False.

        It is kept under every name of the workflow: processes from before a rename look for it under the old one.
        """
        names = sorted(wanted.spec.names)
        statement = INSERTS[connection.dialect.name](start_keys).values(
            [self._key_row(wanted, run_id, name) for name in names]
        )
        taken = connection.execute(statement.on_conflict_do_nothing().returning(start_keys.c.workflow)).all()
        if len(taken) == len(names):
            return True
        connection.execute(sa.delete(start_keys).where(start_keys.c.run_id == run_id))
        return False

    def _key_row(self, wanted: NewRunRequest, run_id: str, workflow: str) -> dict[str, object]:
        return {
            "workflow": workflow,
            "tenant": wanted.tenant,
            "key": wanted.key,
            "run_id": run_id,
            "payload_fingerprint": values.fingerprint(wanted.said),
            "at": self._clock.now(),
        }

    def _schedule_of(self, spec: WorkflowSpec, trigger: TriggerSpec) -> JsonObject | None:
        """A cron trigger's steps count on the schedule's facts, also where a person starts the run."""
        if trigger.kind != "cron":
            return None
        now = self._clock.now()
        return metadata(spec.name, trigger, window=now, now=now)


def _state(wanted: NewRunRequest) -> JsonObject:
    """Payload and copied outputs, merged, the newest winning."""
    return {**wanted.payload, **{key: value for row in wanted.copied for key, value in (row["output"] or {}).items()}}


def _copied_visits(wanted: NewRunRequest) -> dict[str, int]:
    visits: dict[str, int] = {}
    for row in wanted.copied:
        visits[row["step"]] = max(visits.get(row["step"], 0), row["visit"])
    return visits


def _new_fact(wanted: NewRunRequest, run_id: str, own_queue: str, now: datetime) -> RunFact:
    return _UNBEGUN._replace(
        id=run_id,
        workflow=wanted.spec.name,
        trigger=wanted.trigger,
        tenant=wanted.tenant,
        queue=wanted.queue or own_queue,
        position=len(wanted.copied),
        actor=wanted.actor,
        starters=wanted.starters or None,
        follows=wanted.spec.fingerprint,
        deadline_at=(wanted.at or now) + wanted.spec.deadline.after if wanted.spec.deadline else None,
    )


def _row(
    wanted: NewRunRequest, run: RunFact, now: datetime, loaded_at: datetime, hides: Callable[[str], bool]
) -> dict[str, object]:
    spec = wanted.spec
    title = state_expressions.render(spec.subject, wanted.payload, hides) if spec.subject else spec.title
    parent_run_id, parent_step, child_key = wanted.parent or (None, None, None)
    return {
        "id": run.id,
        "workflow": run.workflow,
        "trigger": run.trigger,
        "tenant": run.tenant,
        "queue": run.queue,
        "version": spec.version,
        "fingerprint": spec.fingerprint,
        "follows": run.follows,
        "follows_since": loaded_at,
        "subject": title,
        "status": run.status,
        "deadline_at": run.deadline_at,
        "payload": wanted.payload,
        "schedule": wanted.schedule,
        "actor": wanted.actor,
        "position": run.position,
        "revision": 1,
        "parent_run_id": parent_run_id,
        "parent_step": parent_step,
        "child_key": child_key,
        "replayed_from_id": wanted.replayed_from,
        "starters": list(wanted.starters) or None,
        "created_at": now,
        "updated_at": now,
        **_cancel_columns(spec, wanted.payload),
    }


def _cancel_columns(spec: WorkflowSpec, payload: JsonObject) -> dict[str, object]:
    """The event that cancels the run. Raises PayloadError where the payload does not hold its key."""
    cancel_on = spec.cancel_on
    if cancel_on is None:
        return {}
    try:
        key = event_key(cancel_on.key, payload)
    except UnresolvedError as unfit:
        said = f"it does not hold the key {cancel_on.key!r} of the event {cancel_on.name} that cancels the run"
        raise PayloadError(
            f"The payload does not fit workflow {spec.name}: {said}.", invalid_types={"payload": said}
        ) from unfit
    return {"cancel_event": cancel_on.name, "cancel_key": key}


def _found(connection: sa.Connection, wanted: NewRunRequest) -> StartedRun | None:
    """The run that this key, or this child's key, has started before."""
    if wanted.parent is not None:
        child = _found_child(connection, wanted)
        return None if child is None else StartedRun(run_id=child, new=False)
    if wanted.key is None:
        return None
    row = connection.execute(
        sa.select(start_keys.c.run_id, start_keys.c.payload_fingerprint, start_keys.c.pruned_at, runs.c.trigger)
        .outerjoin(runs, runs.c.id == start_keys.c.run_id)
        .where(
            start_keys.c.workflow.in_(wanted.spec.names),
            start_keys.c.tenant == wanted.tenant,
            start_keys.c.key == wanted.key,
        )
    ).first()
    if row is None:
        return None
    # A trigger that a deploy has renamed is no other one, as far as the key can tell.
    other_trigger = row.trigger != wanted.trigger and row.trigger in wanted.spec.triggers
    if other_trigger or row.payload_fingerprint != values.fingerprint(wanted.said):
        raise ConflictError(
            f"Run {row.run_id} of workflow {wanted.spec.name} was started with this idempotency key and another "
            "payload or trigger. Use the same, or another key.",
            current=row.run_id,
        )
    return StartedRun(run_id=row.run_id, new=False, pruned=row.pruned_at is not None)


def _found_child(connection: sa.Connection, wanted: NewRunRequest) -> str | None:
    assert wanted.parent is not None
    parent_id, step, key = wanted.parent
    parent = fact_rows.run_fact(connection, parent_id, lock=True)
    found = connection.scalar(sa.select(runs.c.id).where(runs.c.parent_run_id == parent_id, runs.c.child_key == key))
    if found is None and (parent is None or parent.status in ("completed", "failed", "cancelled")):
        status = parent.status if parent else "gone"
        raise TransitionError(
            f"Step {step} cannot start a child: its run is {status}. Children are started by steps of a live run.",
            status=status,
        )
    return found


def _beginning(at: object, now: datetime) -> datetime | None:
    try:
        return start_time(at, now)
    except UnfitTimeError as unfit:
        raise PayloadError(f"The run was not started: {unfit}", invalid_types={"at": str(unfit)}) from unfit


def _own_key(given: object) -> str | None:
    key = key_of(given)
    for prefix, whose in ((CRON_KEY, "a schedule's"), (EVENT_KEY, "an event's")):
        if key is not None and key.startswith(prefix):
            raise ConflictError(f"An idempotency key that begins with {prefix!r} is {whose}. Choose another.")
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


def check_starter(spec: WorkflowSpec, trigger: TriggerSpec, actor: object) -> None:
    """Raise ManualActionError where nobody is said to start a run that somebody else has to approve."""
    asking = [step.name for step in spec.steps.values() if step.not_starter]
    if asking and not has_id(actor) and trigger.kind == "manual":
        raise ManualActionError(
            "actor",
            f"Step {asking[0]} of workflow {spec.name} takes the approval of somebody other than the person who "
            'starts the run, so that person must be known: pass actor= as text, a mapping with an "id" or a Person.',
        )


def check_size(payload: JsonObject, most: int) -> None:
    """Raise PayloadError where the payload is larger than SQUIDMESH_MAX_PAYLOAD_BYTES."""
    size = values.size_of(payload) if payload else 0
    if size > most:
        raise PayloadError(
            f"The payload is {size} bytes of JSON; SQUIDMESH_MAX_PAYLOAD_BYTES allows {most}. "
            "Store the data elsewhere and pass a reference to it."
        )
