"""Letting the probes travel through the host's own queue."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from ...runtime.deliveries import Delivery
from .trial import PROBE, Sent, Trial

Deliver = Callable[[], Iterable[Mapping[str, Any]] | None]

PAUSE: Final = 0.02
TOLERANCE: Final = 1.0


@dataclass(frozen=True, slots=True)
class Arrival:
    """What a job brought, and when."""

    payload: Any
    at: float = field(default_factory=time.monotonic)

    def is_of(self, sent: Sent) -> bool:
        """Whether it is this probe, however changed."""
        text = str(self.payload)
        own = sent.payload.get("run_id") or sent.payload["signal_id"]
        return own in text and sent.payload.get("step", "") in text


def let_travel(trial: Trial, deliver: Deliver, timeout: float) -> None:
    """Have the queue deliver all probes, and write down which came late, early, changed or not at all."""
    arrivals: list[Arrival] = []
    with _seen(trial, arrivals):
        _deliver(trial, deliver, arrivals, timeout)
    for sent in trial.sent:
        came = [arrival for arrival in arrivals if arrival.is_of(sent)]
        if sent.wanted:
            _judge(trial, sent, came, timeout)
        elif came:
            advice = "Queue with the connection that you are given, so that the job shares the run's fate."
            trial.problem(sent.call, "a job of a transaction that was rolled back", "none", advice)


def _deliver(trial: Trial, deliver: Deliver, arrivals: list[Arrival], timeout: float) -> None:
    until = time.monotonic() + timeout
    while time.monotonic() < until:
        try:
            arrivals.extend(map(Arrival, deliver() or ()))
        except Exception as error:
            found = f"{type(error).__name__}: {error}"
            trial.problem("deliver", found, "one pass of your worker", "Correct it, or the job that it runs.")
            return
        if all(any(arrival.is_of(sent) for arrival in arrivals) for sent in trial.sent if sent.wanted):
            return
        time.sleep(PAUSE)


def _judge(trial: Trial, sent: Sent, came: list[Arrival], timeout: float) -> None:
    if not came:
        found = f"a job that did not come within {timeout:g} seconds"
        trial.problem(sent.call, found, "every job to be delivered", "See whether the worker looks into this queue.")
        return
    if any(arrival.payload != sent.payload for arrival in came):
        advice = "Queue dict(payload), as JSON or the like, and pass it to mesh.perform as it comes."
        trial.problem(sent.call, f"the payload {came[0].payload!r}", f"{dict(sent.payload)!r}", advice)
    early = (sent.delay or 0.0) - (came[0].at - sent.at)
    if early > TOLERANCE:
        found = f"a job that came {early:.1f} seconds before its time"
        trial.problem(sent.call, found, f"a delay of {sent.delay:g} seconds", "Pass schedule_in on to your queue.")


@contextmanager
def _seen(trial: Trial, arrivals: list[Arrival]) -> Iterator[None]:
    """While the block lasts, note what jobs in this process pass to `perform`; probes are not performed."""
    runtime: Any = trial.runtime
    performing = runtime.perform

    def perform(payload: Any) -> Delivery:
        arrived = Arrival(payload)
        if any(arrived.is_of(sent) for sent in trial.sent) or PROBE in str(payload):
            arrivals.append(arrived)
            return Delivery(outcome="unknown_run")
        answer: Delivery = performing(payload)
        return answer

    runtime.perform = perform
    try:
        yield
    finally:
        del runtime.perform
