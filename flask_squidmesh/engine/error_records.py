"""Errors as they are stored: those of the engine itself, short forms of large ones, and fingerprints to group by."""

from __future__ import annotations

import hashlib
import re
from typing import Final

from ..definition.values import JsonObject, JsonValue, size_of
from ..errors import ErrorRecord

MOST_COPIED: Final = 10_000
FAILED_BY_OPERATOR = "failed_by_operator"
_VARYING = re.compile(r"0x[0-9a-f]+|[0-9a-f]{8}-[0-9a-f-]{27}|[0-9a-f]{16,}|\d+", re.IGNORECASE)


def error(
    type: str, message: str, *, code: str | None = None, details: JsonValue = None, retryable: bool = False
) -> ErrorRecord:
    """Return an error of the engine itself, as it is stored."""
    return ErrorRecord(type=type, message=message, code=code, details=details, traceback=None, retryable=retryable)


def failed_by_operator(said: str) -> ErrorRecord:
    """Return the error of a step that a person declared failed."""
    return error("FailedByOperator", said, code=FAILED_BY_OPERATOR)


def brief(stored: ErrorRecord, attempt: int) -> ErrorRecord:
    """Return the error without large details, which are kept once, with the attempt that failed."""
    size = size_of(stored.get("details"))
    if size <= MOST_COPIED:
        return stored
    return {**stored, "details": {"omitted": f"They are {size} bytes of JSON and stand with attempt {attempt}."}}


def fingerprint(workflow: str, step: str | None, stored: ErrorRecord) -> str:
    """Return the same text for errors of the same step of a workflow that differ only in numbers and ids."""
    message = _VARYING.sub("#", str(stored.get("message") or ""))
    parts = (workflow, step or "", str(stored.get("type") or ""), str(stored.get("code") or ""), message)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def in_audit(stored: ErrorRecord) -> JsonObject:
    """Return the part of the error that the audit keeps."""
    return {"type": stored.get("type"), "message": stored.get("message"), "code": stored.get("code")}
