"""A workflow before and after a deploy: each change, in each style, for a run at each place.

Before, a run does `first`, then `x`, `last` and `done`. What `x` is depends on where the run is when the deploy comes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, Literal

from pydantic import BaseModel

from flask_squidmesh import Approval, Cron, FailStep, Fixed, Log, Manual, Pause, Retry, RetryStep, Step, Wait, Workflow
from flask_squidmesh.definition.elements import StepElement
from tests.shop import Script

Style = Literal["flow", "after"]
Place = Literal["before", "at", "behind", "waiting", "paused", "retrying", "executing", "compensating"]
Kind = Literal["step", "wait", "log", "pause", "approval", "decision"]

STYLES: tuple[Style, ...] = ("flow", "after")
PLACES: Mapping[Place, str] = {
    "before": "the run is at `first`",
    "at": "`x` is due",
    "behind": "`x` has completed, `last` is due",
    "waiting": "`x` is a Wait that waits",
    "paused": "`x` is an Approval that is asked",
    "retrying": "an attempt of `x` failed, the next is due later",
    "executing": "a worker of the version before is performing `x`",
    "compensating": "`last` failed, `x` is to be undone",
}


class Order(BaseModel):
    amount: int = 5


class WithNote(Order):
    note: str = ""


class WithChannel(Order):
    channel: str


class WithoutAmount(BaseModel):
    pass


class WithText(BaseModel):
    amount: str = ""


@dataclass(frozen=True, kw_only=True)
class Version:
    """How the workflow looks. order: its steps in turn. waits: what each waits for, in the style `after`.

    aliases: former names of steps. x: what the step is. payload: its model, which the steps take. deployed: whether it
    is the version after the deploy.
    """

    name: str
    order: tuple[str, ...] = ("first", "x", "last", "done")
    waits: Mapping[str, tuple[str, ...]] = field(
        default_factory=lambda: {"first": (), "x": ("first",), "last": ("x", "first"), "done": ("last",)}
    )
    aliases: Mapping[str, str] = field(default_factory=dict)
    workflow_aliases: tuple[str, ...] = ()
    x: Kind = "step"
    payload: type[BaseModel] = Order
    cron: str = "0 9 * * *"
    deployed: bool = False


Change = Callable[[Version], Version]


def _waits(version: Version, **waits: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    return {**version.waits, **waits}


def _without_x(version: Version, **waits: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    return {name: after for name, after in _waits(version, **waits).items() if name != "x"}


def _added(version: Version) -> Version:
    order = ("first", "x", "extra", "last", "done")
    return replace(version, order=order, waits=_waits(version, extra=("x",), last=("x", "first", "extra")))


def _added_before(version: Version) -> Version:
    return replace(version, order=("extra", *version.order), waits=_waits(version, extra=(), last=("x", "extra")))


def _added_last(version: Version) -> Version:
    return replace(version, order=(*version.order, "extra"), waits=_waits(version, extra=("done",)))


def _removed(version: Version) -> Version:
    return replace(version, order=("first", "last", "done"), waits=_without_x(version, last=("first",)))


def _renamed(version: Version) -> Version:
    waits = _without_x(version, y=("first",), last=("y", "first"))
    return replace(version, order=("first", "y", "last", "done"), waits=waits, aliases={"y": "x"})


def _renamed_bare(version: Version) -> Version:
    return replace(_renamed(version), aliases={})


def _moved(version: Version) -> Version:
    waits = _waits(version, last=("first",), x=("last",), done=("last", "x"))
    return replace(version, order=("first", "last", "x", "done"), waits=waits)


def _rooted(version: Version) -> Version:
    return replace(version, waits=_waits(version, x=()))


def _joined_more(version: Version) -> Version:
    return replace(version, order=("extra", *version.order), waits=_waits(version, extra=(), x=("first", "extra")))


def _joined_less(version: Version) -> Version:
    return replace(version, waits=_waits(version, last=("first",)))


def _becomes(kind: Kind) -> Change:
    return lambda version: replace(version, x=kind)


def _pays(model: type[BaseModel]) -> Change:
    return lambda version: replace(version, payload=model)


CHANGES: Mapping[str, tuple[str, Change, tuple[Style, ...]]] = {
    "added-after": ("a step `extra` is added between `x` and `last`", _added, STYLES),
    "added-first": ("a step `extra` is added before all others", _added_before, STYLES),
    "added-last": ("a step `extra` is added after all others", _added_last, STYLES),
    "removed": ("`x` is removed", _removed, STYLES),
    "renamed": ('`x` is renamed to `y`, with `aliases=("x",)`', _renamed, STYLES),
    "renamed-without-alias": ("`x` is renamed to `y`, and nothing says so", _renamed_bare, STYLES),
    "moved": ("`x` moves behind `last`", _moved, STYLES),
    "made-a-root": ("`x` waits for nothing", _rooted, ("after",)),
    "joined-more": ("`x` waits for a new step `extra` too", _joined_more, ("after",)),
    "joined-less": ("`last` waits for `x` no more", _joined_less, ("after",)),
    "becomes-step": ("`x` becomes a Step", _becomes("step"), STYLES),
    "becomes-wait": ("`x` becomes a Wait", _becomes("wait"), STYLES),
    "becomes-log": ("`x` becomes a Log", _becomes("log"), STYLES),
    "becomes-pause": ("`x` becomes a Pause", _becomes("pause"), STYLES),
    "becomes-approval": ("`x` becomes an Approval", _becomes("approval"), STYLES),
    "field-added": ("the payload gets a field with a default", _pays(WithNote), STYLES),
    "field-required": ("the payload gets a required field", _pays(WithChannel), STYLES),
    "field-removed": ("a field of the payload is removed", _pays(WithoutAmount), STYLES),
    "field-retyped": ("a field of the payload has another type", _pays(WithText), STYLES),
    "schedule-moved": ("the schedule moves from 9:00 to 9:30", lambda old: replace(old, cron="30 9 * * *"), STYLES),
    "workflow-renamed": (
        "the workflow is renamed, with `aliases`",
        lambda old: replace(old, name=f"new_{old.name}", workflow_aliases=(old.name,)),
        STYLES,
    ),
    "workflow-renamed-without-alias": (
        "the workflow is renamed, and nothing says so",
        lambda old: replace(old, name=f"new_{old.name}"),
        STYLES,
    ),
}
KIND_AT: Mapping[Place, Kind] = {"waiting": "wait", "paused": "approval"}
MODULES: dict[str, Any] = {"BaseModel": BaseModel}


def before(place: Place) -> Version:
    """The workflow that a run at this place was started with."""
    return Version(name=place, x=KIND_AT.get(place, "step"))


def built(version: Version, style: Style, place: Place, script: Script, during: Callable[[], None]) -> type[Workflow]:
    """The workflow as a class. during: what happens while `x` is performed by the version before."""
    steps: dict[str, StepElement] = {}
    for name in sorted(version.order, key=lambda each: _depth(version, each)) if style == "after" else version.order:
        options: dict[str, Any] = {}
        if name in version.aliases:
            options["aliases"] = (version.aliases[name],)
        if style == "after":
            options["after"] = [steps[other] for other in version.waits[name]]
        steps[name] = _step(version, name, place, script, during, options)
    body: dict[str, Any] = {"name": version.name, "aliases": version.workflow_aliases}
    body |= {"place": Manual(version.payload)}
    if version.payload is not WithChannel:
        body |= {"daily": Cron(version.cron, version.payload)}
    body |= {name: steps[name] for name in version.order}
    if style == "flow":
        body["flow"] = _flow([steps[name] for name in version.order])
    return type(version.name.title().replace("_", ""), (Workflow,), body)


def _depth(version: Version, name: str) -> int:
    return 1 + max((_depth(version, other) for other in version.waits[name]), default=0)


def _flow(steps: list[StepElement]) -> list[Any]:
    line: Any = steps[0]
    for step in steps[1:]:
        line = line >> step
    rejections = [
        step.on_reject >> steps[place + 1] for place, step in enumerate(steps[:-1]) if isinstance(step, Approval)
    ]
    return [line, *rejections]


def _step(
    version: Version,
    name: str,
    place: Place,
    script: Script,
    during: Callable[[], None],
    options: dict[str, Any],
) -> StepElement:
    if name in ("x", "y") and version.x != "step":
        return _other_kind(version.x, options)
    does = script.does(name) if version.deployed and name == "x" else _does(name, place, script, during)
    function = _taking(version.payload, does)
    if name in ("x", "y"):
        undo = script.does(f"undo {name}") if place == "compensating" else None
        return Step(function, compensate=undo, retry=Retry(3, backoff=Fixed(60)), **options)
    return Step(function, **options)


def _does(name: str, place: Place, script: Script, during: Callable[[], None]) -> Callable[..., Any]:
    def deploy(_ctx: Any) -> None:
        during()

    if (name, place) == ("x", "retrying"):
        return script.does(name, RetryStep("busy"), None)
    if (name, place) == ("x", "executing"):
        return script.does(name, deploy)
    if (name, place) == ("last", "compensating"):
        return script.does(name, FailStep("no"))
    return script.does(name)


def _other_kind(kind: Kind, options: dict[str, Any]) -> StepElement:
    match kind:
        case "wait":
            return Wait(timedelta(hours=1), **options)
        case "log":
            return Log("x", **options)
        case "pause":
            return Pause("Well?", **options)
        case _:
            return Approval("Good?", **options)


def _taking(model: type[BaseModel], function: Callable[..., Any]) -> Callable[..., Any]:
    """The function with a further parameter, which is bound to the payload."""

    def step(ctx: Any, order: Any) -> Any:
        return function(ctx)

    step.__annotations__ = {"order": model}
    step.__name__ = step.__qualname__ = function.__name__
    return step
