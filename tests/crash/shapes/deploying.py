"""Shapes in whose middle a deploy comes."""

from __future__ import annotations

from typing import Any

from flask_squidmesh import Manual, Pause, Step, Workflow
from tests.shop import Order

from ..effects import Effects
from ..stage import Stage
from .shape import deciding, shape, start, work


def deployed_fan_out(effects: Effects) -> Any:
    class Fanned(Workflow):
        place = Manual(Order)
        a = Step(effects.does("a"), after=[])
        hold = Pause("Well?", after=[])
        b = Step(effects.does("b"), after=[a])
        j = Step(effects.does("j"), after=[b, hold])

    return Fanned


def _deployed(effects: Effects) -> type[Workflow]:
    """A root and a last join more, and `b` waits for nothing."""

    class Fanned(Workflow):
        place = Manual(Order)
        a = Step(effects.does("a"), after=[])
        hold = Pause("Well?", after=[])
        b = Step(effects.does("b"), after=[])
        c = Step(effects.does("c"), after=[])
        j = Step(effects.does("j"), after=[b, hold, c])
        k = Step(effects.does("k"), after=[a, j])

    return Fanned


def _perform(stage: Stage) -> None:
    """Workers do what is due, and nobody decides."""
    stage.executor.deliver(stage.shop)


def _deploy(stage: Stage) -> None:
    stage.deploy(_deployed(stage.effects))


SHAPES = (shape(deployed_fan_out, start, _perform, _deploy, work, decide=deciding("unblock_run")),)
