"""Errors as they are stored, and what makes two of them the same."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any, Final

from ..workflow.values import size_of

MOST_COPIED: Final = 10_000
FAILED_BY_OPERATOR = "failed_by_operator"
_VARYING = re.compile(r"0x[0-9a-f]+|[0-9a-f]{8}-[0-9a-f-]{27}|[0-9a-f]{16,}|\d+", re.IGNORECASE)


def error(
    type: str, message: str, *, code: str | None = None, details: Any = None, retryable: bool = False
) -> dict[str, Any]:
    """An error of our own as it is stored."""
    return {
        "type": type,
        "message": message,
        "code": code,
        "details": details,
        "traceback": None,
        "retryable": retryable,
    }


def failed_by_operator(said: str) -> dict[str, Any]:
    """The error of a step that a person counts as failed."""
    return error("FailedByOperator", said, code=FAILED_BY_OPERATOR)


def brief(stored: Mapping[str, Any], attempt: int) -> Mapping[str, Any]:
    """The error without bulky details, which are kept once, with the attempt that failed."""
    size = size_of(stored.get("details"))
    if size <= MOST_COPIED:
        return stored
    return {**stored, "details": {"omitted": f"They are {size} bytes of JSON and stand with attempt {attempt}."}}


def fingerprint(workflow: str, step: str | None, stored: Mapping[str, Any]) -> str:
    """The same text for errors that differ only in numbers and ids, at the same step of the same workflow."""
    message = _VARYING.sub("#", str(stored.get("message") or ""))
    parts = (workflow, step or "", str(stored.get("type") or ""), str(stored.get("code") or ""), message)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
