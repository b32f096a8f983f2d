"""The boundary to a host's queue: payloads, the base class, and how the setting is resolved."""

from __future__ import annotations

import json
import sys
import types
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from flask_squidmesh.errors import ConfigurationError, PayloadError
from flask_squidmesh.executor import Executor, Payload, check_payload, resolve

RUN_ID = "01910000-0000-7000-8000-000000000001"


@dataclass(frozen=True)
class SomeRun:
    id: str = RUN_ID


class Recording(Executor):
    def __init__(self) -> None:
        self.jobs: list[tuple[Payload, float | None]] = []

    def enqueue(self, payload, *, schedule_in=None):
        self.jobs.append((payload, schedule_in))
        return {"job_id": len(self.jobs)}


class FourMethods:
    """No Executor, but able to do its work."""

    color = "red"

    def enqueue_step(self, run, step, *, schedule_in=None):
        return {"step": step, "schedule_in": schedule_in}

    def enqueue_steps(self, run, steps, *, schedule_in=None):
        return [self.enqueue_step(run, step, schedule_in=schedule_in) for step in steps]

    def enqueue_compensation(self, run, *, schedule_in=None):
        return {"compensation": run.id}

    def enqueue_cron(self, workflow, trigger, *, schedule_in=None, intended_window=None, signal_id=None):
        return {"cron": trigger, "signal_id": signal_id}


class Continuing(FourMethods):
    def continues(self, run, step):
        return step == "next"


class Halfway:
    def enqueue_step(self, run, step, *, schedule_in=None):
        return {}


class Unfinished(Executor):
    def enqueue_step(self, run, step, *, schedule_in=None):
        return {}


class NeedsUrl(Recording):
    def __init__(self, url: str) -> None:
        super().__init__()


@pytest.fixture
def module() -> Iterator[str]:
    """Name of an importable module that has executors."""
    made = types.ModuleType("shop_jobs_of_a_test")
    made.__dict__.update(Recording=Recording, ready=FourMethods(), function=lambda: None, number=3, text="database")
    sys.modules[made.__name__] = made
    yield made.__name__
    del sys.modules[made.__name__]


@pytest.mark.rule("executor-payloads")
def test_payloads_are_what_json_brings_back() -> None:
    payloads = [
        Payload.step(SomeRun(), "reserve"),
        Payload.compensation(SomeRun()),
        Payload.cron("digest", "daily"),
        Payload.cron("digest", "daily", datetime(2026, 11, 2, 9, tzinfo=UTC), "tick-7"),
    ]
    assert payloads == [
        {"kind": "step", "run_id": RUN_ID, "step": "reserve"},
        {"kind": "compensation", "run_id": RUN_ID},
        {"kind": "cron", "workflow": "digest", "trigger": "daily"},
        {
            "kind": "cron",
            "workflow": "digest",
            "trigger": "daily",
            "intended_window": "2026-11-02T09:00:00+00:00",
            "signal_id": "tick-7",
        },
    ]
    assert [check_payload(json.loads(json.dumps(payload))) for payload in payloads] == payloads


@pytest.mark.rule("executor-enqueue")
def test_a_base_class_needs_only_enqueue() -> None:
    queue = Recording()
    queue.enqueue_step(SomeRun(), "reserve", schedule_in=5)
    assert queue.enqueue_steps(SomeRun(), ["a", "b"]) == [{"job_id": 2}, {"job_id": 3}]
    queue.enqueue_compensation(SomeRun())
    queue.enqueue_cron("digest", "daily", signal_id="tick-7")
    assert queue.jobs == [
        (Payload.step(SomeRun(), "reserve"), 5),
        (Payload.step(SomeRun(), "a"), None),
        (Payload.step(SomeRun(), "b"), None),
        (Payload.compensation(SomeRun()), None),
        (Payload.cron("digest", "daily", signal_id="tick-7"), None),
    ]


def test_a_hosts_own_executor_routes_every_step() -> None:
    assert Recording().continues(SomeRun(), "reserve") is False


@pytest.mark.rule("executor-payloads")
def test_keys_that_are_not_known_are_left_out() -> None:
    assert check_payload({**Payload.compensation(SomeRun()), "queue": "slow"}) == Payload.compensation(SomeRun())


def test_ids_come_back_in_their_usual_form() -> None:
    assert check_payload({"kind": "compensation", "run_id": UUID(RUN_ID).hex.upper()})["run_id"] == RUN_ID


@pytest.mark.rule("perform-malformed")
@pytest.mark.parametrize(
    ("payload", "missing", "wrong"),
    [
        (None, [], []),
        ("step", [], []),
        ({}, ["kind"], []),
        ({"kind": "start"}, [], ["kind"]),
        ({"kind": ["step"]}, [], ["kind"]),
        ({"kind": "step"}, ["run_id", "step"], []),
        ({"kind": "step", "run_id": RUN_ID, "step": 3}, [], ["step"]),
        ({"kind": "step", "run_id": RUN_ID, "step": ""}, [], ["step"]),
        ({"kind": "step", "run_id": "o-1", "step": "reserve"}, [], ["run_id"]),
        ({"kind": "compensation", "run_id": None}, [], ["run_id"]),
        ({"kind": "cron", "workflow": "digest"}, ["trigger"], []),
        (
            {"kind": "cron", "workflow": "digest", "trigger": "daily", "intended_window": "soon"},
            [],
            ["intended_window"],
        ),
        ({"kind": "cron", "workflow": "digest", "trigger": "daily", "signal_id": 7}, [], ["signal_id"]),
    ],
)
def test_a_malformed_payload_is_refused(payload: Any, missing: list[str], wrong: list[str]) -> None:
    with pytest.raises(PayloadError, match="Pass it to perform unchanged") as refusal:
        check_payload(payload)
    assert refusal.value.missing_fields == missing
    assert list(refusal.value.invalid_types) == wrong


@pytest.mark.parametrize("setting", [Recording, Recording()])
def test_classes_and_instances_serve(setting: Any) -> None:
    assert isinstance(resolve(setting), Recording)


@pytest.mark.parametrize("separator", [":", "."])
def test_an_import_string_leads_to_a_class(module: str, separator: str) -> None:
    assert isinstance(resolve(f"{module}{separator}Recording"), Recording)


def test_an_import_string_leads_to_an_instance(module: str) -> None:
    assert resolve(f"{module}:ready").enqueue_step(SomeRun(), "a") == {"step": "a", "schedule_in": None}


@pytest.mark.rule("executor-duck")
def test_a_class_with_the_four_methods_serves_without_deriving() -> None:
    executor = resolve(FourMethods)
    assert isinstance(executor, Executor)
    assert executor.enqueue_steps(SomeRun(), ["a"], schedule_in=2) == [{"step": "a", "schedule_in": 2}]
    assert executor.enqueue_compensation(SomeRun()) == {"compensation": RUN_ID}
    assert executor.enqueue_cron("digest", "daily", signal_id="7") == {"cron": "daily", "signal_id": "7"}
    assert executor.continues(SomeRun(), "next") is False
    assert executor.color == "red"  # type: ignore[attr-defined]
    assert not hasattr(executor, "enqueue_in")


def test_a_class_with_the_four_methods_may_say_whether_it_continues() -> None:
    executor = resolve(Continuing)
    assert executor.continues(SomeRun(), "next") is executor.takes_over(SomeRun(), "next") is True
    assert executor.continues(SomeRun(), "other") is executor.takes_over(SomeRun(), "other") is False


def test_the_database_executor_is_known_by_name() -> None:
    assert type(resolve("database")).__name__ == "DatabaseExecutor"


@pytest.mark.rule("executor-refused")
@pytest.mark.parametrize(
    ("setting", "said"),
    [
        (Unfinished, r"Unfinished, which lacks enqueue\. Write it\."),
        (Halfway, r"Halfway, which lacks enqueue_steps, enqueue_compensation, enqueue_cron\. .*derive from Executor"),
        (Halfway(), r"lacks enqueue_steps"),
        (NeedsUrl, r"NeedsUrl, which could not be made without arguments \(TypeError: .*url.*an instance instead"),
        (lambda: None, r"leads to a function\. It must lead to a class or an instance"),
        ("queue", r"neither one of 'database', 'procrastinate', 'celery' nor an import string"),
        (":Queue", r"nor an import string"),
        ("no_such_module_here:Queue", r"the module no_such_module_here, whose import failed \(ModuleNotFoundError"),
        ("json:Queue", r"Queue in the module json, which has no such name"),
    ],
)
def test_an_executor_that_cannot_serve_is_refused(setting: Any, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        resolve(setting)


@pytest.mark.parametrize("name", ["function", "number", "text"])
def test_an_import_string_must_lead_to_a_class_or_an_instance(module: str, name: str) -> None:
    with pytest.raises(ConfigurationError, match="It must lead to a class or an instance"):
        resolve(f"{module}:{name}")
