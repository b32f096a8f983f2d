"""Runs that follow another definition than this process knows: whether it may bring them to its own, and on what facts.

Of two definitions that one is deployed whose process was started last. A process that was started before leaves a run
alone which the other has brought to its definition, and writes down how a step ended that it was performing, but not
what follows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

import sqlalchemy as sa

from ..clock import Clock
from ..definition import state_expressions
from ..definition.spec import WorkflowSpec
from ..definition.values import JsonObject
from ..engine.adoption import unfit
from ..engine.facts import Adoption, DecisionContext, DecisionState, RunFact, StepFact
from ..engine.transitions import STOPPING
from ..storage import fact_rows
from ..storage.summaries import new_id
from ..storage.tables import runs


class Adopter:
    """Brings runs to the definition that this process has, where it may.

    hides: whether what has this name is left out of prompts. loaded_at: when this process was started.
    """

    def __init__(self, *, clock: Clock, hides: Callable[[str], bool], loaded_at: Callable[[], datetime]) -> None:
        self._clock, self._hides, self._loaded_at = clock, hides, loaded_at

    @property
    def loaded_at(self) -> datetime:
        """When this process was started."""
        return self._loaded_at()

    def why_not_adopted(
        self, connection: sa.Connection, spec: WorkflowSpec, run: RunFact, rows: Sequence[StepFact]
    ) -> str | None:
        """Why this process may not have the run go by its definition; None where it may."""
        return unfit(spec, run, rows) or self.older(connection, spec, run)

    def older(self, connection: sa.Connection, spec: WorkflowSpec, run: RunFact) -> str | None:
        """That the run follows the definition of a process that was started after this one; None where it does not."""
        if run.follows == spec.fingerprint:
            return None
        since = connection.scalar(sa.select(runs.c.follows_since).where(runs.c.id == run.id))
        if since is None or self._loaded_at() >= since:
            return None
        return (
            f"The run follows a newer definition of workflow {spec.name} than this process has. "
            "A process of that version takes it up; where none is deployed any more, restart this one."
        )

    def adopting(
        self,
        connection: sa.Connection,
        spec: WorkflowSpec,
        run: RunFact,
        rows: Sequence[StepFact],
        payload: JsonObject,
        output: JsonObject,
        *,
        decisions: Sequence[StepFact] = (),
        keys: frozenset[str] = frozenset(),
        regardless: bool = False,
    ) -> DecisionState:
        """For a decision that brings the run to the definition, or leaves to others what follows where it may not.

        A run that is ending follows nothing any more: where it may not be brought to the definition it is left as it
        is.

        rows: all step runs of the run. output: what has just been added to its state. decisions: the other open
        decisions. keys: further names of the state to look at. regardless: although a newer definition is known, as
        nobody has it.
        """
        reason = None if regardless else self.why_not_adopted(connection, spec, run, rows)
        context = DecisionContext(
            state={} if reason else _state(connection, spec, run, payload, output, keys),
            decisions=decisions,
            compensations=[row for row in rows if row.kind == "compensation"],
            hides=self._hides,
            adoption=Adoption(rows, self._loaded_at()) if reason is None else None,
            left_to=reason if run.status not in STOPPING else None,
        )
        return DecisionState(spec, run, self._clock.now(), new_id, context)


def _state(
    connection: sa.Connection,
    spec: WorkflowSpec,
    run: RunFact,
    payload: JsonObject,
    output: JsonObject,
    keys: frozenset[str],
) -> JsonObject:
    """The values that waits and conditions may speak of."""
    steps = spec.steps.values()
    wanted = keys.union(*(state_expressions.keys(each.ok) for each in steps), *spec.opening_keys.values())
    if not wanted:
        return {}
    return {**payload, **fact_rows.outputs(connection, run.id, sees=run.position, keys=wanted), **output}
