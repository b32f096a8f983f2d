"""Every state, reason and action has words, and none shows the engine's."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from flask_squidmesh.config import WRITING_ACTIONS
from flask_squidmesh.dashboard import list_address, redacted_documents
from flask_squidmesh.dashboard.available_commands import COMMANDS
from flask_squidmesh.dashboard.host_hooks import REDACTED, redacted
from flask_squidmesh.dashboard.text import audit_text, command_text, times
from flask_squidmesh.dashboard.text.badges import MARKS
from flask_squidmesh.dashboard.text.explanation_text import REASONS
from flask_squidmesh.definition.spec import EndSpec
from flask_squidmesh.engine import command_rules
from flask_squidmesh.engine.command_effects import Blocking, PayloadUnfit
from flask_squidmesh.engine.command_rules import ActionFacts, OpenDecision, OpenOption, Refusal
from flask_squidmesh.queries import reasons
from flask_squidmesh.queries.operator_status import OPERATOR_WORDS

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def test_every_reason_that_reading_gives_has_its_sentence() -> None:
    source = Path(reasons.__file__).read_text()
    given = set(re.findall(r'(?:word=|about\(\w+, |word = |else )"([a-z_]+)"', source)) - {"missing"}
    assert len(given) > 15
    assert given <= REASONS


def test_every_word_has_a_mark_and_no_two_look_alike() -> None:
    assert set(MARKS) == set(OPERATOR_WORDS)
    shapes = [mark.shape for mark in MARKS.values()]
    assert len(set(shapes)) == len(shapes)


def test_every_action_on_a_run_has_a_page() -> None:
    of_waits = {"take", "assign", "note"}
    without_page = {
        "start",
        "bulk",
        "bulk_any",
        "schedule_run",
        "schedule_pause",
        "replay_irreversible",
        "reveal",
        "send_event",
        "tell_again",
    }
    assert set(COMMANDS) == set(WRITING_ACTIONS) - without_page - of_waits


APPROVAL = OpenDecision(step="review", visit=1, kind="approval", ok=("capture",), error="decline")
SECOND = OpenDecision(step="second", visit=1, kind="approval", ok=("capture",), further=1)
LAST = OpenDecision(step="last", visit=1, kind="approval", final=True)
FORK = OpenDecision(step="fork", visit=1, kind="pause", ok=("capture", "decline"))
JOIN = OpenDecision(step="join", visit=1, kind="pause")
CHOICE = OpenDecision(
    step="choice",
    visit=1,
    kind="decision",
    options=(
        OpenOption(name="approve", targets=("capture", "tell"), first=True),
        OpenOption(name="ask_back", targets=("tell",)),
        OpenOption(name="park", targets=("tell", EndSpec(outcome="parked").target)),
        OpenOption(name="drop", targets=(EndSpec(outcome="dropped").target,)),
        OpenOption(name="stop", fails=True),
    ),
)
GONE = OpenDecision(step="old", visit=1, kind="pause", ok=("gone",))
INTERRUPTED = OpenDecision(step="capture", visit=1, kind="interrupted", ok=("tell",))
INCIDENT = OpenDecision(step="capture", visit=1, kind="incident", error="decline")
UNSAFE = Blocking(step="capture", irreversible=True, compensatable=False, status="completed", reason="completed")
KNOWN = frozenset({"capture", "decline", "tell"})
UNASKED = replace(INCIDENT, asks_people=True)
SITUATIONS = [
    ActionFacts(status="pending", declared=KNOWN),
    ActionFacts(status="running", executing=("capture",), declared=KNOWN),
    ActionFacts(status="paused", decisions=(APPROVAL, SECOND, LAST, FORK, JOIN), undoes=("reserve",), declared=KNOWN),
    ActionFacts(status="paused", decisions=(APPROVAL,), irreversible=frozenset({"capture"}), declared=KNOWN),
    ActionFacts(status="paused", decisions=(INTERRUPTED, INCIDENT), undoes=("reserve",), declared=KNOWN),
    ActionFacts(status="paused", decisions=(CHOICE,), undoes=("reserve",), declared=KNOWN),
    ActionFacts(status="paused", decisions=(UNASKED,), declared=KNOWN),
    ActionFacts(status="paused", decisions=(GONE,), declared=KNOWN),
    ActionFacts(status="paused", decisions=(APPROVAL,), declared=None),
    ActionFacts(status="cancelling", decisions=(INTERRUPTED,), executing=("tell",), declared=KNOWN),
    ActionFacts(status="cancelling", executing=("tell",), hanging=("tell",), declared=KNOWN),
    ActionFacts(
        status="cancelling",
        executing=("capture",),
        hanging=("capture",),
        irreversible=frozenset({"capture"}),
        declared=KNOWN,
    ),
    ActionFacts(status="completed", declared=KNOWN),
    ActionFacts(status="completed", declared=None),
    ActionFacts(status="completed", unsafe=(UNSAFE,), declared=KNOWN),
    *(
        ActionFacts(status="completed", payload_unfit=PayloadUnfit(**unfit), declared=KNOWN)
        for unfit in ({"missing_fields": ("iban",)}, {"invalid_types": {"amount": "x"}}, {"unknown_fields": ("y",)})
    ),
    ActionFacts(status="failed", needs="failed", declared=KNOWN),
    ActionFacts(status="failed", acknowledged=True, compensation="running", declared=KNOWN),
    ActionFacts(status="failed", compensation="failed", failed_compensations=("reserve",), needs="compensation_failed"),
    ActionFacts(status="failed", compensation="failed", declared=None),
    ActionFacts(status="pending", begins_at=datetime(2027, 1, 4, 9, tzinfo=UTC), declared=KNOWN),
]


def test_every_action_tells_its_consequence_and_what_was_done() -> None:
    possible = [action for facts in SITUATIONS for action in command_rules.judge(facts)[0]]
    assert {action.action for action in possible} == set(COMMANDS)
    for action in possible:
        assert command_text.consequence(action)
        assert command_text.done(action.action, "running", "capture")


def test_each_option_tells_where_it_leads() -> None:
    chosen = command_rules.judge(ActionFacts(status="paused", decisions=(CHOICE,), undoes=("reserve",), declared=KNOWN))
    told = {action.option: command_text.consequence(action).striptags() for action in chosen[0] if action.option}
    assert told == {
        "approve": "continues at capture or tell",
        "ask_back": "continues at tell",
        "park": "continues at tell, or ends the run as parked",
        "drop": "ends the run as dropped",
        "stop": "fails the run and undoes reserve",
    }


def test_each_consequence_is_told_as_it_is() -> None:
    decided = command_rules.judge(SITUATIONS[2])[0]
    told = {(action.action, action.step): command_text.consequence(action).striptags() for action in decided}
    assert told["approve", "review"] == "continues at capture"
    assert told["approve", "second"] == "counts; 1 more person has to approve"
    assert told["approve", "last"] == "completes the run"
    assert told["resume", "fork"] == "continues at capture, decline"
    assert told["resume", "join"] == "continues once the other steps are done"
    assert told["reject", "review"] == "goes to decline"
    assert told["reject", "last"] == "fails the run and undoes reserve"
    assert told["cancel", None] == "stops the run here, for good; you choose whether to undo reserve"
    assert "cannot be undone" in command_text.consequence(command_rules.judge(SITUATIONS[3])[0][0])


def test_every_refusal_says_why() -> None:
    source = Path(command_rules.__file__).read_text()
    given = set(re.findall(r'_No\(\s*"([a-z_]+)"', source)) | {"no_open_approval", "no_open_pause", "not_interrupted"}
    refused = [refusal for facts in SITUATIONS for refusal in command_rules.judge(facts)[1]]
    assert given - {refusal.reason for refusal in refused} <= {"already_replayed"}
    unsaid = command_text.why_not(Refusal(call="x", action="approve", reason="something else"))
    for refusal in refused:
        assert command_text.why_not(refusal) != unsaid, refusal.reason


def test_every_audit_event_has_a_title() -> None:
    assert all(
        "_" not in audit_text._TITLES[type].replace("{action}", "").replace("{step}", "") for type in audit_text.TYPES
    )


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.012, "12 ms"),
        (0.8, "0.8 s"),
        (3, "3 s"),
        (12.4, "12 s"),
        (124, "2 min 4 s"),
        (11520, "3 h 12 min"),
        (187200, "2 d 4 h"),
        (86400, "1 d"),
        (3600 + 5, "1 h"),
    ],
)
def test_durations_in_words(seconds: float, text: str) -> None:
    assert times.duration(seconds) == text


def test_times_in_relation_to_now() -> None:
    assert times.relative(NOW - timedelta(minutes=22), NOW) == "22 min ago"
    assert times.relative(NOW + timedelta(seconds=41), NOW) == "in 41 s"
    assert times.relative(NOW, NOW) == "just now"
    assert times.relative(NOW, NOW + timedelta(seconds=2)) == "just now"
    assert times.relative(NOW + timedelta(seconds=2), NOW) == "in a moment"


def test_a_time_is_exact_and_relative_at_once() -> None:
    shown = times.stamp(NOW - timedelta(days=400), ZoneInfo("Europe/Berlin"), NOW)
    assert 'datetime="2025-10-18T12:00:00+00:00"' in shown
    assert 'title="18 Oct 2025 14:00:00 CEST"' in shown


@pytest.mark.parametrize(
    ("text", "selection"),
    [
        ("", {}),
        ("01a203ec", {"run_id": "01a203ec"}),
        ("01a203ec-0a04-7839-a6fe-65e9e1b57e80", {"run_id": "01a203ec-0a04-7839-a6fe-65e9e1b57e80"}),
        ("step: capture", {"step": "capture"}),
        ("error:abc", {"error": "abc"}),
        ("Workflow:checkout", {"workflow": "checkout"}),
        ("Order: 7", {"subject": "Order: 7"}),
        ("cafe", {"subject": "cafe"}),
    ],
)
def test_a_search_means_something_that_has_an_index(text: str, selection: dict[str, str]) -> None:
    assert list_address.selected(text) == selection


def test_unknown_words_in_the_address_are_left_out() -> None:
    found = list_address.FilterBar.of({"since": "ever", "size": "1000000", "q": "  x  "}, (25, 50))
    assert (found.since, found.size, found.q) == ("", None, "x")


def test_hiding_reaches_into_lists_and_spares_empty_values() -> None:
    value = {"cards": [{"token": "x", "kind": "visa"}], "token": None, "nested": {"TOKEN": {"a": 1}}}
    hidden = redacted(value, hides=lambda path: str(path[-1]).lower() == "token")
    assert hidden == {"cards": [{"token": REDACTED, "kind": "visa"}], "token": None, "nested": {"TOKEN": REDACTED}}


def test_the_hosts_say_has_the_path_of_each_value() -> None:
    paths: list[Any] = []

    def remember(path: Any, value: Any) -> Any:
        paths.append(path)
        return value

    redacted({"a": [{"b": 1}]}, hides=lambda path: False, replace=remember, path=("payload",))
    assert paths == [("payload",), ("payload", "a"), ("payload", "a", 0), ("payload", "a", 0, "b")]


def test_json_on_a_page_is_indented_marked_and_cut() -> None:
    shown = redacted_documents.shown({"a": [1, True, None], "b": REDACTED, "c": {}, "d": "<i>" + "x" * 500})
    assert '"a": [\n    1,\n    true,\n    null\n  ]'.replace('"', "&#34;") in shown
    assert '<span class="red">redacted</span>' in shown
    assert "&lt;i&gt;" in shown
    assert "103 more characters" in shown


TRACEBACK = """Traceback (most recent call last):
  File "/srv/.venv/lib/python3.12/site-packages/flask_squidmesh/runtime/step_function.py", line 80, in execute
    result = function()
  File "/srv/shop/steps.py", line 12, in capture
    gateway.capture()
    ~~~~~~~^^
  File "/srv/.venv/lib/python3.12/site-packages/httpx/_client.py", line 3, in post
    raise Timeout
httpx.Timeout: too late
"""


def test_own_frames_are_told_from_those_of_libraries() -> None:
    read = redacted_documents.read(TRACEBACK)
    assert len(read.own) == 1
    assert "shop/steps.py" in read.own[0]
    assert "too late" not in read.own[0]
    assert len(read.others) == 2
    assert read.whole == TRACEBACK
