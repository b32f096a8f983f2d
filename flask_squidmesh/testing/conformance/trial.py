"""What a trial of an executor has sent and found."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import Any, Final

from ...executors.contract import Executor, Payload
from ...runtime.runtime import Runtime
from ...store.identity import new_id
from ...store.summaries import RunSummary

PROBE: Final = "squidmesh_probe"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A probe that the executor took. key: text that stands in no other probe. wanted: whether it should arrive."""

    call: str
    key: str
    payload: Mapping[str, Any]
    delay: float | None = None
    at: float = field(default_factory=time.monotonic)
    wanted: bool = True


class Trial:
    """One executor on trial: `problems` are sentences, `sent` is what its queue should deliver."""

    def __init__(self, runtime: Runtime, executor: Executor) -> None:
        self.runtime, self.executor = runtime, executor
        self.problems: list[str] = []
        self.sent: list[Sent] = []

    def problem(self, call: str, found: str, expected: str, advice: str) -> None:
        """Write a problem down, once."""
        text = f"{call}: found {found}; expected {expected}. {advice}"
        if text not in self.problems:
            self.problems.append(text)

    def ask(self, call: str, function: Callable[[], Any]) -> Any:
        """What the executor answers, or None where that is a problem of its own."""
        with self.runtime.in_context():
            try:
                answer = function()
            except Exception as error:
                found = f"{type(error).__name__}: {error}"
                self.problem(
                    call, found, "the job to be queued", "Take every call; raise only where the queue is away."
                )
                return None
            if self.runtime.host_db.session.registry.has():
                advice = "Any thread may call, and the caller's session is not yours: use a connection of your own."
                self.problem(call, "use of db.session", "none", advice)
            return answer

    def check_metadata(self, call: str, answer: Any) -> bool:
        """Whether the answer is metadata."""
        if isinstance(answer, Mapping) and all(isinstance(key, str) for key in answer):
            return True
        advice = 'Return what tells of the job, such as {"job_id": job.id}.'
        self.problem(call, f"an answer of type {type(answer).__name__}", "a mapping with text as keys", advice)
        return False

    def takes(self, call: str, payload: Payload, function: Callable[[], Any], delay: float | None = None) -> None:
        """Have the executor take one probe."""
        problems = len(self.problems)
        answer = self.ask(call, function)
        if len(self.problems) == problems and self.check_metadata(call, answer):
            self.sent.append(Sent(call=call, key=key_of(payload), payload=dict(payload), delay=delay))


def key_of(payload: Mapping[str, Any]) -> str:
    """What stands in no other probe."""
    own = payload["run_id"] if payload["kind"] != "cron" else payload["signal_id"]
    return f"{own}{payload.get('step', '')}"


def probe_run() -> RunSummary:
    """A run that does not exist, as executors see runs."""
    now = datetime.now(UTC)
    nothing: dict[str, Any] = {each.name: None for each in fields(RunSummary)}
    counters = {"attempt": 1, "max_attempts": 1, "revision": 1}
    words = {"id": new_id(), "workflow": PROBE, "trigger": PROBE, "subject": "Probe", "status": "running"}
    return RunSummary(**{**nothing, **counters, **words, "created_at": now, "updated_at": now})
