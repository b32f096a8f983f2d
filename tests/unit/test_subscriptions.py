"""What can be subscribed to, and what is refused when it is registered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from flask_squidmesh import ConfigurationError, Manual, Notice, SquidMesh, Step, Workflow
from flask_squidmesh.notices import NOTICE_KINDS


class Known(Workflow):
    place = Manual()
    work = Step(lambda: None)


def hear(notice: Notice) -> None:
    """Do nothing."""


def post(notice: Notice, receiver: str) -> None:
    """Do nothing."""


async def hear_later(notice: Notice) -> None:
    """Do nothing."""


class Silent:
    """A channel."""

    def send(self, receiver: str, notices: Any) -> None:
        """Do nothing."""


SUBSCRIBING: dict[str, Callable[[Any], object]] = {
    "there is no kind 'run.fialed'. Did you mean run.failed?": lambda mesh: mesh.subscribe("run.fialed")(hear),
    f"Offered are: {', '.join(NOTICE_KINDS)}.": lambda mesh: mesh.subscribe()(hear),
    "there is no kind 5": lambda mesh: mesh.add_channel(post, on=5),
    "at least one kind": lambda mesh: mesh.add_channel(post, on=[]),
    "is asynchronous or a generator": lambda mesh: mesh.subscribe("run.failed")(hear_later),
    "Declare, by name, any of notice": lambda mesh: mesh.subscribe("run.failed")(lambda notice, more: None),
    "expected a function": lambda mesh: mesh.subscribe("run.failed")("hear"),
    "found the class Silent": lambda mesh: mesh.add_channel(Silent, on="run.failed"),
    "found a int": lambda mesh: mesh.add_channel(5, on="run.failed"),
    "workflow=5 is neither": lambda mesh: mesh.subscribe("run.failed", workflow=5)(hear),
    "workflow= names none": lambda mesh: mesh.subscribe("run.failed", workflow=[])(hear),
    "workflow=<class": lambda mesh: mesh.subscribe("run.failed", workflow=Workflow)(hear),
    "is no text of 1 to 200": lambda mesh: mesh.subscribe("run.failed", name=" ")(hear),
    "to= is a function": lambda mesh: mesh.add_channel(post, on="run.failed", to=5),
    "to= is a function of": lambda mesh: mesh.add_channel(post, on="run.failed", to=["a@x", ""]),
    "mesh.add_channel(to=...)": lambda mesh: mesh.add_channel(post, on="run.failed", to=lambda other, more: None),
}


@pytest.mark.rule("telling-refused")
@pytest.mark.parametrize("said", SUBSCRIBING)
def test_what_makes_no_sense_is_refused_when_it_is_registered(said: str) -> None:
    mesh = SquidMesh()
    with pytest.raises(ConfigurationError) as refused:
        SUBSCRIBING[said](mesh)
    assert said in str(refused.value)
    assert len(mesh._subscriptions) == 0


@pytest.mark.rule("telling-refused")
def test_each_subscription_has_a_name_of_its_own() -> None:
    mesh = SquidMesh()
    assert mesh.subscribe("run.failed")(hear) is hear
    with pytest.raises(ConfigurationError, match="already"):
        mesh.subscribe("run.completed")(hear)
    mesh.subscribe("run.completed", name="other")(hear)
    mesh.add_channel(Silent(), on=NOTICE_KINDS, to="a@x", workflow=Known)
    with pytest.raises(ConfigurationError, match="already"):
        mesh.add_channel(Silent(), on="run.failed")
    names = [each.name for each in mesh._subscriptions]
    assert names == [f"{__name__}.hear", "other", "Silent"]
    assert [each.name for each in mesh._subscriptions.to("run.completed", "known")] == ["other", "Silent"]
    assert [each.name for each in mesh._subscriptions.to("run.completed", "unknown")] == ["other"]
