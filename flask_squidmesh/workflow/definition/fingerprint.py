"""A hash of what a definition does, so that a run can tell that it changed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .. import values
from ..spec import Condition, RetryPolicy, StepSpec


def fingerprint(style: str, entry: Iterable[str], steps: Mapping[str, StepSpec]) -> str:
    """The same in every process; wording, docstrings and function bodies do not count."""
    return values.fingerprint(
        {"style": style, "entry": sorted(entry), "steps": {name: _step(step) for name, step in steps.items()}}
    )


def _step(step: StepSpec) -> dict[str, Any]:
    compensate = step.compensate
    return {
        "kind": step.kind,
        "aliases": sorted(step.aliases),
        "output": step.output,
        "after": sorted(step.after),
        "ok": [[route.target, _condition(route.condition)] for route in step.ok],
        "error": [step.error.target, step.error.recovery] if step.error else None,
        "retry": _retry(step.retry),
        "irreversible": step.irreversible,
        "compensatable": step.compensatable,
        "compensate": [compensate.name, _retry(compensate.retry)] if compensate else None,
        "transaction": step.transaction,
        "approvals": [step.approvals, step.not_starter],
        "duration": step.duration,
        "max_visits": step.max_visits,
    }


def _condition(condition: Condition | None) -> list[Any] | None:
    return [condition.path, condition.operator, condition.value] if condition else None


def _retry(policy: RetryPolicy) -> list[Any]:
    backoff = [policy.backoff.first, policy.backoff.most] if policy.backoff else None
    return [
        policy.max_attempts,
        backoff,
        policy.jitter,
        [f"{each.__module__}.{each.__qualname__}" for each in policy.on],
    ]
