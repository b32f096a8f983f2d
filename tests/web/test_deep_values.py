"""What is as deep as may be is shown wherever a run's data are; what is deeper, or no JSON, is told in a sentence."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from flask_squidmesh import Manual, PayloadError, Step, Workflow
from flask_squidmesh.definition.values import DEEPEST
from flask_squidmesh.testing import drain
from tests.web.shop import make_app, mesh_of
from tests.web.visiting import Visitor, text_of


class Bag(BaseModel):
    things: Any = None


def repack(things: Any) -> dict[str, Any]:
    return {"again": things}


def drop(again: Any) -> None:
    raise OSError("nobody knows where it is")


class Bags(Workflow):
    place = Manual(Bag)
    repack = Step(repack)
    drop = Step(drop, irreversible=True)
    flow = [repack >> drop]


def nested(levels: int) -> Any:
    value: Any = "inmost"
    for _ in range(levels):
        value = {"a": value}
    return value


@pytest.fixture
def visitor(migrated_url: str) -> Visitor:
    visitor = Visitor(make_app(migrated_url))
    mesh_of(visitor.app).register(Bags)
    return visitor


def interrupted(visitor: Visitor) -> str:
    """A run that holds the deepest payload, in a mapping of its own, and that an exception has interrupted."""
    with visitor.app.app_context():
        run_id = str(mesh_of(visitor.app).start_run(Bags, {"things": nested(DEEPEST - 1)}, actor="kim").id)
        drain()
    assert visitor.status(run_id) == "paused"
    return run_id


@pytest.mark.rule("output-json")
def test_the_deepest_payload_is_shown_wherever_it_is_told(visitor: Visitor) -> None:
    run_id = interrupted(visitor)
    parts = ("payload", "context", "step/repack/1/output", "step/repack/1/state", "step/drop/1/state")
    pages = ("", "?view=events", "?view=graph", "?step=repack", ".json", "/resolve")
    for path in (*pages, *(f"/payload/{part}" for part in parts)):
        answer = visitor.get(f"/runs/{run_id}{path}")
        assert (answer.status_code, "inmost" in answer.text) == (200, True), path
    assert visitor.get(f"/runs/{run_id}.json").get_json()["payload"] == {"things": nested(DEEPEST - 1)}
    for path in ("/", "/runs", "/runs.json", "/audit", "/failures", f"/workflows/bags/start?from={run_id}"):
        assert visitor.get(path, buffered=True).status_code == 200, path


@pytest.mark.rule("output-json")
@pytest.mark.parametrize("levels", [DEEPEST, DEEPEST + 1, 5_000])
def test_a_deeper_payload_is_refused_with_its_place(visitor: Visitor, levels: int) -> None:
    with visitor.app.app_context(), pytest.raises(PayloadError, match=r"things: a\.a\.a.*depth of 100 levels"):
        mesh_of(visitor.app).start_run(Bags, {"things": nested(levels)})


DEEP = "depth of 100 levels"
TYPED = (
    ('{"a":' * DEEPEST + "1" + "}" * DEEPEST, DEEP),
    ('{"a":' * 900 + "1" + "}" * 900, DEEP),
    ('{"a":' * 50_000, "This is nested too deep; at most 100 levels are kept."),
    ("[" * 100_000, "This is nested too deep; at most 100 levels are kept."),
    ('{"a":' + "9" * 5_000 + "}", "A number in this has too many digits."),
    ("9" * 5_000, "A number in this has too many digits."),
    ('{"a": }', "Line 1 is not JSON: expecting value."),
)


@pytest.mark.parametrize(("typed", "said"), TYPED)
def test_a_form_says_what_is_wrong_with_what_was_typed(visitor: Visitor, typed: str, said: str) -> None:
    run_id = interrupted(visitor)
    for path, field in ((f"/runs/{run_id}/resolve", "output"), ("/workflows/bags/start", "payload.things")):
        deeper = f'{{"a":{typed}}}' if said == DEEP and field == "output" else typed
        answer = visitor.send(path, {**visitor.form(path), field: deeper, "allow_new_keys": "yes"})
        assert (answer.status_code, said in text_of(answer.text)) == (422, True), path
    assert visitor.status(run_id) == "paused"
