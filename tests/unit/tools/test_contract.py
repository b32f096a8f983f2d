"""What every adapter is held to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import FrozenInstanceError
from typing import Any

import pytest

from flask_squidmesh import FailStep, RetryStep
from flask_squidmesh.tools import ToolError, ToolResult, invoke


class Echo:
    """An adapter that gives back what it was given."""

    name = "echo"

    def invoke(self, request: Mapping[str, Any], context: Mapping[str, Any]) -> ToolResult:
        return ToolResult(adapter=self.name, payload={**request}, metadata={**context})


class Mute:
    def invoke(self, request: Mapping[str, Any], context: Mapping[str, Any]) -> Any:
        return {"payload": "not a ToolResult"}


def refused(adapter: Any, request: Any, context: Any = None) -> ToolError:
    with pytest.raises(ToolError) as caught:
        invoke(adapter, request, context)
    return caught.value


@pytest.mark.rule("tools-mappings")
def test_an_adapter_is_given_the_request_and_the_context() -> None:
    result = invoke(Echo(), {"sku": "kettle"}, {"run_id": "r-1"})
    assert result.to_dict() == {"adapter": "echo", "payload": {"sku": "kettle"}, "metadata": {"run_id": "r-1"}}


def test_the_context_may_be_left_out() -> None:
    assert invoke(Echo(), {}).metadata == {}


def test_results_are_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        invoke(Echo(), {}).adapter = "other"  # type: ignore[misc]


@pytest.mark.rule("tools-mappings")
@pytest.mark.parametrize(
    ("request_", "context", "kind"),
    [(["kettle"], None, "invalid_request"), (None, None, "invalid_request"), ({}, "r-1", "invalid_context")],
)
def test_request_and_context_must_be_mappings(request_: Any, context: Any, kind: str) -> None:
    error = refused(Echo(), request_, context)
    assert (error.kind, error.retryable, error.certain, error.adapter) == (kind, False, True, "echo")
    assert "Pass a mapping" in error.message


def test_an_adapter_that_cannot_be_invoked_breaks_the_contract() -> None:
    error = refused(object(), {})
    assert (error.kind, error.retryable, error.certain, error.adapter) == ("adapter_contract", False, True, "object")


@pytest.mark.rule("tools-contract")
def test_an_adapter_that_answers_anything_else_breaks_the_contract_and_may_have_done_its_work() -> None:
    error = refused(Mute(), {})
    assert (error.kind, error.retryable, error.certain) == ("adapter_contract", False, False)
    assert "ToolResult" in error.message


def test_an_error_is_json() -> None:
    error = ToolError("busy", adapter="echo", kind="http", details={"status": 503}, retryable=True, retry_after=2.0)
    assert json.loads(json.dumps(error.to_dict())) == {
        "adapter": "echo",
        "kind": "http",
        "message": "busy",
        "details": {"status": 503},
        "retryable": True,
        "retry_after": 2.0,
        "certain": False,
    }


def test_a_certain_retryable_error_asks_for_a_retry() -> None:
    error = ToolError("busy", adapter="echo", kind="http", retryable=True, retry_after=2.0, certain=True)
    signal = error.as_step_signal()
    assert isinstance(signal, RetryStep)
    assert (signal.after, signal.code, str(signal)) == (2.0, "http", "busy")


def test_a_certain_final_error_fails_the_step() -> None:
    signal = ToolError("no", adapter="echo", kind="http", details={"status": 402}, certain=True).as_step_signal()
    assert isinstance(signal, FailStep)
    assert (signal.code, signal.details) == ("http", {"status": 402})


def test_an_uncertain_error_stays_what_it_is() -> None:
    error = ToolError("late", adapter="echo", kind="timeout", retryable=True)
    assert error.as_step_signal() is error
