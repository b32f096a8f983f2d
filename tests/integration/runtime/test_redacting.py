"""What is written for people to read leaves secrets out."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel

from flask_squidmesh import Approval, Log, Manual, Workflow
from tests.shop import Shop

CANARY = "c4n4ry"


class Card(BaseModel):
    holder: str = "dana"
    card_number: str = CANARY
    details: dict[str, Any] = {"api_key": CANARY}


@pytest.mark.rule("templates-secrets")
def test_subjects_prompts_and_log_messages_hide_secrets(
    open_shop: Callable[..., Shop], caplog: pytest.LogCaptureFixture
) -> None:
    class Paying(Workflow):
        subject = "{holder} pays with {card_number}"
        pay = Manual(Card)
        note = Log("{holder}: {details}")
        review = Approval(prompt="Take {card_number} of {holder}, {details}?")
        done = Log("done")
        refused = Log("refused")
        flow = [note >> review >> done, review.on_reject >> refused]

    shop = open_shop(Paying)
    caplog.set_level(logging.INFO)
    run = shop.look(shop.run(Paying, {}))

    (decision,) = [row.decision for row in run.step_runs or () if row.decision]
    assert run.subject == "dana pays with [redacted]"
    assert decision["prompt"] == 'Take [redacted] of dana, {"api_key": "[redacted]"}?'
    assert 'dana: {"api_key": "[redacted]"}' in caplog.text
    assert CANARY not in caplog.text
    assert run.payload["card_number"] == CANARY
