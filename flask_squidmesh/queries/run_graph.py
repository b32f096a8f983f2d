"""A run's workflow as nodes and edges, with the way the run took."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import pairwise
from uuid import UUID

import sqlalchemy as sa

from ..definition.spec import Condition, EndSpec, Route, StepSpec, WorkflowSpec
from ..definition.workflow import Registry
from ..engine.transitions import TERMINAL
from ..storage.scope import Scope
from .results import Graph, GraphEdge, GraphNode
from .run_record import Row, RunRecord, read_record, settings_at
from .step_results import declared_order, step_run_status

Move = tuple[str, str, str]


def graph(connection: sa.Connection, registry: Registry, scope: Scope, run_id: UUID | str) -> Graph:
    """The declared steps and moves with their states; a workflow not registered gives the steps entered, and no edges.

    Ids are stable: "from:ok:to", "from:ok:to:condition:0", "from:error:to", "from:reject:to", "from:dependency:to".
    Four queries. Raises RunNotFoundError.
    """
    return graph_of(read_record(connection, registry, scope, run_id))


def graph_of(record: RunRecord) -> Graph:
    """The graph of the run that was read."""
    run = record.run
    return Graph(
        run_id=run["id"],
        workflow=run["workflow"],
        status=run["status"],
        terminal=run["status"] in TERMINAL,
        nodes=tuple(_nodes(record)),
        edges=tuple(_edges(record, record.spec)) if record.spec else (),
    )


def outline(spec: WorkflowSpec) -> Graph:
    """The workflow as it is declared, without any run."""
    nodes = [
        GraphNode(
            id=name,
            step=name,
            kind=spec.steps[name].kind,
            status="waiting",
            current=False,
            visits=0,
            irreversible=spec.steps[name].irreversible,
            compensate=spec.visit_settings[name].compensate,
            compensation=None,
        )
        for name in declared_order(spec)
    ]
    edges = (_edge(move, condition, suffix, "pending") for move, condition, suffix in _declared_moves(spec))
    return Graph(run_id="", workflow=spec.name, status="", terminal=False, nodes=tuple(nodes), edges=tuple(edges))


def _declared_moves(spec: WorkflowSpec) -> Iterator[tuple[Move, Condition | None, str]]:
    for name in declared_order(spec):
        yield from (((parent, "dependency", name), None, "") for parent in spec.steps[name].after)
        yield from _moves(spec.steps[name])


def _nodes(record: RunRecord) -> Iterator[GraphNode]:
    last = {row["step"]: row for row in record.visits}
    declared = declared_order(record.spec) if record.spec else ()
    for name in (*declared, *(step for step in last if step not in declared)):
        yield _node(record, name, last.get(name))


def _node(record: RunRecord, name: str, row: Row | None) -> GraphNode:
    step = record.spec.steps.get(name) if record.spec else None
    settings = settings_at(row, step)
    undoing = [each["status"] for each in record.compensations if each["step"] == name]
    return GraphNode(
        id=name,
        step=name,
        kind=step.kind if step else settings.kind or "unknown",
        status=_node_status(row),
        current=_is_current(record, name, row),
        visits=row["visit"] if row else 0,
        irreversible=settings.irreversible,
        compensate=settings.compensate,
        compensation=undoing[-1] if undoing else None,
        decision=row["decision"]["kind"] if row and row["status"] == "paused" and row["decision"] else None,
    )


def _node_status(row: Row | None) -> str:
    if row is None:
        return "waiting"
    retrying = row["status"] == "pending" and row["attempts"] > 0
    return "retrying" if retrying else step_run_status(row)


def _is_current(record: RunRecord, name: str, row: Row | None) -> bool:
    if row is None:
        return False
    at_it = row["status"] in ("pending", "running", "paused") and not row["missing"]
    return at_it or (record.run["status"] == "failed" and record.run["current_step"] == name)


def _edges(record: RunRecord, spec: WorkflowSpec) -> Iterator[GraphEdge]:
    last = {row["step"]: row for row in record.visits}
    if spec.style == "dependency":
        for name in declared_order(spec):
            for parent in spec.steps[name].after:
                yield _edge((parent, "dependency", name), None, "", _dependency_status(record, last.get(parent)))
        return
    taken = _taken(record)
    for step in spec.steps.values():
        for move, condition, suffix in _moves(step):
            status = _move_status(record, last.get(step.name), move, taken)
            yield _edge(move, condition, suffix, status, taken[move])


def _moves(step: StepSpec) -> Iterator[tuple[Move, Condition | None, str]]:
    yield from _routes(step.name, "ok", step.ok)
    if step.error:
        yield (step.name, "reject" if step.kind == "approval" else "error", step.error.target), None, ""
    if step.kind == "decision":
        for option in step.options:
            yield from _routes(step.name, option.name, option.routes)
    if step.timeout:
        yield (step.name, "timed_out", step.timeout), None, ""


def _routes(step: str, outcome: str, routes: Sequence[Route]) -> Iterator[tuple[Move, Condition | None, str]]:
    conditions = 0
    for route in routes:
        suffix = "" if route.condition is None else f":condition:{conditions}"
        conditions += route.condition is not None
        yield (step, outcome, route.target), route.condition, suffix


def _edge(move: Move, condition: Condition | None, suffix: str, status: str, times: int = 0) -> GraphEdge:
    source, outcome, target = move
    return GraphEdge(
        id=f"{source}:{outcome}:{target}{suffix}",
        source=source,
        target=target,
        outcome=outcome,
        condition=asdict(condition) if condition else None,
        status=status,
        times=times,
    )


def _taken(record: RunRecord) -> Counter[Move]:
    """How often each way was gone: in a flow each visit was entered from the one before it."""
    gone = Counter((before["step"], _outcome(before), after["step"]) for before, after in pairwise(record.visits))
    if record.spec is not None and record.visits and record.run["outcome"] is not None:
        last = record.visits[-1]
        gone.update((last["step"], _outcome(last), end.target) for end in record.spec.ends if _is_at(end, record.run))
    return gone


def _is_at(end: EndSpec, run: Row) -> bool:
    """Whether the run has completed at this end."""
    return bool(run["status"] == "completed" and run["outcome"] == end.outcome)


def _outcome(row: Row) -> str:
    if row["status"] == "failed":
        return "error"
    manual = row["manual"] or {}
    match manual.get("event"):
        case "rejected":
            return "reject"
        case "timed_out":
            return "timed_out"
        case "decided":
            return str((manual.get("metadata") or {}).get("option"))
        case _:
            return "ok"


def _move_status(record: RunRecord, source: Row | None, move: Move, taken: Mapping[Move, int]) -> str:
    if move in taken:
        return "selected"
    if source is not None and source["status"] == "completed":
        return "skipped"
    if source is not None and source["status"] in ("failed", "cancelled"):
        rerouted = any(other[0] == move[0] for other in taken)
        return "skipped" if rerouted else "blocked"
    return _unreached(record)


def _dependency_status(record: RunRecord, source: Row | None) -> str:
    if source is not None and source["status"] == "completed":
        return "selected"
    if source is not None and source["status"] in ("failed", "cancelled"):
        return "blocked"
    return _unreached(record)


def _unreached(record: RunRecord) -> str:
    """The state of a move whose source has not ended."""
    if record.run["status"] == "completed":
        return "skipped"
    return "blocked" if record.run["status"] in TERMINAL else "pending"
