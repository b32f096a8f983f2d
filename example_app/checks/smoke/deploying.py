"""Two versions of the shop at work at the same time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from flask import current_app
from pydantic import BaseModel

from flask_squidmesh import Log, Manual, SquidMesh, Workflow
from flask_squidmesh.runtime.runtime import current_runtime
from flask_squidmesh.testing import drain

from ...clock import clock
from ...extensions import mesh
from ...people import OPERATOR
from ...stage import SAME, wait_until
from ...workflows import WORKFLOWS
from ..looking import ended, expect
from ..pages import on_page


class Ribbon(BaseModel):
    """What is wrapped. colour: of the ribbon."""

    colour: str


class GiftWrapping(Workflow):
    """Only the next version of the shop knows it."""

    subject = "Wrapping with a {colour} ribbon"

    gift_wrapping = Manual(Ribbon)

    wrap = Log("Wrapped with a {colour} ribbon")


def held_for_the_next_version() -> str:
    """A run of a workflow that the running workers do not know yet: kept for those that do."""
    with next_version() as newer:
        run_id = newer.start_run(GiftWrapping, {"colour": "red"}, actor=OPERATOR.email).id
    wait_until(lambda: mesh.explain_run(run_id).reason == "definition_mismatch", "a worker has put it back")
    on_page(run_id, "Stuck", "Cancel run", says="another version")
    with next_version():
        wait_until(lambda: _performed(run_id), "the next version has performed it")
    expect("the step", [row.status for row in ended(run_id, "completed").step_runs or ()], ["completed"])
    return "put back by workers that do not know it, performed by the next version"


@contextmanager
def next_version() -> Iterator[SquidMesh]:
    """The shop as it will be deployed next, with one workflow more, on the same database and queue."""
    from ... import create_app

    newer = SquidMesh(clock=clock)
    newer.register(*WORKFLOWS, GiftWrapping)
    config = {name: current_app.config[name] for name in (*SAME, "SQUIDMESH_QUEUE")}
    with create_app(config, newer).app_context():
        yield newer


def _performed(run_id: str) -> bool:
    """As the worker of the next version does it: its relay takes up what others have put back."""
    current_runtime().relay.once()
    drain()
    return mesh.inspect_run(run_id).status == "completed"
