"""The steps of a workflow, one by one."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from pydantic import BaseModel

from .. import templates
from ..annotations import name_of, written
from ..binding import ParametersError, parameters_of
from ..elements import Approval, Log, ManualStep, Pause, Step, StepElement, Wait
from ..spec import Compensation, Parameter, StepSpec
from .aliases import read_aliases
from .durations import read_duration
from .retries import read_retry
from .settings import read_max_visits

MOST_APPROVALS = 20
_LEVELS = ("debug", "info", "warning", "error")
_Models = Sequence[type[BaseModel]]


def read_steps(steps: Mapping[str, StepElement], models: _Models, problems: list[str]) -> dict[str, StepSpec]:
    """The checked steps, in order of declaration, without what leads from one to the next."""
    if not steps:
        problems.append("it has no step; write for instance charge = Step(charge_card)")
    aliases = read_aliases(steps, problems)
    return {
        name: replace(_Reader(name, models, problems).read(each), aliases=aliases[name]) for name, each in steps.items()
    }


class _Reader:
    """Reads one step; faults are noted under its name."""

    def __init__(self, name: str, models: _Models, problems: list[str]) -> None:
        self.name, self.models, self.problems = name, models, problems

    def fault(self, text: str) -> None:
        self.problems.append(f"step {self.name}: {text}")

    def read(self, element: StepElement) -> StepSpec:
        match element:
            case Step():
                return self._function(element)
            case Wait():
                return StepSpec(
                    name=self.name, kind="wait", duration=self._wait(element.duration), max_visits=self._visits(element)
                )
            case Log():
                return self._log(element)
            case Pause() | Approval():
                return self._manual(element)
            case _:
                self.fault(f"{type(element).__name__} is no kind of step; write Step, Wait, Log, Pause or Approval")
                return StepSpec(name=self.name)

    def _visits(self, element: StepElement) -> int | None:
        return read_max_visits(element.max_visits, f"step {self.name}: max_visits", self.problems)

    def _function(self, step: Step) -> StepSpec:
        if not callable(step.function) or isinstance(step.function, type):
            self.fault(f"must call a function, found {step.function!r}; write {self.name} = Step(some_function)")
            return StepSpec(name=self.name)
        self._check_flags(step)
        self._check_function(step)
        return StepSpec(
            name=self.name,
            function=step.function,
            parameters=self._parameters(step.function, step.input),
            output=self._output(step.output),
            retry=read_retry(step.retry, f"step {self.name}: retry", self.problems),
            irreversible=step.irreversible is True,
            compensatable=step.compensatable is not False and step.irreversible is not True,
            compensate=self._compensation(step),
            transaction=step.transaction is True,
            max_visits=self._visits(step),
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
        self, function: Callable[..., Any], input: Any = None, *, compensation: bool = False
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

    def _output(self, output: Any) -> str | None:
        if output is None or (isinstance(output, str) and output.isidentifier()):
            return output
        self.fault(f'output={output!r} must be a plain name; write output="account"')
        return None

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

    def _wait(self, duration: Any) -> timedelta | None:
        return self._positive(
            duration,
            f"must wait a positive time of at most 100 years, found {duration!r}; write Wait(timedelta(hours=1))",
        )

    def _positive(self, value: Any, otherwise: str) -> timedelta | None:
        found = read_duration(value)
        if found is None:
            self.fault(otherwise)
        return found

    def _log(self, step: Log) -> StepSpec:
        for fault in templates.problems(step.message):
            self.fault(f"the message {fault}")
        if step.level not in _LEVELS:
            self.fault(f"level={step.level!r} is unknown; write one of {', '.join(_LEVELS)}")
        message = None if templates.problems(step.message) else step.message
        return StepSpec(name=self.name, kind="log", message=message, level=step.level, max_visits=self._visits(step))

    def _manual(self, step: ManualStep) -> StepSpec:
        faults = [] if step.prompt is None else templates.problems(step.prompt)
        for fault in faults:
            self.fault(f"the prompt {fault}")
        if step.permission is not None and not (isinstance(step.permission, str) and step.permission.strip()):
            self.fault(f'permission={step.permission!r} must be non-empty text; write permission="payments.review"')
        otherwise = (
            f"within={step.within!r} must be a positive time of at most 100 years; write within=timedelta(hours=4)"
        )
        return StepSpec(
            name=self.name,
            kind="approval" if isinstance(step, Approval) else "pause",
            prompt=None if faults else step.prompt,
            output=self._output(step.output) or (self.name if isinstance(step, Approval) else None),
            permission=step.permission,
            within=None if step.within is None else self._positive(step.within, otherwise),
            max_visits=self._visits(step),
            **(self._approvers(step) if isinstance(step, Approval) else {}),
        )

    def _approvers(self, step: Approval) -> dict[str, Any]:
        count, not_starter = step.approvals, step.not_starter
        if not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= MOST_APPROVALS:
            self.fault(f"approvals={count!r} must be a whole number from 1 to {MOST_APPROVALS}; write approvals=2")
        if not isinstance(not_starter, bool):
            self.fault(f"not_starter={not_starter!r} must be True or False; write not_starter=True")
        return {"approvals": count, "not_starter": not_starter}
