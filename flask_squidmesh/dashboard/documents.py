"""Payloads, inputs, outputs and errors as a person may see them: redacted, and cut where they are long."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from ..reading.views import Run
from ..runtime.runtime import current_runtime
from ..store.summaries import RunSummary
from . import json_text, tracebacks
from .access import current_hooks, refusal
from .redaction import Path, redacted
from .sentences import error_text


@dataclass(frozen=True, slots=True)
class Document:
    """`text` is markup for a `<pre>`, None where the value is too long to be shown here."""

    text: Markup | None
    size: int


@dataclass(frozen=True, slots=True)
class Failure:
    """An error for reading."""

    text: Markup
    code: str | None
    details: Document | None
    traceback: tracebacks.Traceback | None


def visible(run: RunSummary, value: Any, path: Path) -> Any:
    """The value without what is redacted. path: where it stands in the run's JSON."""
    redact = current_hooks().redact
    replace = (lambda place, item: redact(place, item, run)) if redact else None
    return redacted(value, keys=current_runtime().config.dashboard.redact_keys, replace=replace, path=path)


class Documents:
    """What one person may see of one run. `refused` is the reason why they may not see its data, or None."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._limit = current_runtime().config.dashboard.payload_inline_limit
        denied = refusal("payload", run)
        self.refused = denied.reason if denied is not None else None

    def document(self, value: Any, *path: str | int) -> Document | None:
        """The value for a page; None where there is nothing, or nothing that the person may see."""
        if self.refused or not value:
            return None
        seen = visible(self._run, value, path)
        size = json_text.size(seen)
        return Document(json_text.shown(seen) if size <= self._limit else None, size)

    def failure(self, error: Mapping[str, Any] | None, *path: str | int) -> Failure | None:
        """The error for a page: its message for everybody who may see the run, the rest for who may see its data."""
        if not error:
            return None
        seen = visible(self._run, dict(error), path)
        traceback = None if self.refused else seen.get("traceback")
        return Failure(
            text=error_text(seen),
            code=seen.get("code"),
            details=self.document(error.get("details"), *path, "details"),
            traceback=tracebacks.read(str(traceback)) if traceback else None,
        )
