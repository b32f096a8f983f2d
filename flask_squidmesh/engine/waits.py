"""What a step asks of people, or awaits, as it is kept when the wait opens: whose it is, its routes, its times."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import cache
from typing import Annotated, Final, NamedTuple

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from ..definition import state_expressions
from ..definition.spec import Condition, OptionSpec, Path, Route, StepSpec
from ..definition.state_expressions import LONGEST_ID
from ..definition.values import JsonObject, JsonValue, to_json
from ..errors import LONGEST_DELAY
from ..people import normal
from .kept_decisions import (
    EVENT,
    ConditionKept,
    DecisionKept,
    DecisionKind,
    EventKept,
    OptionKept,
    RouteKept,
    TimerKept,
)

APPROVE: Final = "approve"
REJECT: Final = "reject"


class UnresolvedError(Exception):
    """A wait cannot be opened, because the state does not hold what it needs. The text says what and what to do."""


class Asked(NamedTuple):
    """What is asked, and by when."""

    decision: DecisionKept
    decide_by: datetime | None


def asked_by(step: StepSpec, state: JsonObject, now: datetime, hides: Callable[[str], bool]) -> Asked:
    """Return what the step asks in this state.

    Raises:
        UnresolvedError: A person, a group or a time that the step takes from the state is not there, or is none.
    """
    decide_by = _due_by(step, state, now)
    decision = DecisionKept(
        kind=_KINDS[step.kind],
        prompt=state_expressions.render(step.prompt, state, hides) if step.prompt else None,
        permission=step.permission,
        ok=step.ok[0].target if step.ok else None,
        error=step.error.target if step.error else None,
        output=step.output,
    )
    _add_rules(decision, step)
    _add_answers(decision, step, state)
    _add_people(decision, step, state)
    _add_timers(decision, step, state, now, decide_by)
    return Asked(decision, decide_by)


def awaited_by(step: StepSpec, state: JsonObject, now: datetime) -> Asked:
    """Return what a step awaits in this state that waits for an event.

    Raises:
        UnresolvedError: The key, or a person, a group or a time that the step takes from the state is not there.
    """
    awaits = step.awaits
    assert awaits is not None, "it waits for one"
    decide_by = _due_by(step, state, now)
    since = (now - awaits.lookback).isoformat() if awaits.lookback else None
    key = event_key(awaits.key, state)
    decision = DecisionKept(
        kind=EVENT,
        output=step.output,
        awaits=EventKept(name=awaits.name, key=key, accept=awaits.accept, since=since),
        routes=[_kept_route(route) for route in step.ok],
    )
    _add_timers(decision, step, state, now, decide_by)
    return Asked(decision, decide_by)


def event_key(template: str, state: JsonObject) -> str:
    """Return the key of an event that the template makes of the state: exact, never cut.

    Raises:
        UnresolvedError: The state does not hold it, or holds something else than text or a number.
    """
    found = state_expressions.resolve(template, state)
    if not found or not found.strip() or len(found) > LONGEST_ID:
        what = "is too long" if found and found.strip() else "is not there, is empty or is no text"
        raise UnresolvedError(
            f"key={template!r} names no event: what the run's state holds for it {what}; it takes 1 to "
            f"{LONGEST_ID} characters. Settle the step, or start the run anew."
        )
    return found


def _due_by(step: StepSpec, state: JsonObject, now: datetime) -> datetime | None:
    if step.within_at is None:
        return now + step.within if step.within else None
    decide_by = moment(state, step.within_at, now, f"within={'.'.join(step.within_at)!r}")
    if decide_by <= now:
        raise UnresolvedError(
            f"The step is due by {decide_by.isoformat()}, which is before it began. "
            "Correct the value, or have another step look at it before."
        )
    return decide_by


_KINDS: Final[Mapping[str, DecisionKind]] = {"pause": "pause", "approval": "approval", "decision": "decision"}


def _add_rules(decision: DecisionKept, step: StepSpec) -> None:
    if step.approvals > 1:
        decision["approvals"] = step.approvals
    if step.not_starter:
        decision["not_starter"] = True
    if step.not_by:
        decision["not_by"] = [*step.not_by]


def _add_answers(decision: DecisionKept, step: StepSpec, state: JsonObject) -> None:
    """An approval without a form and without conditions is told by `ok` and `error` alone."""
    forms = {option.name: option.form for option in step.options if option.form is not None}
    plain = not forms and not any(route.condition for route in step.ok)
    if step.kind == "decision" or not plain:
        decision["options"] = [_kept_option(option) for option in step.options]
    if step.updates:
        decision["updates"] = [*step.updates]
    values: dict[str, JsonValue] = {}
    for form in forms.values():
        for name in form.model_fields:
            found = state_expressions.lookup(state, step.form_input.get(name, (name,)))
            if found is not state_expressions.MISSING:
                values[name] = found  # type: ignore[assignment]  # the state is JSON
    if values:
        decision["values"] = values


def _kept_option(option: OptionSpec) -> OptionKept:
    kept = OptionKept(name=option.name, routes=[_kept_route(route) for route in option.routes])
    if option.form is not None:
        kept["form"] = _schema(option.form)
    if option.comment_required:
        kept["comment_required"] = True
    return kept


@cache
def _schema(form: type[BaseModel]) -> JsonObject:
    """The form as JSON Schema, which takes pydantic a while to make."""
    return form.model_json_schema(by_alias=False)


def _kept_route(route: Route) -> RouteKept:
    kept = RouteKept(target=route.target)
    if route.condition is not None:
        value = route.condition.value
        kept["condition"] = ConditionKept(
            path=[*route.condition.path],
            operator=route.condition.operator,
            value=to_json(value),
            number=state_expressions.as_number(value) is not None,
        )
    return kept


def _add_people(decision: DecisionKept, step: StepSpec, state: JsonObject) -> None:
    if step.assignee is not None:
        decision["assignee"] = person(step.assignee, state, "assignee")
    if step.groups:
        decision["groups"] = [person(group, state, "groups") for group in step.groups]


def _add_timers(
    decision: DecisionKept, step: StepSpec, state: JsonObject, now: datetime, decide_by: datetime | None
) -> None:
    timers = [TimerKept(kind="remind", at=(now + after).isoformat()) for after in step.remind]
    for each in step.escalate:
        timer = TimerKept(kind="escalate", at=(now + each.after).isoformat())
        if each.assignee is not None:
            timer["assignee"] = person(each.assignee, state, "escalate")
        if each.groups:
            timer["groups"] = [person(group, state, "escalate") for group in each.groups]
        timers.append(timer)
    if step.timeout is not None and decide_by is not None:
        decision["timeout"] = step.timeout
        timers.append(TimerKept(kind="time_out", at=decide_by.isoformat()))
    if timers:
        # At the same moment a reminder comes first and the end last.
        decision["timers"] = sorted(timers, key=lambda timer: (timer["at"], _ORDER.index(timer["kind"])))


_ORDER: Final = ("remind", "escalate", "time_out")


def next_timer(decision: DecisionKept) -> datetime | None:
    """Return when something happens next at the wait by itself."""
    timers = decision.get("timers")
    return datetime.fromisoformat(timers[0]["at"]) if timers else None


def options_of(decision: DecisionKept) -> Sequence[OptionKept]:
    """Return the answers that a person can give to an approval or a decision."""
    kept = decision.get("options")
    if kept is not None:
        return kept
    if decision["kind"] != "approval":
        return ()
    targets = {APPROVE: decision.get("ok"), REJECT: decision.get("error")}
    return [
        OptionKept(name=name, routes=[RouteKept(target=target)] if target is not None else [])
        for name, target in targets.items()
    ]


def option_of(decision: DecisionKept, name: str) -> OptionKept | None:
    """Return the answer of this name."""
    return next((option for option in options_of(decision) if option["name"] == name), None)


def first_option(decision: DecisionKept) -> str | None:
    """Return the option that lets the run go on, to which rules about who may take it apply; None of a pause."""
    options = options_of(decision)
    return options[0]["name"] if options else None


def routes_behind(decision: DecisionKept, option: str | None) -> list[Route]:
    """Return where the answer leads; of a pause or an event where it leads on."""
    if (routes := decision.get("routes")) is not None:
        return [_route(route) for route in routes]
    kept = option_of(decision, option) if option is not None else None
    if kept is not None:
        return [_route(route) for route in kept["routes"]]
    ok = decision.get("ok")
    return [Route(target=ok)] if ok is not None else []


def every_target(decision: DecisionKept) -> Iterator[str]:
    """Where the wait may lead."""
    for option in decision.get("options") or ():
        yield from (route["target"] for route in option["routes"])
    yield from (route["target"] for route in decision.get("routes") or ())
    for target in (decision.get("ok"), decision.get("error"), decision.get("timeout")):
        if target is not None:
            yield target


def retargeted(decision: DecisionKept, names: Mapping[str, str]) -> DecisionKept:
    """Return the same with other names for the steps that it leads to."""
    named = decision.copy()
    if (ok := names.get(decision.get("ok") or "")) is not None:
        named["ok"] = ok
    if (error := names.get(decision.get("error") or "")) is not None:
        named["error"] = error
    if (timeout := names.get(decision.get("timeout") or "")) is not None:
        named["timeout"] = timeout
    if options := decision.get("options"):
        named["options"] = [{**option, "routes": _retargeted(option["routes"], names)} for option in options]
    if routes := decision.get("routes"):
        named["routes"] = _retargeted(routes, names)
    return named


def _retargeted(routes: Sequence[RouteKept], names: Mapping[str, str]) -> list[RouteKept]:
    return [{**route, "target": names.get(route["target"], route["target"])} for route in routes]


def condition_keys(decision: DecisionKept) -> frozenset[str]:
    """Return the top-level names of the state that the conditions of its routes read."""
    of_options = (route for option in options_of(decision) for route in option["routes"])
    return state_expressions.keys(map(_route, (*of_options, *(decision.get("routes") or ()))))


def _route(kept: RouteKept) -> Route:
    condition = kept.get("condition")
    if condition is None:
        return Route(target=kept["target"])
    value = condition["value"]
    wanted = Decimal(str(value)) if condition["number"] else value
    return Route(
        target=kept["target"],
        condition=Condition(path=tuple(condition["path"]), operator=condition["operator"], value=wanted),
    )


def person(template: str, state: JsonObject, place: str) -> str:
    """Return the id of a person, or the name of a group, that the template makes of the state: exact, never cut.

    Raises:
        UnresolvedError: The state does not hold it, or holds something else than text or a number.
    """
    found = normal(state_expressions.resolve(template, state) or "")
    if not found or len(found) > LONGEST_ID:
        what = "is too long" if found else "is not there, is empty or is no text"
        raise UnresolvedError(
            f"{place}={template!r} names nobody: what the run's state holds for it {what}; it takes 1 to "
            f"{LONGEST_ID} characters. Say whose it is, or settle the step."
        )
    return found


def moment(state: JsonObject, path: Path, now: datetime, place: str) -> datetime:
    """Return the time that the value at the path says: one with a zone, a date (midnight UTC), or a duration from now.

    Raises:
        UnresolvedError: There is no such value, or it is something else.
    """
    found = state_expressions.lookup(state, path)
    if found is state_expressions.MISSING or found is None:
        raise UnresolvedError(f"{place} finds nothing in the run's state. Settle the step, or start the run anew.")
    read = _read_time(found)
    if isinstance(read, timedelta) and timedelta(0) <= read <= LONGEST_DELAY:
        return now + read
    if isinstance(read, datetime) and read.tzinfo is not None:
        return read
    if isinstance(read, date) and not isinstance(read, datetime):
        return datetime.combine(read, time(), UTC)
    raise UnresolvedError(
        f"{place} finds {str(found)[:LONGEST_ID]!r}, which is neither a time with its zone, nor a date, nor a "
        "duration of at most 100 years. Settle the step, or start the run anew."
    )


def _read_time(found: object) -> datetime | timedelta | date | None:
    if isinstance(found, bool):
        return None
    if isinstance(found, (int, float)):
        return timedelta(seconds=found) if abs(found) <= LONGEST_DELAY.total_seconds() else None
    if not isinstance(found, str) or found.strip().lstrip("+-").replace(".", "", 1).isdigit():
        return None  # pydantic would take digits for seconds since 1970
    try:
        return _TIME_TEXTS.validate_strings(found, strict=True)
    except (ValidationError, OverflowError):
        return None


_TIME_TEXTS: Final[TypeAdapter[date | datetime | timedelta]] = TypeAdapter(
    Annotated[date | datetime | timedelta, Field(union_mode="left_to_right")]
)
