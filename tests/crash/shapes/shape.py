"""A shape: workflows, and what happens to a run of theirs from its start to its end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from flask_squidmesh import RunSummary, Workflow

from ..effects import Effects
from ..stage import Act, Decide, Stage


@dataclass(frozen=True, kw_only=True)
class Shape:
    """name: what it is called. build: makes its workflows. acts: what happens, each act beginning anew when a process
    dies in it. decide: what a person does. or_else: a shape whose end is as right after a death, because what the
    process took with it cannot be known."""

    name: str
    build: Callable[[Effects], Sequence[type[Workflow]]]
    acts: Sequence[Act]
    decide: Decide
    or_else: str | None = None


def shape(
    build: Callable[[Effects], Any], *acts: Act, decide: Decide | None = None, or_else: str | None = None
) -> Shape:
    """A shape with the name of its build function; without acts its run is started and worked."""

    def workflows(effects: Effects) -> Sequence[type[Workflow]]:
        built = build(effects)
        return built if isinstance(built, tuple) else (built,)

    return Shape(
        name=build.__name__,
        build=workflows,
        acts=acts or (start, work),
        decide=decide or find_out,
        or_else=or_else,
    )


def start(stage: Stage) -> None:
    """Somebody starts the first workflow's run, unless there is one."""
    if not stage.runs:
        stage.shop.mesh.start_run(stage.workflows[0], {}, actor="dana")


def work(stage: Stage) -> None:
    """Everything is performed and decided."""
    stage.work()


def find_out(stage: Stage, run: RunSummary) -> None:
    """Settle an interrupted step by what was found outside: it had its effect, or it had not."""
    if run.needs is None or run.needs.kind != "interrupted":
        return
    visit = next(row for row in stage.shop.look(run.id).step_runs or () if row.status == "paused")
    happened = stage.effects.happened(run.id, visit.step, visit.visit)
    if happened is not None:
        say(stage, run, "resolve_step", output=happened.output, step=visit.step)
    else:
        say(stage, run, "retry_step", step=visit.step)


def say(stage: Stage, run: RunSummary, call: str, **options: Any) -> None:
    """An operator's call, under a key for this state of the run."""
    stage.say(call, run.id, actor="lee", comment="so be it", idempotency_key=f"{call} {run.revision}", **options)


def deciding(call: str, **options: Any) -> Decide:
    """Make this call where a decision is open, and settle what is interrupted by what was found outside."""

    def decide(stage: Stage, run: RunSummary) -> None:
        if run.needs is not None and run.needs.kind in ("decision", "resume"):
            say(stage, run, call, **options)
        else:
            find_out(stage, run)

    return decide
