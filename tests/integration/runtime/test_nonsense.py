"""What a caller gives by mistake is answered with an error of ours, whatever it is, and on both databases alike."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from flask_squidmesh import (
    Approval,
    ConfigurationError,
    Cron,
    Log,
    Manual,
    RunFilters,
    SquidMesh,
    SquidMeshError,
    UnknownWorkflowError,
    Workflow,
)
from tests.shop import Order, Shop

OpenShop = Callable[..., Shop]

CALLS = (
    *("start_run", "inspect_run", "explain_run", "inspect_graph", "list_runs", "prune", "perform", "enqueue_cron"),
    *(
        "approve_run",
        "reject_run",
        "unblock_run",
        "cancel_run",
        "replay_run",
        "retry_step",
        "resolve_step",
        "fail_step",
    ),
    *("retry_compensation", "acknowledge_run", "pause_schedule", "resume_schedule"),
)
NEVER_NONSENSE = ("session", "self", "filters", "dry_run")
DEEP: Any = []
for _ in range(5_000):
    DEEP = [DEEP]


NONSENSE: dict[str, Any] = {
    **{"empty": "", "blank": " ", "nul": "\0", "half": "\ud800", "long": "x" * 10_000, "digits": "9" * 5_000},
    **{"zero": 0, "negative": -1, "huge": 10**40, "fraction": 1.5, "nan": float("nan"), "infinite": float("inf")},
    **{"true": True, "bytes": b"\xff", "decimal": Decimal("NaN"), "object": object()},
    **{"list": [], "listed": ["x", None], "nested": [["x"]], "set": {"\0"}, "mapping": {}, "odd": {1: {2: object()}}},
    **{"deep": DEEP, "function": len, "class": int, "workflow": Workflow, "generator": (each for each in "ab")},
    **{
        "first": datetime.min.replace(tzinfo=UTC),
        "last": datetime.max.replace(tzinfo=UTC),
        "naive": datetime(2026, 1, 1),
    },
    **{"span": timedelta.max, "back": timedelta.min},
}


class Reviewing(Workflow):
    place = Manual(Order)
    nightly = Cron("0 3 * * *")
    review = Approval("Good?")
    well = Log("It was good")
    ill = Log("It was not")
    flow = [review >> well, review.on_reject >> ill]


def keywords(call: str) -> Iterator[str]:
    for name in inspect.signature(getattr(SquidMesh, call)).parameters:
        if name not in NEVER_NONSENSE:
            yield name
    if call == "list_runs":
        yield from RunFilters.__annotations__


def sound(call: str, run_id: str) -> dict[str, Any]:
    """Keywords with which the call would be right, as far as it needs some."""
    needed: dict[str, dict[str, Any]] = {
        "start_run": {"workflow": Reviewing, "payload": {"order_id": "o-1"}},
        "list_runs": {},
        "prune": {"older_than": timedelta(days=1)},
        "perform": {"payload": {"kind": "compensation", "run_id": run_id}},
        "enqueue_cron": {"workflow": Reviewing, "trigger": "nightly"},
        "pause_schedule": {"workflow": Reviewing, "trigger": "nightly", "actor": "dana"},
        "resume_schedule": {"workflow": Reviewing, "trigger": "nightly", "actor": "dana"},
    }
    reading = call.startswith(("inspect", "explain"))
    return needed.get(call, {"run_id": run_id} if reading else {"run_id": run_id, "actor": "dana"})


@pytest.mark.parametrize("call", CALLS)
def test_nonsense_is_answered_with_an_error_of_ours(open_shop: OpenShop, call: str) -> None:
    shop = open_shop(Reviewing)
    run_id = shop.run("reviewing")
    wrong: list[str] = []
    for keyword in keywords(call):
        for name, value in NONSENSE.items():
            try:
                getattr(shop.mesh, call)(**{**sound(call, run_id), keyword: value})
            except SquidMeshError:
                continue
            except Exception as error:
                wrong.append(f"{call}({keyword}={name}): {type(error).__name__}")
    assert not wrong, "\n".join(wrong)


def test_registering_what_is_no_workflow_says_so() -> None:
    mesh = SquidMesh()
    for nonsense in ((), ("checkout",), (None,), (Workflow,), ([Reviewing],)):
        with pytest.raises(ConfigurationError):
            mesh.register(*nonsense)


def test_the_base_class_is_no_workflow(open_shop: OpenShop) -> None:
    with pytest.raises(UnknownWorkflowError):
        open_shop(Reviewing).mesh.start_run(Workflow, {})
