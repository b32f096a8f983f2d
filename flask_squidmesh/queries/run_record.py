"""The rows of one run, read in a few queries, and what its outputs add up to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from ..definition.binding import BindingError, bind
from ..definition.spec import StepSpec, VisitSettings, WorkflowSpec
from ..definition.values import JsonObject, JsonValue
from ..definition.workflow import Registry
from ..engine.adoption import name_in
from ..engine.facts import RunFact, StepFact
from ..engine.kept_decisions import Approved, DecisionKept
from ..engine.waits import retargeted
from ..errors import RunNotFoundError, UnknownWorkflowError
from ..storage.fact_rows import step_fact
from ..storage.scope import Scope
from ..storage.summaries import read_id
from ..storage.tables import Attempt, Dispatch, StepRun, WorkflowRun
from ..storage.write_batch import BEGINNING, NO_QUEUE
from .operator_status import Query
from .results import TimelineEvent
from .told_notices import notices_column, notices_in

Row = sa.RowMapping | dict[str, Any]


def settings_at(row: Row | None, step: StepSpec | None) -> VisitSettings:
    """What holds for a visit, which was stored with it, or would be for one of the step as it is declared."""
    if row is not None:
        return VisitSettings.read(row["settings"])
    return step.visit_settings if step is not None else VisitSettings()


def approvals_in(decision: DecisionKept) -> tuple[Approved, ...]:
    """Return the approvals given so far."""
    return tuple(decision.get("given") or ())


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """One run's rows, by the names that its steps have now. spec: its workflow as registered, None where it is not.

    step_runs: in the order they were made. attempts, dispatches: by step run id; dispatches is what is outstanding.
    put_off: why what was to happen at a wait by itself could not be done yet, by step run id. told: what others were
    told of it. beginning_held: why the run, which was to begin later, could not begin yet.
    """

    run: Row
    spec: WorkflowSpec | None
    step_runs: tuple[Row, ...]
    attempts: Mapping[str, tuple[Row, ...]]
    dispatches: Mapping[str, Row]
    put_off: Mapping[str, str] = field(default_factory=dict)
    told: tuple[TimelineEvent, ...] = ()
    beginning_held: str | None = None

    @property
    def visits(self) -> tuple[Row, ...]:
        """The step runs without the compensations."""
        return tuple(row for row in self.step_runs if row["kind"] == "step")

    @property
    def compensations(self) -> tuple[Row, ...]:
        """The compensations, in the order they run."""
        return tuple(row for row in self.step_runs if row["kind"] == "compensation")


def read_record(
    connection: sa.Connection, registry: Registry, scope: Scope, run_id: UUID | str, *, tells: bool = False
) -> RunRecord:
    """Everything that is kept about a run but its audit: four queries. Raises RunNotFoundError.

    tells: whether what others were told of it is read too.
    """
    run = read_run(connection, scope, run_id, tells=tells)
    spec = spec_of(registry, run["workflow"])
    found = _rows(connection, sa.select(StepRun.__table__).where(StepRun.run_id == run["id"]))
    work = _rows(connection, sa.select(Dispatch.__table__).where(Dispatch.run_id == run["id"]))
    if spec is not None and spec.step_names.keys() != spec.steps.keys():
        run = {**run, "current_step": spec.step_names.get(run["current_step"], run["current_step"])}
    return RunRecord(
        run=run,
        spec=spec,
        step_runs=in_order(tuple(_named(spec, row) for row in found) if spec else found, spec),
        attempts=_attempts(connection, run["id"]),
        # A timer is no work of its step.
        dispatches={row["step_run_id"]: row for row in work if row["queue"] != NO_QUEUE},
        put_off={row["step_run_id"]: row["held"] for row in work if row["kind"] == "timer" and row["held"]},
        told=notices_in(run["told"]) if tells else (),
        beginning_held=next((row["held"] for row in work if row["kind"] == BEGINNING), None),
    )


def _named(spec: WorkflowSpec, row: Row) -> Row:
    name = name_in(spec, row["step"], settings_at(row, None)) or row["step"]
    decision = retargeted(row["decision"], spec.step_names) if row["decision"] else row["decision"]
    return {**row, "step": name, "decision": decision} if (name, decision) != (row["step"], row["decision"]) else row


def read_run(connection: sa.Connection, scope: Scope, run_id: UUID | str, *, tells: bool = False) -> Row:
    """The run's row, with `tells` also what others were `told` of it. Raises RunNotFoundError, for what is no id and
    what is outside the scope too."""
    id = run_id_of(run_id)
    query: Query = sa.select(WorkflowRun.__table__).where(WorkflowRun.id == id, *scope.within(WorkflowRun))
    if tells:
        query = query.add_columns(notices_column(connection.dialect.name, id).label("told"))
    row = connection.execute(query).mappings().one_or_none()
    if row is None:
        raise RunNotFoundError(run_id)
    return row


def run_id_of(given: UUID | str) -> str:
    """The id in its usual form. Raises RunNotFoundError for anything that is none."""
    id = read_id(given)
    if id is None:
        raise RunNotFoundError(given)
    return id


def spec_of(registry: Registry, workflow: str) -> WorkflowSpec | None:
    """The workflow as registered, None where it is not."""
    try:
        return registry.get(workflow)
    except UnknownWorkflowError:
        return None


def in_order(step_runs: tuple[Row, ...], spec: WorkflowSpec | None) -> tuple[Row, ...]:
    """Step runs in the order they were made; those made at once in order of declaration, or of compensation."""
    declared = {name: number for number, name in enumerate(spec.steps)} if spec else {}

    def place(row: Row) -> tuple[datetime, bool, int, int, int]:
        order = row["settings"].get("order", 0)
        return (row["created_at"], row["kind"] != "step", order, row["sees"], declared.get(row["step"], len(declared)))

    return tuple(sorted(step_runs, key=place))


def run_fact(run: Row) -> RunFact:
    """The row as deciding reads it."""
    return RunFact(**{name: run[name] for name in RunFact._fields})


def step_facts(step_runs: tuple[Row, ...]) -> tuple[StepFact, ...]:
    """The rows as deciding reads them."""
    return tuple(step_fact([row[name] for name in StepFact._fields]) for row in step_runs)


def _attempts(connection: sa.Connection, run_id: str) -> dict[str, tuple[Row, ...]]:
    of_run = sa.select(StepRun.id).where(StepRun.run_id == run_id)
    query = sa.select(Attempt.__table__).where(Attempt.step_run_id.in_(of_run)).order_by(Attempt.number)
    found: dict[str, tuple[Row, ...]] = {}
    for row in _rows(connection, query):
        found[row["step_run_id"]] = (*found.get(row["step_run_id"], ()), row)
    return found


def _rows(connection: sa.Connection, query: Query) -> tuple[Row, ...]:
    return tuple(connection.execute(query).mappings())


def merged_outputs(step_runs: Iterable[Row]) -> dict[str, JsonValue]:
    """The outputs of all visits, newest wins."""
    recorded = [row for row in step_runs if row["position"] is not None and row["output"]]
    merged: dict[str, JsonValue] = {}
    for row in sorted(recorded, key=lambda row: row["position"]):
        merged |= row["output"]
    return merged


def input_of(record: RunRecord, step_run: Row) -> JsonObject | None:
    """What the step run was given; for one that has not ended, what its parameters take from the state it sees."""
    if step_run["input"] is not None or step_run["kind"] != "step" or step_run["missing"]:
        given: JsonObject | None = step_run["input"]
        return given
    step = record.spec.steps.get(step_run["step"]) if record.spec else None
    if record.spec is None or step is None or not step.parameters or step_run["status"] not in ("pending", "running"):
        return None
    trigger = record.spec.triggers.get(record.run["trigger"])
    try:
        return bind(
            step.parameters,
            payload=record.run["payload"],
            state=_visible_state(record, record.spec, step_run),
            context=None,
            payload_model=trigger.model if trigger else None,
        ).input
    except BindingError:
        return None


def seen_by(record: RunRecord, step_run: Row) -> dict[str, JsonValue] | None:
    """The state a visit saw: the payload and the outputs before it; None where its step is not declared now."""
    if record.spec is None or step_run["kind"] != "step" or step_run["step"] not in record.spec.steps:
        return None
    return _visible_state(record, record.spec, step_run)


def _visible_state(record: RunRecord, spec: WorkflowSpec, step_run: Row) -> dict[str, JsonValue]:
    ancestors = spec.ancestors[step_run["step"]] if spec.style == "dependency" else None
    seen = (
        row
        for row in record.visits
        if row["position"] is not None
        and row["position"] <= step_run["sees"]
        and (ancestors is None or row["step"] in ancestors)
    )
    schedule = {"schedule": record.run["schedule"]} if record.run["schedule"] is not None else {}
    return {**record.run["payload"], **schedule, **merged_outputs(seen)}
