"""The steps that wait for an event, and the models that events have."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from pydantic import BaseModel

from .elements import WaitForEvent
from .event_names import key_problems, name_problem
from .model_reader import EVENT, read_model
from .spec import Accept, AwaitedEvent, StepSpec, TriggerSpec
from .wait_reader import WaitingStepReader

_ACCEPTS: Final[tuple[Accept, ...]] = ("all", "first")


class EventWaitReader(WaitingStepReader):
    """Reads one step that waits for an event."""

    def read(self, step: WaitForEvent) -> StepSpec:
        """The checked step, without where it leads."""
        within, within_at = self.within(step.within)
        return StepSpec(
            name=self.name,
            kind="event",
            output=self.output(step.output) or self.name,
            max_visits=self.visits(step),
            within=within,
            within_at=within_at,
            remind=self.reminders(step.remind, within),
            escalate=self.escalations(step.escalate, within, None, ()),
            awaits=self._awaits(step),
        )

    def _awaits(self, step: WaitForEvent) -> AwaitedEvent | None:
        name, keys = name_problem(step.name), key_problems(step.key)
        for fault in (*([name] if name else []), *keys):
            self.fault(fault)
        lookback = None
        if step.lookback is not None:
            lookback = self.positive(
                step.lookback,
                f"lookback={step.lookback!r} must be a positive time of at most 100 years; "
                "write lookback=timedelta(hours=1)",
            )
        if step.accept not in _ACCEPTS:
            self.fault(f'accept={step.accept!r} is unknown; write accept="all" or accept="first"')
        model = None if step.model is None else read_model(step.model, EVENT, self.place, self.problems)
        if name or keys:
            return None
        return AwaitedEvent(name=step.name, key=step.key, model=model, lookback=lookback, accept=step.accept)


def models_of(triggers: Iterable[TriggerSpec], steps: Iterable[StepSpec]) -> Iterator[tuple[str, str, type[BaseModel]]]:
    """The events that have a model: what is read by it, the event's name, and the model."""
    for trigger in triggers:
        if trigger.event is not None and trigger.model is not None:
            yield f"trigger {trigger.name}", trigger.event, trigger.model
    for step in steps:
        if step.awaits is not None and step.awaits.model is not None:
            yield f"step {step.name}", step.awaits.name, step.awaits.model


def model_problems(triggers: Mapping[str, TriggerSpec], steps: Mapping[str, StepSpec]) -> Iterator[str]:
    """What is wrong with models of events within one workflow."""
    first: dict[str, tuple[str, type[BaseModel]]] = {}
    for place, event, model in models_of(triggers.values(), steps.values()):
        other, known = first.setdefault(event, (place, model))
        if known is not model:
            yield (
                f"{place}: event {event} has the model {model.__name__} here and {known.__name__} in {other}; "
                "an event has one model, so name the same in both"
            )
