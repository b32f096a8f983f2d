"""How far a reader has to go: the files and functions of ours that a few common journeys pass.

Each journey is made once, so that what is built once is there, and then counted: which files, which functions, and how
often a call leads from one file to another. `python tools/journeys.py claim` counts one and lists what it passes.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from html import unescape
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Final

from flask.testing import FlaskClient
from pydantic import BaseModel

import flask_squidmesh
from flask_squidmesh import Approval, Manual, Step, Workflow
from flask_squidmesh.testing import Host, drain, memory_app

PACKAGE: Final = f"{Path(flask_squidmesh.__file__).parent}/"
MOST_FILES: Final = {"start": 16, "claim": 10, "delivery": 18, "approval": 35, "list": 16}
MOST_FUNCTIONS: Final = {"approval": 200}
PREFIX: Final = "/squidmesh"


class Order(BaseModel):
    """What the workflow is started with."""

    number: int


def check(order: Order) -> dict[str, Any]:
    """The first step."""
    return {"checked": order.number}


def ship(checked: int) -> dict[str, Any]:
    """The second step."""
    return {"shipped": checked}


def close() -> None:
    """The last step."""


class Fulfilment(Workflow):
    """Two steps and an approval."""

    place = Manual(Order)
    check = Step(check)
    ship = Step(ship)
    review = Approval("Good?")
    close = Step(close)
    flow = [check >> ship >> review >> close, review.on_reject >> close]


@dataclass
class Journey:
    """What was passed on the way."""

    functions: dict[CodeType, int] = field(default_factory=dict)
    hops: int = 0

    @property
    def files(self) -> list[str]:
        """In the order in which they were come to, without the package's own folder."""
        return list(dict.fromkeys(code.co_filename.removeprefix(PACKAGE) for code in self.functions))

    def follow(self, frame: FrameType, event: str, _: object) -> None:
        """Count a call, as `sys.setprofile` tells of it."""
        code = frame.f_code
        if event != "call" or not _is_ours(code):
            return
        self.functions[code] = self.functions.get(code, 0) + 1
        caller = frame.f_back
        while caller is not None and not _is_ours(caller.f_code):
            caller = caller.f_back
        self.hops += caller is not None and caller.f_code.co_filename != code.co_filename


def _is_ours(code: CodeType) -> bool:
    return code.co_filename.startswith(PACKAGE) and not code.co_name.startswith("<")


@contextmanager
def followed() -> Iterator[Journey]:
    """Follow what this thread does in the block."""
    journey = Journey()
    sys.setprofile(journey.follow)
    try:
        yield journey
    finally:
        sys.setprofile(None)


class Traveller:
    """One app, and the journeys through it. Each returns what it passed."""

    def __init__(self, host: Host) -> None:
        self.mesh, self.client = host.mesh, host.app.test_client()
        host.mesh.authorize(lambda action, run, permission: True)
        host.mesh.actor(lambda: "dana")

    def start(self) -> Journey:
        """A view starts a run."""
        with followed() as journey:
            self.mesh.start_run(Fulfilment, {"number": 1})
        drain()
        return journey

    def claim(self) -> Journey:
        """A worker takes due work."""
        return self._delivered()[0]

    def delivery(self) -> Journey:
        """A worker performs two steps that it has claimed, one after the other."""
        return self._delivered()[1]

    def approval(self) -> Journey:
        """An operator sends the form of an approval, and is led on."""
        run = self.mesh.start_run(Fulfilment, {"number": 1})
        drain()
        address = f"{PREFIX}/runs/{run.id}/approve"
        fields = _fields(self.client, address)
        with followed() as journey:
            answer = self.client.post(address, data=fields)
        assert answer.status_code in (302, 303), answer.text
        return journey

    def list(self) -> Journey:
        """An operator opens the list of runs."""
        self.mesh.start_run(Fulfilment, {"number": 1})
        with followed() as journey:
            answer = self.client.get(f"{PREFIX}/runs")
        assert answer.status_code == 200, answer.text
        drain()
        return journey

    def _delivered(self) -> tuple[Journey, Journey]:
        from flask_squidmesh.runtime.runtime import current_runtime

        runtime = current_runtime()
        run = self.mesh.start_run(Fulfilment, {"number": 1})
        with followed() as claiming:
            (claim,) = runtime.claimer.claim_due(runtime.config.queue, limit=1)
        with followed() as delivering:
            runtime.deliverer.deliver(claim)
        assert self.mesh.inspect_run(run.id).status == "paused"
        return claiming, delivering


JOURNEYS: Final[dict[str, Callable[[Traveller], Journey]]] = {
    "start": Traveller.start,
    "claim": Traveller.claim,
    "delivery": Traveller.delivery,
    "approval": Traveller.approval,
    "list": Traveller.list,
}


def made(name: str) -> Journey:
    """Make a journey for the second time, and answer what it passed."""
    with memory_app(Fulfilment, config={"SQUIDMESH_URL_PREFIX": PREFIX}) as host:
        traveller = Traveller(host)
        JOURNEYS[name](traveller)
        return JOURNEYS[name](traveller)


def _fields(client: FlaskClient, address: str) -> dict[str, str]:
    page = client.get(address).text
    inputs = re.findall(r"<input\b[^>]*>", page)
    named = ((re.search(r'\bname="([^"]+)"', each), re.search(r'\bvalue="([^"]*)"', each)) for each in inputs)
    return {name[1]: unescape(value[1]) if value else "" for name, value in named if name}


def main(chosen: list[str]) -> None:
    """Say of each journey how far it is; of those that were asked for by name also what they pass."""
    print(f"{'journey':12}{'files':>6}{'aim':>5}{'functions':>11}{'aim':>5}{'hops':>6}")
    for name in chosen or JOURNEYS:
        journey = made(name)
        files, functions = MOST_FILES[name], MOST_FUNCTIONS.get(name, "")
        print(f"{name:12}{len(journey.files):6}{files:5}{len(journey.functions):11}{functions:5}{journey.hops:6}")
        if chosen:
            for code, times in journey.functions.items():
                print(f"  {times:4} × {code.co_filename.removeprefix(PACKAGE)} {code.co_qualname}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("journeys", nargs="*", help=f"of {', '.join(JOURNEYS)}; all where none is named")
    main(parser.parse_args().journeys)
