"""The steps and triggers of a workflow, one by one, as their author wrote them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import get_args

from pydantic import BaseModel

from ..errors import LONGEST_DELAY
from . import state_expressions
from .binding import ParametersError, name_of, parameters_of, shown, written
from .class_body import Body, read_aliases
from .cron import check, every, zone
from .durations import is_number, read_duration
from .elements import (
    Cron,
    Decision,
    Every,
    Exponential,
    Fixed,
    Log,
    Manual,
    OnEvent,
    Pause,
    Retry,
    Step,
    StepElement,
    Trigger,
    Wait,
    WaitForEvent,
)
from .event_names import name_problem
from .event_reader import EventWaitReader
from .manual_step_reader import ManualStepReader, not_by_problems
from .model_reader import PAYLOAD, read_model
from .spec import Backoff, CatchUp, Compensation, Overlap, Parameter, RetryPolicy, StepSpec, TriggerSpec
from .step_reader import StepReader


def read_retry(retry: object, place: str, problems: list[str]) -> RetryPolicy:
    """The checked policy; one attempt where none was given. `place` is what each problem begins with."""
    if retry is None:
        return RetryPolicy()
    if not isinstance(retry, Retry):
        problems.append(f"{place}={retry!r} must be a Retry; write retry=Retry(5, backoff=Exponential(1, 30))")
        return RetryPolicy()
    return RetryPolicy(
        max_attempts=_attempts(retry.max_attempts, place, problems),
        backoff=_backoff(retry.backoff, place, problems),
        jitter=_jitter(retry.jitter, place, problems),
        on=_exceptions(retry.on, place, problems),
    )


def _attempts(value: object, place: str, problems: list[str]) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    problems.append(f"{place}: the number of attempts must be a positive whole number, found {value!r}; write Retry(5)")
    return 1


def _backoff(backoff: object, place: str, problems: list[str]) -> Backoff | None:
    if backoff is None:
        return None
    if not isinstance(backoff, (Exponential, Fixed)):
        problems.append(f"{place}: backoff={backoff!r} is unknown; write Exponential(1, 30) or Fixed(2)")
        return None
    first = read_duration(backoff.delay if isinstance(backoff, Fixed) else backoff.first)
    most = first if isinstance(backoff, Fixed) else read_duration(backoff.most)
    if first is None or most is None or first > most:
        problems.append(
            f"{place}: {backoff!r} must have delays over 0 seconds, at most 100 years, the first not over the most; "
            "write Exponential(1, 30) or Fixed(2)"
        )
        return None
    return Backoff(first=first.total_seconds(), most=most.total_seconds())


def _jitter(value: object, place: str, problems: list[str]) -> float:
    if is_number(value) and 0 <= value <= 1:
        return float(value)
    problems.append(f"{place}: jitter={value!r} must be a fraction from 0 to 1; write jitter=0.2")
    return 0.0


def _exceptions(value: object, place: str, problems: list[str]) -> tuple[type[BaseException], ...]:
    classes = tuple(value) if isinstance(value, (tuple, list, set, frozenset)) else (value,)
    if all(isinstance(each, type) and issubclass(each, BaseException) for each in classes):
        return classes
    problems.append(f"{place}: on={value!r} must be exception classes; write on=(GatewayBusy,)")
    return ()


_LEVELS = ("debug", "info", "warning", "error")
_Models = Sequence[type[BaseModel]]


def read_steps(steps: Mapping[str, StepElement], models: _Models, problems: list[str]) -> dict[str, StepSpec]:
    """The checked steps, in order of declaration, without what leads from one to the next."""
    if not steps:
        problems.append("it has no step; write for instance charge = Step(charge_card)")
    aliases = read_aliases(steps, problems)
    found = {
        name: replace(_ElementReader(name, models, problems).read(each), aliases=aliases[name])
        for name, each in steps.items()
    }
    problems.extend(not_by_problems(found))
    return found


class _ElementReader(StepReader):
    """Reads a step of any kind."""

    def __init__(self, name: str, models: _Models, problems: list[str]) -> None:
        super().__init__(name, problems)
        self.models = models

    def read(self, element: StepElement) -> StepSpec:
        match element:
            case Step():
                return self._function(element)
            case Wait():
                return self._wait(element)
            case Log():
                return self._log(element)
            case Pause() | Decision():
                return ManualStepReader(self.name, self.problems).read(element)
            case WaitForEvent():
                return EventWaitReader(self.name, self.problems).read(element)
            case _:
                self.fault(
                    f"{type(element).__name__} is no kind of step; write Step, Wait, Log, Pause, Approval, Decision or "
                    "WaitForEvent"
                )
                return StepSpec(name=self.name)

    def _function(self, step: Step) -> StepSpec:
        if not callable(step.function) or isinstance(step.function, type):
            self.fault(f"must call a function, found {step.function!r}; write {self.name} = Step(some_function)")
            return StepSpec(name=self.name)
        self._check_flags(step)
        self._check_function(step)
        within, within_at = self.within(step.within)
        if step.within is None and step.remind != ():
            self.fault("remind= has no end to remind of; write within=timedelta(hours=4) too, or remove it")
        return StepSpec(
            name=self.name,
            function=step.function,
            parameters=self._parameters(step.function, step.input),
            output=self.output(step.output),
            retry=read_retry(step.retry, f"step {self.name}: retry", self.problems),
            irreversible=step.irreversible is True,
            compensatable=step.compensatable is not False and step.irreversible is not True,
            compensate=self._compensation(step),
            transaction=step.transaction is True,
            within=within,
            within_at=within_at,
            remind=self.reminders(step.remind, within),
            max_visits=self.visits(step),
        )

    def _check_flags(self, step: Step) -> None:
        for flag in ("irreversible", "compensatable", "transaction"):
            value = getattr(step, flag)
            if not isinstance(value, bool) and not (flag == "compensatable" and value is None):
                self.fault(f"{flag}={value!r} must be True or False")
        if step.irreversible is True and step.compensatable is True:
            self.fault("cannot be irreversible and compensatable; leave out one of the two")

    def _check_function(self, step: Step) -> None:
        function = written(step.function)
        if step.transaction is True and inspect.iscoroutinefunction(function):
            self.fault("transaction=True needs a plain function, found a coroutine function; write def, not async def")
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            self.fault("its function yields, and a step returns its result; write return, not yield")

    def _parameters(
        self, function: Callable[..., object], input: object = None, *, compensation: bool = False
    ) -> tuple[Parameter, ...]:
        place = "compensate: " if compensation else ""
        if not isinstance(input, (Mapping, type(None))):
            self.fault(f'input={input!r} must map parameters to paths; write input={{"account_id": "account.id"}}')
            return ()
        try:
            return parameters_of(function, input=input, payload_models=self.models, compensation=compensation)
        except ParametersError as error:
            for problem in error.problems:
                self.fault(f"{place}{name_of(function)}: {problem}")
            return ()

    def _compensation(self, step: Step) -> Compensation | None:
        if step.compensate is None:
            if step.compensate_retry is not None:
                self.fault("compensate_retry has nothing to retry; write compensate=some_function too")
            return None
        if step.irreversible is True or step.compensatable is False:
            marker = "irreversible=True" if step.irreversible is True else "compensatable=False"
            self.fault(f"has compensate and {marker}, which says that nothing undoes it; leave out one of the two")
        if not callable(step.compensate) or isinstance(step.compensate, type):
            self.fault(f"compensate must be a function, found {step.compensate!r}; write compensate=release_inventory")
            return None
        return Compensation(
            function=step.compensate,
            name=name_of(step.compensate),
            parameters=self._parameters(step.compensate, compensation=True),
            retry=read_retry(step.compensate_retry, f"step {self.name}: compensate_retry", self.problems),
        )

    def _wait(self, step: Wait) -> StepSpec:
        duration, until = None, None
        if step.until is not None:
            until = self.path(step.until, "until", "order.ship_on")
            if step.duration is not None:
                self.fault("has a duration and until=, and only one can say when it is over; leave out one of the two")
        elif step.duration is None:
            self.fault('must say how long it waits; write Wait(timedelta(hours=1)), or Wait(until="order.ship_on")')
        else:
            duration = self.positive(
                step.duration,
                f"must wait a positive time of at most 100 years, found {step.duration!r}; "
                "write Wait(timedelta(hours=1))",
            )
        return StepSpec(name=self.name, kind="wait", duration=duration, until=until, max_visits=self.visits(step))

    def _log(self, step: Log) -> StepSpec:
        for fault in state_expressions.problems(step.message):
            self.fault(f"the message {fault}")
        if step.level not in _LEVELS:
            self.fault(f"level={step.level!r} is unknown; write one of {', '.join(_LEVELS)}")
        message = None if state_expressions.problems(step.message) else step.message
        return StepSpec(name=self.name, kind="log", message=message, level=step.level, max_visits=self.visits(step))


def read_dependencies(body: Body, problems: list[str]) -> dict[str, tuple[str, ...]]:
    """For each step the steps it waits for."""
    return {name: tuple(_read(body, name, each, problems)) for name, each in body.steps.items()}


def _read(body: Body, name: str, step: StepElement, problems: list[str]) -> Iterator[str]:
    if step.after is None:
        return
    if not isinstance(step.after, (list, tuple)):
        found = body.label(step.after)
        problems.append(f"step {name}: after= must be a list of steps, found {found}; write after=[{found}]")
        return
    seen: set[str] = set()
    for each in step.after:
        other = body.name_of(each)
        if other is None:
            problems.append(
                f"step {name}: after= names {body.label(each)}, which is no step of this class; "
                "declare it in the class body, above"
            )
        elif other == name:
            problems.append(f"step {name}: cannot wait for itself; remove it from after=")
        elif other in seen:
            problems.append(f"step {name}: after= names {other} twice; write it once")
        else:
            seen.add(other)
            yield other


_SECOND = timedelta(seconds=1)
_CHOICES = {
    "idempotency": ("return_existing", "skip", "none"),
    "overlap": get_args(Overlap),
    "catch_up": get_args(CatchUp),
}


def read_triggers(triggers: Mapping[str, Trigger], problems: list[str]) -> dict[str, TriggerSpec]:
    """The checked triggers, in order of declaration."""
    if not triggers:
        problems.append("it has no trigger; write for instance start = Manual(Order)")
    found = {name: _read_trigger(name, each, problems) for name, each in triggers.items()}
    problems.extend(_conflicts(found))
    problems.extend(_events_twice(found))
    return found


def _read_trigger(name: str, trigger: Trigger, problems: list[str]) -> TriggerSpec:
    model = _model(name, trigger, problems)
    if isinstance(trigger, OnEvent):
        if fault := name_problem(trigger.name):
            problems.append(f"trigger {name}: {fault}")
        return TriggerSpec(name=name, kind="event", model=model, event=trigger.name)
    if not isinstance(trigger, (Cron, Every)):
        return TriggerSpec(name=name, kind="manual", model=model)
    found = list(_schedule_faults(trigger))
    problems.extend(f"trigger {name}: {fault}" for fault in (*found, *_choice_faults(trigger)))
    problems.extend(_required(name, model))
    return TriggerSpec(
        name=name,
        kind="cron",
        model=model,
        expression=trigger.expression if isinstance(trigger, Cron) else "" if found else every(trigger.interval),
        timezone=trigger.timezone if isinstance(trigger, Cron) else "UTC",
        idempotency=trigger.idempotency,
        overlap=trigger.overlap,
        catch_up=trigger.catch_up,
    )


def _schedule_faults(trigger: Cron | Every) -> Iterator[str]:
    if isinstance(trigger, Every):
        length = trigger.interval
        if not isinstance(length, timedelta) or not _SECOND <= length <= LONGEST_DELAY or length % _SECOND:
            yield (
                f"must come every whole second or more, at most 100 years, found {length!r}; "
                "write Every(timedelta(minutes=15))"
            )
        return
    yield from (f"the cron expression {fault}" for fault in check(trigger.expression))
    try:
        zone(trigger.timezone)
    except ValueError as error:
        yield f'{error}; write one like timezone="Europe/Berlin"'


def _choice_faults(trigger: Cron | Every) -> Iterator[str]:
    for name, known in _CHOICES.items():
        if (said := getattr(trigger, name)) not in known:
            yield f"{name}={said!r} is unknown; write one of {', '.join(known)}"


def _model(name: str, trigger: Trigger, problems: list[str]) -> type[BaseModel] | None:
    model = trigger.model if isinstance(trigger, (Manual, Cron, Every, OnEvent)) else None
    return None if model is None else read_model(model, PAYLOAD, f"trigger {name}", problems)


def _required(name: str, model: type[BaseModel] | None) -> Iterator[str]:
    for field, info in (model.model_fields if model else {}).items():
        if info.is_required():
            yield (
                f"trigger {name}: a cron trigger starts with its model's defaults, but field {field} has none; "
                f"write {field}: {shown(info.annotation)} = ..."
            )


def _events_twice(triggers: Mapping[str, TriggerSpec]) -> Iterator[str]:
    first: dict[str, str] = {}
    for trigger in triggers.values():
        if trigger.event is not None and first.setdefault(trigger.event, trigger.name) != trigger.name:
            yield (
                f"trigger {trigger.name}: event {trigger.event} starts this workflow by trigger "
                f"{first[trigger.event]} already, and one event starts one run; remove one of the two"
            )


def _conflicts(triggers: Mapping[str, TriggerSpec]) -> Iterator[str]:
    first: dict[str, tuple[str, object]] = {}
    for trigger in triggers.values():
        for field, info in (trigger.model.model_fields if trigger.model else {}).items():
            other, annotation = first.setdefault(field, (trigger.name, info.annotation))
            if annotation != info.annotation:
                yield (
                    f"payload field {field}: is {shown(annotation)} in trigger {other} and {shown(info.annotation)} "
                    f"in trigger {trigger.name}; give both the same type or different names"
                )
