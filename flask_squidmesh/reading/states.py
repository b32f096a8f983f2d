"""What a run's outputs add up to, and what a step run was or will be given of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..workflow.binding import BindingError, bind
from ..workflow.spec import WorkflowSpec
from .records import Record, Row


def merged_outputs(step_runs: Iterable[Row]) -> dict[str, Any]:
    """The outputs of all visits, newest wins."""
    recorded = [row for row in step_runs if row["position"] is not None and row["output"]]
    merged: dict[str, Any] = {}
    for row in sorted(recorded, key=lambda row: row["position"]):
        merged |= row["output"]
    return merged


def input_of(record: Record, step_run: Row) -> Mapping[str, Any] | None:
    """What the step run was given; for one that has not ended, what its parameters take from the state it sees."""
    if step_run["input"] is not None or step_run["kind"] != "step" or step_run["missing"]:
        given: Mapping[str, Any] | None = step_run["input"]
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


def seen_by(record: Record, step_run: Row) -> dict[str, Any] | None:
    """The state a visit saw: the payload and the outputs before it; None where its step is not declared now."""
    if record.spec is None or step_run["kind"] != "step" or step_run["step"] not in record.spec.steps:
        return None
    return _visible_state(record, record.spec, step_run)


def _visible_state(record: Record, spec: WorkflowSpec, step_run: Row) -> dict[str, Any]:
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
