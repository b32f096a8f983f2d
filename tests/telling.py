"""What pages tell of explanations, as far as it can be checked of any."""

from __future__ import annotations

from zoneinfo import ZoneInfo

from flask_squidmesh.dashboard.text.command_text import consequence, why_not
from flask_squidmesh.dashboard.text.evidence_text import grounds
from flask_squidmesh.dashboard.text.explanation_text import ExplanationText
from flask_squidmesh.queries.results import Explanation
from tests.integration.reading.rows import NOW


def told(explanation: Explanation) -> str:
    """Everything that a page says of it, which shows no code of the engine."""
    teller = ExplanationText(explanation, NOW, ZoneInfo("UTC"))
    assert teller.headline
    sentences = [teller.headline, *grounds(teller)]
    sentences += [consequence(action) for action in explanation.next_actions]
    sentences += [why_not(refusal) for refusal in explanation.refusals]
    words = " ".join(each.striptags() for each in sentences)
    assert "None" not in words
    return words
