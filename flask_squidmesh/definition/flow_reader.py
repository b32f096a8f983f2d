"""What `flow` says: where each step leads."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from .class_body import Body
from .elements import (
    Approval,
    Chain,
    Decision,
    End,
    Link,
    ManualStep,
    Operator,
    Outcome,
    Pause,
    RouteStart,
    Step,
    StepElement,
    WaitForEvent,
    When,
)
from .manual_step_reader import option_names
from .spec import Condition, EndSpec, ErrorRoute, Recovery, Route, StepSpec, end_at
from .state_expressions import as_number, parse
from .values import ValueNotJsonError, to_json

_RECOVERIES: tuple[Recovery, ...] = ("compensation", "undo")
_PROPERTIES = {"error": ".on_error", "reject": ".on_reject", "timeout": ".on_timeout"}
_OF_AN_APPROVAL: Mapping[Outcome, str] = {"ok": "approve", "reject": "reject"}

# What the pages and lists already call a run, or how it came to an end that no End names.
RESERVED_OUTCOMES: Final = frozenset(
    {"cancelled", "cancelling", "completed", "error_route", "failed", "paused", "pending", "retrying", "running"}
)
_OUTCOME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,39}")


@dataclass(slots=True)
class Routes:
    """The routes out of one step."""

    ok: list[Route] = field(default_factory=list)
    options: dict[str, list[Route]] = field(default_factory=dict)
    error: ErrorRoute | None = None
    timeout: str | None = None
    # How each route without a condition was written, by what leads along it.
    written: dict[str, str] = field(default_factory=dict)

    def joined(self, step: StepSpec) -> StepSpec:
        """The step with its routes. An approval has them as `ok` and `error` too."""
        options = tuple(replace(each, routes=tuple(self.options.get(each.name, ()))) for each in step.options)
        ok, error = self.ok, self.error
        if step.kind == "approval":
            ok = self.options.get("approve", [])
            rejected = next((each for each in self.options.get("reject", ()) if each.condition is None), None)
            error = ErrorRoute(target=rejected.target) if rejected else None
        return replace(step, ok=tuple(ok), options=options, error=error, timeout=self.timeout)


@dataclass(slots=True)
class Flow:
    """What was read from `flow`: the routes of each step, the first step named and all arrows."""

    routes: dict[str, Routes]
    entry: str | None = None
    # Every arrow, also those that break a rule, so that one fault does not look like others; None is no step of ours.
    edges: dict[str | None, set[str]] = field(default_factory=dict)


def read_flow(body: Body, problems: list[str]) -> Flow:
    """The checked routes of a workflow."""
    flow = Flow({name: Routes() for name in body.steps})
    for line in _lines(body, problems):
        first = line.links[0].start.source if isinstance(line, Chain) else line
        flow.entry = flow.entry or body.name_of(first)
        if isinstance(line, Chain):
            for link in line.links:
                _RouteReader(body, link, problems).read_into(flow)
        elif body.name_of(line) is None:
            problems.append(f"flow: {body.label(line)} is no step of this class; declare it in the class body")
    return flow


def _lines(body: Body, problems: list[str]) -> Iterator[Chain | StepElement]:
    if not isinstance(body.flow, (list, tuple)) or not body.flow:
        found = "a chain" if isinstance(body.flow, Chain) else repr(body.flow)
        problems.append(f"flow: must be a list of chains, found {found}; write flow = [first >> second]")
        return
    for line in body.flow:
        if isinstance(line, RouteStart):
            problems.append(f"flow: {_start(body, line)} leads nowhere; write {_start(body, line)} >> some_step")
        elif isinstance(line, (Chain, StepElement)):
            yield line
        elif isinstance(line, End):
            problems.append(f"flow: {line!r} ends nothing; write last_step >> {line!r}")
        else:
            problems.append(f"flow: {line!r} is no line of a flow; write first >> second")


class _RouteReader:
    """Reads one arrow; faults are noted under it."""

    def __init__(self, body: Body, link: Link, problems: list[str]) -> None:
        self.body, self.link, self.problems = body, link, problems
        self.start, self.source = link.start, link.start.source
        self.label = f"{_start(body, link.start)} >> {_shown(body, link.target)}"

    def fault(self, text: str) -> None:
        self.problems.append(f"transition {self.label}: {text}")

    def read_into(self, flow: Flow) -> None:
        source, target = self._source(), self._target()
        possible = self._outcome_is_possible()
        self._check_recovery()
        condition = self._condition()
        if target is None:
            return
        if end_at(target) is None:
            flow.edges.setdefault(source, set()).add(target)
        if source is None or not possible:
            return
        routes, option = flow.routes[source], self._option()
        if option is not None:
            self._add(routes, routes.options.setdefault(option, []), Route(target=target, condition=condition))
        elif self.start.outcome == "ok":
            self._add(routes, routes.ok, Route(target=target, condition=condition))
        elif self._is_first(routes):
            self._set(routes, target)

    def _option(self) -> str | None:
        """The option of a person's that leads along this arrow."""
        if isinstance(self.source, Approval) and self.start.outcome in _OF_AN_APPROVAL:
            return _OF_AN_APPROVAL[self.start.outcome]
        return str(self.start.option) if self.start.outcome == "option" else None

    def _source(self) -> str | None:
        if isinstance(self.source, End):
            self.fault(f"{self.source!r} ends the run, and nothing can follow it; let it be the last of its line")
        elif not isinstance(self.source, StepElement):
            self.fault("starts from something that is no step; flow starts with its first step, whatever the trigger")
        return self._declared(self.source)

    def _declared(self, element: object) -> str | None:
        name = self.body.name_of(element)
        if name is None and isinstance(element, StepElement):
            self.fault(f"{self.body.label(element)} is no step of this class; declare it in the class body")
        return name

    def _target(self) -> str | None:
        target = self.link.target
        if isinstance(target, RouteStart):
            plain, route = self.body.label(target.source), _start(self.body, target)
            self.fault(f"a chain cannot go on from a route; write two lines, ... >> {plain} and {route} >> ...")
            target = target.source
        if isinstance(target, End):
            return self._end(target)
        if not isinstance(target, StepElement):
            self.fault(
                "leads to something that is no step; a step without a route ends the run by itself, and "
                'End("rejected") says how'
            )
            return None
        return self._declared(target)

    def _end(self, end: End) -> str | None:
        outcome = end.outcome
        if not isinstance(end.compensate, bool):
            self.fault(f"compensate={end.compensate!r} must be True or False")
        if not isinstance(outcome, str) or not _OUTCOME.fullmatch(outcome):
            self.fault(
                f"{outcome!r} is no word for an end; write 1 to 40 letters, digits, underscores or hyphens, "
                'a letter first, as End("rejected")'
            )
            return None
        if outcome in RESERVED_OUTCOMES:
            self.fault(
                f"no end can be called {outcome!r}, for {', '.join(sorted(RESERVED_OUTCOMES))} have a meaning already; "
                "give it another word"
            )
            return None
        return EndSpec(outcome=outcome, compensate=end.compensate is True).target

    def _outcome_is_possible(self) -> bool:
        fault = None if self.source is None else self._why_impossible()
        if fault:
            self.fault(fault)
        return fault is None

    def _why_impossible(self) -> str | None:
        source, outcome = self.source, self.start.outcome
        name = self.body.label(source)
        declared = f"{name} is declared as {type(source).__name__}"
        if not isinstance(source, StepElement):
            return None
        if outcome == "ok" and isinstance(source, Decision) and not isinstance(source, Approval):
            behind = "".join(f".when({each})" for each in self.start.conditions)
            return f"each option of a Decision leads somewhere of its own; write {self._any_option()}{behind} >> ..."
        if outcome == "error" and not isinstance(source, Step):
            return f"only a Step can fail, and {declared}; write {self._instead()}"
        if outcome == "reject" and not isinstance(source, Approval):
            return f"only an Approval can be rejected, and {declared}; write {self._instead()}"
        if outcome == "option":
            return self._why_no_option()
        if outcome == "timeout" and not isinstance(source, ManualStep | WaitForEvent):
            waits = "a Pause, an Approval, a Decision or a WaitForEvent"
            return f"only {waits} can time out, and {declared}; write {self._instead()}"
        if outcome == "timeout" and isinstance(source, ManualStep | WaitForEvent) and source.within is None:
            return f"{name} has no within= that could pass; write {name} = {type(source).__name__}(..., within=...)"
        return None

    def _instead(self) -> str:
        """What one writes in place of an outcome that the step does not have."""
        name, outcome = self.body.label(self.source), self.start.outcome
        match self.source:
            case Approval():
                return f"{name}.on_reject"
            case Decision():
                return self._any_option()
            case Step() if outcome == "reject":
                return f"{name}.on_error"
            case _ if outcome == "reject":
                return f"{name} = Approval(...)"
            case _:
                return f"{name} >> ..."

    def _why_no_option(self) -> str | None:
        name, option = self.body.label(self.source), self.start.option
        if not isinstance(self.source, Decision):
            declared = type(self.source).__name__
            return (
                f"only a Decision or an Approval has options, and {name} is declared as {declared}; write {name} >> ..."
            )
        known = option_names(self.source)
        if isinstance(option, str) and option in known:
            return None
        return f"{name} has no option {option!r}; it has {', '.join(known) or 'none'}"

    def _any_option(self) -> str:
        known = option_names(self.source) if isinstance(self.source, Decision) else ()
        return f'{self.body.label(self.source)}.on("{next(iter(known), "...")}")'

    def _check_recovery(self) -> None:
        recovery = self.start.recovery
        if recovery is None:
            return
        if self.start.outcome != "error":
            right = f"{self.body.label(self.source)}.on_error(recovery={recovery!r})"
            self.fault(f"only an error route has a recovery; write {right} >> ...")
        if recovery not in _RECOVERIES:
            self.fault(f'recovery={recovery!r} is unknown; write recovery="compensation" or recovery="undo"')

    def _condition(self) -> Condition | None:
        conditions = self.start.conditions
        if not conditions:
            return None
        if fault := self._why_no_condition():
            self.fault(fault)
        if len(conditions) > 1:
            self.fault(f"has {len(conditions)} conditions, and a route has one; leave out all but one .when(...)")
        return self._test(conditions[0])

    def _why_no_condition(self) -> str | None:
        name, outcome = self.body.label(self.source), self.start.outcome
        if isinstance(self.source, Approval) and outcome in _OF_AN_APPROVAL:
            right = f'{name}.on("{_OF_AN_APPROVAL[outcome]}").when({self.start.conditions[0]})'
            return f"of an approval only what an option leads to has conditions; write {right} >> ..."
        if isinstance(self.source, Pause) and outcome == "ok":
            return "the route out of a pause has no conditions; put a Step that decides between"
        if outcome in ("error", "reject", "timeout"):
            plain = _start(self.body, replace(self.start, conditions=()))
            return f"{plain} has no conditions; put a Step that decides between"
        return None

    def _test(self, when: When) -> Condition:
        path = parse(when.path)
        if path is None:
            self.fault(f'the path {when.path!r} is not one; write names joined by dots, as "account.tier"')
        if len(when.tests) != 1:
            self.fault(f"has {len(when.tests)} tests; write exactly one of equals=, greater_than= or less_than=")
        operator: Operator = next(iter(when.tests), "equals")
        return Condition(path=path or (), operator=operator, value=self._value(operator, when.tests.get(operator)))

    def _value(self, operator: str, value: object) -> object:
        try:
            plain = to_json(value)
        except ValueNotJsonError as error:
            self.fault(f"{operator}={value!r} can never be found in a state, which is JSON ({error.reason})")
            return None
        if operator != "equals" and as_number(value) is None and not isinstance(plain, str):
            self.fault(f"{operator}={value!r} has no order; compare with a number or text")
        return plain if as_number(value) is None else value

    def _add(self, routes: Routes, known: list[Route], route: Route) -> None:
        if route.condition is None:
            if self._is_first(routes, conditions=True):
                routes.written[self._way] = self.label
        elif any(repr(each.condition) == repr(route.condition) for each in known):
            self.fault("an earlier route has the same condition, so this one is never taken; remove one of the two")
        known.append(route)

    @property
    def _way(self) -> str:
        """What leads along the arrow, whichever way it was written."""
        option = self._option()
        return self.start.outcome if option is None else f"option {option}"

    def _is_first(self, routes: Routes, *, conditions: bool = False) -> bool:
        first = routes.written.get(self._way)
        if first is None:
            return True
        option = self._option()
        start = self.body.label(self.source) + (f'.on("{option}")' if option is not None else "")
        self.fault(
            f"{first} is there already, and only one route can have no condition; "
            f"remove one of the two, or write {start}.when(...) >> ..."
            if conditions
            else f"{first} is there already; remove one of the two"
        )
        return False

    def _set(self, routes: Routes, target: str) -> None:
        plain = _start(self.body, replace(self.start, recovery=None))
        routes.written[self._way] = f"{plain} >> {_shown(self.body, self.link.target)}"
        if self.start.outcome == "timeout":
            routes.timeout = target
        else:
            routes.error = ErrorRoute(target=target, recovery=_recovery(self.start))


def _recovery(start: RouteStart) -> Recovery | None:
    return next((known for known in _RECOVERIES if known == start.recovery), None)


def _start(body: Body, start: RouteStart) -> str:
    name = body.label(start.source)
    option = f'.on("{start.option}")' if isinstance(start.option, str) else f".on({start.option!r})"
    outcome = option if start.outcome == "option" else _PROPERTIES.get(start.outcome, "")
    recovery = f"(recovery={start.recovery!r})" if start.recovery is not None else ""
    return f"{name}{outcome}{''.join(f'.when({each})' for each in start.conditions)}{recovery}"


def _shown(body: Body, value: object) -> str:
    return _start(body, value) if isinstance(value, RouteStart) else body.label(value)
