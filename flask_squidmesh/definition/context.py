"""What a step function is told about the run it works for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ..errors import ErrorRecord


@dataclass(kw_only=True)
class StepContext:
    """Passed to a step's parameter that is annotated `StepContext` or named `ctx`.

    run_id: id of the run, text. workflow, step: names. visit: the n-th time the run entered this step, from 1.
    attempt: number of this attempt, from 1. idempotency_key: the same for every attempt of this visit; give it to
    whatever the step calls. failure: the error {type, message, code, details, ...} that led here by an error route,
    else None. actor: who started the run. tenant: whose it is, '' where there is none.
    """

    run_id: str
    workflow: str
    step: str
    visit: int
    attempt: int
    idempotency_key: str
    failure: ErrorRecord | None = None
    actor: Any = None
    tenant: str = ""
    read_state: Callable[[], Mapping[str, Any]] = field(default=dict, repr=False)
    read_cancelled: Callable[[], bool] = field(default=lambda: False, repr=False)
    read_lost: Callable[[], bool] = field(default=lambda: False, repr=False)
    begin_child: Callable[..., str] | None = field(default=None, repr=False)

    @cached_property
    def state(self) -> Mapping[str, Any]:
        """Payload and the outputs this visit may see, merged, newest wins. Loaded at first use.

        A run that a cron trigger started also has "schedule" here.
        """
        return self.read_state()

    @property
    def cancelled(self) -> bool:
        """Whether an operator has asked for the run to be cancelled. Asks the database, so do not poll it tightly."""
        return self.read_cancelled()

    @property
    def lost(self) -> bool:
        """Whether this worker's claim is gone, so that whatever the step returns will be dropped."""
        return self.read_lost()

    def start_child(self, workflow: object, payload: object = None, *, key: str, trigger: str | None = None) -> str:
        """Start a run of another workflow, linked to this one, and return its id.

        workflow: class or name. key: names the child within this run; the same key returns the same child.
        """
        if self.begin_child is None:
            raise RuntimeError("start_child needs a running step; this context was made by hand")
        return self.begin_child(workflow, payload, key=key, trigger=trigger)


@dataclass(kw_only=True)
class CompensationContext(StepContext):
    """Passed to a compensation: a StepContext with the step that is being undone.

    input: what that step was called with. output: what it returned. failure: the error that ended the run.
    """

    input: Mapping[str, Any] = field(default_factory=dict)
    output: Any = None
