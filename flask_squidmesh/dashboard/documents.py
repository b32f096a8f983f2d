"""Payloads, inputs, outputs and errors as a person may see them: redacted, and cut where they are long."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from flask import url_for
from markupsafe import Markup

from ..reading.views import Run, StepRunView
from ..runtime.runtime import current_runtime
from ..store.summaries import RunSummary
from . import json_text, tracebacks
from .access import current_hooks, may, refusal
from .hooks import replacement
from .language import _
from .offers import Button
from .parts import Part
from .redaction import Hides, Path, redacted
from .sentences import error_text


@dataclass(frozen=True, slots=True)
class Document:
    """`text` is markup for a `<pre>`, None where the value is too long to be shown here. part: its name in addresses.

    reveal: what leads to its hidden values; None where there are none, or the person may not see them.
    """

    text: Markup | None
    size: int
    part: str
    reveal: Button | None


@dataclass(frozen=True, slots=True)
class Failure:
    """An error for reading."""

    text: Markup
    code: str | None
    details: Document | None
    traceback: tracebacks.Traceback | None


def visible(run: RunSummary, value: Any, path: Path) -> Any:
    """The value without what is redacted. path: where it stands in the run's JSON."""
    hides, taken = current_runtime().hides, frozenset(_taken_from_secrets(run))
    return _redacted(run, value, path, lambda place: hides(str(place[-1])) or place in taken)


def revealed(run: RunSummary, value: Any, path: Path) -> Any:
    """The value with what is hidden for its name alone; what the host itself hides stays hidden."""
    return _redacted(run, value, path, lambda _place: False)


def _redacted(run: RunSummary, value: Any, path: Path, hides: Hides) -> Any:
    hook = current_hooks().redact
    replace = (lambda place, item: replacement(hook, place, item, run)) if hook else None
    return redacted(value, hides=hides, replace=replace, path=path)


def _taken_from_secrets(run: RunSummary) -> Iterator[Path]:
    """The places of inputs that `input=` takes from under a secret name and hands to a step under another."""
    last: dict[str, StepRunView] = {}
    for index, visit in enumerate(getattr(run, "step_runs", None) or ()):
        yield from (("step_runs", index, "input", name) for name in _secret_inputs(visit))
        if visit.kind == "step":
            last[visit.step] = visit
    for index, step in enumerate(getattr(run, "steps", None) or ()):
        if step.step in last:
            yield from (("steps", index, "input", name) for name in _secret_inputs(last[step.step]))


def _secret_inputs(visit: StepRunView) -> Iterator[str]:
    for name, source in visit.settings.get("sources", {}).items():
        if any(map(current_runtime().hides, source)):
            yield name


class Documents:
    """What one person may see of one run. `refused` is the reason why they may not see its data, or None."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._limit = current_runtime().config.dashboard.payload_inline_limit
        denied = refusal("payload", run)
        self.refused = denied.reason if denied is not None else None
        self._may_reveal = not self.refused and may("reveal", run)

    def document(self, part: Part) -> Document | None:
        """The part for a page; None where there is nothing, or nothing that the person may see."""
        return self._document(part.value, part.path, part.name)

    def failure(self, part: Part) -> Failure | None:
        """The error for a page: its message for everybody who may see the run, the rest for who may see its data."""
        if not part.value:
            return None
        seen = visible(self._run, dict(part.value), part.path)
        if not isinstance(seen, Mapping):
            return Failure(text=error_text(seen), code=None, details=None, traceback=None)
        traceback = None if self.refused else seen.get("traceback")
        return Failure(
            text=error_text(seen),
            code=seen.get("code"),
            details=self._document(part.value.get("details"), (*part.path, "details"), part.name),
            traceback=tracebacks.read(str(traceback)) if traceback else None,
        )

    def _document(self, value: Any, path: Path, name: str) -> Document | None:
        if self.refused or not value:
            return None
        seen = visible(self._run, value, path)
        size = json_text.size(seen)
        text = json_text.shown(seen) if size <= self._limit else None
        hidden = self._may_reveal and seen != revealed(self._run, value, path)
        return Document(text, size, name, self._reveal(name) if hidden else None)

    def _reveal(self, name: str) -> Button:
        return Button(_("Reveal").striptags(), url_for(".reveal", run_id=self._run.id, part=name), "small", "")
