"""The form that counts a step as done: what it would do to the run's state is shown before it is done."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from flask_squidmesh import Manual, Step, Workflow
from flask_squidmesh.testing import drain
from tests.web.visiting import Visitor, text_of


class Transfer(BaseModel):
    amount: int = 5
    api_token: str = "t-1"


def transfer() -> dict[str, Any]:
    raise OSError("unknown")


class Transfers(Workflow):
    place = Manual(Transfer)
    transfer = Step(transfer, irreversible=True)


@pytest.mark.rule("resolve-new-keys")
def test_overwriting_is_shown_and_has_to_be_confirmed(visitor: Visitor) -> None:
    with visitor.app.app_context():
        mesh = visitor.app.extensions["mesh"]
        mesh.register(Transfers)
        run_id = str(mesh.start_run(Transfers, {}, actor="kim").id)
        drain()
    address = f"/runs/{run_id}/resolve"
    output = '{"amount": 500, "api_token": "t-2", "reference": "r-1"}'
    asked = visitor.send(address, {**visitor.form(address), "output": output})
    text = text_of(asked.text)
    assert (asked.status_code, visitor.status(run_id)) == (422, "paused")
    assert "would overwrite values that the run already holds" in text
    assert "amount 5 500" in text
    assert 'reference none yet "r-1"' in text
    assert "t-1" not in asked.text
    answer = visitor.send(address, {**visitor.form(address), "output": output, "allow_new_keys": "yes"})
    assert (answer.status_code, visitor.status(run_id)) == (303, "completed")
