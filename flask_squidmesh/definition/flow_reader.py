"""What `flow` says: where each step leads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from .class_body import Body
from .elements import Approval, Chain, Link, ManualStep, Operator, RouteStart, Step, StepElement, When
from .spec import Condition, ErrorRoute, Recovery, Route
from .state_expressions import as_number, parse
from .values import ValueNotJsonError, to_json

_RECOVERIES: tuple[Recovery, ...] = ("compensation", "undo")
_PROPERTIES = {"error": ".on_error", "reject": ".on_reject"}


@dataclass(slots=True)
class Routes:
    """The routes out of one step."""

    ok: list[Route] = field(default_factory=list)
    error: ErrorRoute | None = None


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
        condition = self._condition(self.start.condition) if self.start.condition else None
        if target is None:
            return
        flow.edges.setdefault(source, set()).add(target)
        if source is None:
            return
        if self.start.outcome == "ok":
            self._add(flow.routes[source], Route(target=target, condition=condition))
        elif possible:
            self._set_error(flow.routes[source], target)

    def _source(self) -> str | None:
        if not isinstance(self.source, StepElement):
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
        if not isinstance(target, StepElement):
            self.fault("leads to something that is no step; a step without a route ends the run by itself")
            return None
        return self._declared(target)

    def _outcome_is_possible(self) -> bool:
        source, outcome = self.source, self.start.outcome
        name, declared = self.body.label(source), type(source).__name__
        if outcome == "error" and not isinstance(source, Step):
            hint = f"write {name}.on_reject" if isinstance(source, Approval) else f"write {name} >> ..."
            self.fault(f"only a Step can fail, and {name} is declared as {declared}; {hint}")
            return False
        if outcome == "reject" and not isinstance(source, Approval):
            hint = f"write {name}.on_error" if isinstance(source, Step) else f"write {name} = Approval(...)"
            self.fault(f"only an Approval can be rejected, and {name} is declared as {declared}; {hint}")
            return False
        return True

    def _check_recovery(self) -> None:
        recovery = self.start.recovery
        if recovery is None:
            return
        if self.start.outcome != "error":
            right = f"{self.body.label(self.source)}.on_error(recovery={recovery!r})"
            self.fault(f"only an error route has a recovery; write {right} >> ...")
        if recovery not in _RECOVERIES:
            self.fault(f'recovery={recovery!r} is unknown; write recovery="compensation" or recovery="undo"')

    def _condition(self, when: When) -> Condition:
        if isinstance(self.source, ManualStep):
            self.fault(
                "the routes out of a pause or an approval are fixed when it starts to wait and have no conditions; "
                "put a Step that decides between"
            )
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

    def _add(self, routes: Routes, route: Route) -> None:
        if route.condition is None and any(each.condition is None for each in routes.ok):
            first = next(each.target for each in routes.ok if each.condition is None)
            source = _start(self.body, self.start)
            self.fault(
                f"{source} >> {first} is there already, and only one route can have no condition; "
                f"remove one of the two, or write {source}.when(...) >> ..."
            )
        elif route.condition is not None and any(repr(each.condition) == repr(route.condition) for each in routes.ok):
            self.fault("an earlier route has the same condition, so this one is never taken; remove one of the two")
        routes.ok.append(route)

    def _set_error(self, routes: Routes, target: str) -> None:
        if routes.error is not None:
            first = f"{_start(self.body, replace(self.start, recovery=None))} >> {routes.error.target}"
            self.fault(f"{first} is there already; remove one of the two")
        else:
            routes.error = ErrorRoute(target=target, recovery=_recovery(self.start))


def _recovery(start: RouteStart) -> Recovery | None:
    return next((known for known in _RECOVERIES if known == start.recovery), None)


def _start(body: Body, start: RouteStart) -> str:
    name = body.label(start.source)
    recovery = f"(recovery={start.recovery!r})" if start.recovery is not None else ""
    condition = f".when({start.condition})" if start.condition else ""
    return f"{name}{_PROPERTIES.get(start.outcome, '')}{condition}{recovery}"


def _shown(body: Body, value: object) -> str:
    return _start(body, value) if isinstance(value, RouteStart) else body.label(value)
