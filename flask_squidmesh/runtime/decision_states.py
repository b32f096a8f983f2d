"""What is read for a decision at a wait, when all of the run's rows are at hand."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

import sqlalchemy as sa

from ..clock import Clock
from ..definition.spec import WorkflowSpec
from ..definition.values import JsonObject
from ..engine.adoption import OPEN, renamed
from ..engine.facts import DecisionContext, DecisionState, RunFact, StepFact
from ..engine.transitions import STOPPING
from ..storage import fact_rows
from ..storage.summaries import new_id
from .definition_change import Adopter
from .recorder import Recorder


class DecisionStates:
    """Reads what deciding needs beside a run and its rows."""

    def __init__(self, *, clock: Clock, recorder: Recorder, adopter: Adopter) -> None:
        self._clock, self._recorder, self._adopter = clock, recorder, adopter

    def following(
        self,
        connection: sa.Connection,
        spec: WorkflowSpec,
        run: RunFact,
        rows: Sequence[StepFact],
        *,
        following: Collection[str],
        others: Sequence[StepFact],
        output: JsonObject,
        keys: frozenset[str],
    ) -> DecisionState:
        """What a decision is taken on after which these steps may follow.

        As all rows are at hand, what waits for others is worked out from them.

        rows: all step runs of the run, as they are stored. others: the other open decisions. output: what the decision
        adds to the run's state. keys: names of the state that its routes read.
        """
        payload = fact_rows.payload_of(connection, run.id)
        if run.status not in STOPPING and (spec.style == "dependency" or run.follows != spec.fingerprint):
            return self._adopter.adopting(connection, spec, run, rows, payload, output, decisions=others, keys=keys)
        context = self._recorder.surroundings(
            connection, spec, run, following, payload=payload, output=output, keys=keys, decisions=others
        )
        return self.of_rows(spec, run, rows, context)

    @property
    def loaded_at(self) -> datetime:
        """When this process was started."""
        return self._adopter.loaded_at

    def of_beginning(
        self, connection: sa.Connection, spec: WorkflowSpec, run: RunFact
    ) -> tuple[DecisionState, str | None]:
        """What is known as a run begins that was to begin later, and why this process may not have it begin."""
        payload = fact_rows.payload_of(connection, run.id)
        context = self._recorder.surroundings(connection, spec, run, spec.entry, payload=payload, output={})
        return self.of_rows(spec, run, [], context), self._adopter.older(connection, spec, run)

    def of_rows(
        self, spec: WorkflowSpec, run: RunFact, rows: Sequence[StepFact], context: DecisionContext | None = None
    ) -> DecisionState:
        """What a decision is taken on that needs the run's rows, and perhaps what else was read."""
        named = [renamed(spec, row) for row in rows]
        found = (context or DecisionContext(decisions=fact_rows.decisions(named)))._replace(
            compensations=[row for row in named if row.kind == "compensation"],
            read={
                "open": [row for row in rows if row.kind == "step" and row.status in OPEN],
                "completed": [row for row in rows if row.kind == "step" and row.status == "completed"],
            },
        )
        return DecisionState(spec, run, self._clock.now(), new_id, found)
