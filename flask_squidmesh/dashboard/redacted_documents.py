"""Payloads, inputs, outputs and errors as a person may see them: redacted, and cut where they are long."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from flask import Response, current_app, url_for
from markupsafe import Markup

from ..errors import UnknownWorkflowError
from ..queries.results import Run, StepRunView
from ..queries.run_snapshot import RunSnapshot
from ..runtime.runtime import current_runtime
from ..storage.summaries import RunSummary
from .authorization import current_hooks, may, refusal
from .available_commands import Button
from .host_hooks import REDACTED, Hides, Path, redacted, replacement
from .text.explanation_text import error_text
from .text.language import _, number
from .text.run_text import fact_of, is_short, label_of

OF_RUN = ("payload", "context")
OF_VISIT = ("input", "output", "error", "failure")


@dataclass(frozen=True, slots=True)
class Part:
    """name: "payload", "context", or "step/<step>/<visit>/<what>", and "compensation/..." for what undoes a step."""

    name: str
    path: Path
    value: object


def of_run(run: Run, what: str) -> Part:
    """Its payload or its context."""
    return Part(what, (what,), getattr(run, what))


def of_visit(run: Run, visit: StepRunView, what: str) -> Part:
    """The input, output, error or failure of a visit; the failure is the error that led to it."""
    return Part(f"{_name(visit)}/{what}", (*_place(run, visit), what), getattr(visit, what))


def of_attempt(run: Run, visit: StepRunView, number: int) -> Part:
    """The error of one attempt."""
    ended = [each.attempt_number for each in visit.attempts]
    index = ended.index(number)
    path = (*_place(run, visit), "attempts", index, "error")
    return Part(f"{_name(visit)}/attempt-{number}", path, visit.attempts[index].error)


def state_seen(look: RunSnapshot, visit: StepRunView) -> Part:
    """The state that the visit saw."""
    return Part(f"{_name(visit)}/state", (*_place(look.run, visit), "state"), look.state_of(visit))


def named(look: RunSnapshot, name: str) -> Part | None:
    """The part of that name; None where the run has none such."""
    if name in OF_RUN:
        return of_run(look.run, name)
    place, _, what = name.rpartition("/")
    visit = next((each for each in look.run.step_runs or () if _name(each) == place), None)
    if visit is None:
        return None
    if what in OF_VISIT:
        return of_visit(look.run, visit, what)
    if what == "state":
        return state_seen(look, visit)
    attempt = next((each for each in visit.attempts if what == f"attempt-{each.attempt_number}"), None)
    return of_attempt(look.run, visit, attempt.attempt_number) if attempt else None


def _name(visit: StepRunView) -> str:
    return f"{visit.kind}/{visit.step}/{visit.visit}"


def _place(run: Run, visit: StepRunView) -> Path:
    return ("step_runs", (run.step_runs or ()).index(visit))


LONGEST_TEXT = 400
INDENT = "  "


def response(value: object) -> Response:
    """The value as a document, under its own names whatever JSON the host's answers are."""
    return current_app.response_class(json.dumps(value), mimetype="application/json")


def shown(value: object, depth: int = 0) -> Markup:
    """The value as markup for a `<pre>`."""
    if value is REDACTED:
        return Markup('<span class="red">{}</span>').format(_("redacted"))
    match value:
        case dict() if value:
            members = (Markup("{}: {}").format(_quoted(key), shown(item, depth + 1)) for key, item in value.items())
            return _block("{", members, "}", depth)
        case list() if value:
            return _block("[", (shown(item, depth + 1) for item in value), "]", depth)
        case str() if len(value) > LONGEST_TEXT:
            return _cut(value)
        case _:
            return Markup("{}").format(_quoted(value))


def text_size(value: object) -> int:
    """How many bytes the value has as JSON."""
    return len(json.dumps(value, default=str).encode())


def _quoted(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def _block(opening: str, items: Iterable[Markup], closing: str, depth: int) -> Markup:
    inner = Markup(",\n" + INDENT * (depth + 1)).join(items)
    return Markup("{}\n{}{}\n{}{}").format(opening, INDENT * (depth + 1), inner, INDENT * depth, closing)


def _cut(text: str) -> Markup:
    rest = _("{count} more characters", count=number(len(text) - LONGEST_TEXT))
    return Markup('{} <span class="red">{}</span>').format(_quoted(text[:LONGEST_TEXT]), rest)


_FRAME = re.compile(r'^  File "(?P<path>[^"]+)", line ', re.MULTILINE)
_OF_LIBRARIES = re.compile(r"[/\\](site-packages|dist-packages|lib[/\\]python3\.\d+|flask_squidmesh)[/\\]|^<frozen ")


@dataclass(frozen=True, slots=True)
class Traceback:
    """`own` and `others` hold frames as Python prints them, newest last; `whole` is the text to copy."""

    own: tuple[str, ...]
    others: tuple[str, ...]
    whole: str


def read(text: str) -> Traceback:
    """Take the text of traceback.format_exception apart."""
    starts = [match.start() for match in _FRAME.finditer(text)]
    frames = [text[start:end] for start, end in pairwise([*starts, len(text)])]
    own = [_frame_alone(frame) for frame in frames if not _is_of_library(frame)]
    others = [_frame_alone(frame) for frame in frames if _is_of_library(frame)]
    return Traceback(tuple(own), tuple(others), text)


def _is_of_library(frame: str) -> bool:
    match = _FRAME.match(frame)
    return match is not None and _OF_LIBRARIES.search(match["path"]) is not None


def _frame_alone(frame: str) -> str:
    """Without the exception's own line, which follows the last frame."""
    lines = frame.splitlines()
    return "\n".join([lines[0], *(line for line in lines[1:] if line.startswith("    "))])


@dataclass(frozen=True, slots=True)
class Document:
    """`text` is markup for a `<pre>`, None where the value is too long to be shown here. part: its name. address: of
    the same as JSON.

    reveal: what leads to its hidden values; None where there are none, or the person may not see them.
    """

    text: Markup | None
    size: int
    part: str
    address: str
    reveal: Button | None


@dataclass(frozen=True, slots=True)
class ErrorDocument:
    """An error for reading."""

    text: Markup
    code: str | None
    details: Document | None
    traceback: Traceback | None


def visible(run: RunSummary, value: object, path: Path) -> object:
    """The value without what is redacted. path: where it stands in the run's JSON."""
    hides, taken = current_runtime().hides, frozenset(_taken_from_secrets(run))
    return _redacted(run, value, path, lambda place: hides(str(place[-1])) or place in taken)


def revealed(run: RunSummary, value: object, path: Path) -> object:
    """The value with what is hidden for its name alone; what the host itself hides stays hidden."""
    return _redacted(run, value, path, lambda _place: False)


def visible_event(payload: object, run: RunSummary | None) -> object:
    """The payload of an event without what is redacted. run: one that it has reached, if there is one."""
    hides = current_runtime().hides
    return _redacted(run, payload, ("payload",), lambda place: hides(str(place[-1])))


def document_of_event(payload: object, run: RunSummary | None, address: str) -> Document | None:
    """The same for a page; None where there is nothing. address: of it as JSON."""
    return _document(visible_event(payload, run), "payload", address) if payload else None


def _document(seen: object, name: str, address: str, reveal: Button | None = None) -> Document:
    size = text_size(seen)
    fits = size <= current_runtime().config.dashboard.payload_inline_limit
    return Document(shown(seen) if fits else None, size, name, address, reveal)


def _redacted(run: RunSummary | None, value: object, path: Path, hides: Hides) -> object:
    hook = current_hooks().redact
    replace = (lambda place, item: replacement(hook, place, item, run)) if hook else None
    return redacted(value, hides=hides, replace=replace, path=path)


def _taken_from_secrets(run: RunSummary) -> Iterator[Path]:
    """The places of inputs that `input=` takes from under a secret name and hands to a step under another."""
    last: dict[str, StepRunView] = {}
    visits = getattr(run, "step_runs", None) or ()
    for index, visit in enumerate(visits):
        yield from (("step_runs", index, "input", name) for name in _secret_inputs(visit))
        for name in _secret_fields(run, visit):
            yield from _places_of_field(index, visit, name, len(visits))
        if visit.kind == "step":
            last[visit.step] = visit
    for index, step in enumerate(getattr(run, "steps", None) or ()):
        if step.step in last:
            yield from (("steps", index, "input", name) for name in _secret_inputs(last[step.step]))
            for name in _secret_fields(run, last[step.step]):
                yield from _in_record(("steps", index, "output"), last[step.step], name)


def _secret_fields(run: RunSummary, visit: StepRunView) -> Iterator[str]:
    """The fields of a form that begin with a value that stands under a secret name in the run's state."""
    if visit.decision and visit.decision.get("values"):
        for name, source in form_sources(run.workflow, visit.step).items():
            if any(map(current_runtime().hides, source)):
                yield name


def _places_of_field(index: int, visit: StepRunView, name: str, visits: int) -> Iterator[Path]:
    """Where a run tells of a field: as it was asked, as it was answered, and in what was made of the answer."""
    yield ("step_runs", index, "decision", "values", name)
    yield ("explanation", "evidence", "step_run", "decision", "values", name)
    yield from _in_record(("step_runs", index, "output"), visit, name)
    yield from _in_record(("context",), visit, name)
    for later in range(visits):
        yield from _in_record(("step_runs", later, "state"), visit, name)


def _in_record(place: Path, visit: StepRunView, name: str) -> Iterator[Path]:
    key = visit.decision["output_key"] if visit.decision else None
    yield (*place, *((key,) if key else ()), "answer", name)
    yield (*place, name)


def form_sources(workflow: str, step: str) -> Mapping[str, Sequence[str]]:
    """Which paths of the state the fields of a step's forms begin with, as it is declared now."""
    try:
        declared = current_runtime().registry.get(workflow).steps.get(step)
    except UnknownWorkflowError:
        return {}
    return declared.form_input if declared else {}


def _secret_inputs(visit: StepRunView) -> Iterator[str]:
    for name, source in visit.settings.get("sources", {}).items():
        if any(map(current_runtime().hides, source)):
            yield name


MOST_FACTS = 8


def facts_of(run: Run, documents: Documents) -> list[tuple[str, str]]:
    """What the run is about in a few words: what is short of its payload."""
    seen = None if documents.refused else visible(run, run.payload, ("payload",))
    members = seen.items() if isinstance(seen, dict) else ()
    found = [(name, value) for name, value in members if value is not REDACTED and is_short(value)]
    return [(label_of(name), fact_of(value)) for name, value in found[:MOST_FACTS]]


class Documents:
    """What one person may see of one run. `refused` is the reason why they may not see its data, or None."""

    def __init__(self, run: Run) -> None:
        self._run = run
        denied = refusal("payload", run)
        self.refused = denied.reason if denied is not None else None
        self._may_reveal = not self.refused and may("reveal", run)

    def document(self, part: Part) -> Document | None:
        """The part for a page; None where there is nothing, or nothing that the person may see."""
        return self._document(part.value, part.path, part.name)

    def failure(self, part: Part) -> ErrorDocument | None:
        """The error for a page: its message for everybody who may see the run, the rest for who may see its data."""
        if not isinstance(part.value, Mapping) or not part.value:
            return None
        seen = visible(self._run, dict(part.value), part.path)
        if not isinstance(seen, Mapping):
            return ErrorDocument(text=error_text(seen), code=None, details=None, traceback=None)
        traceback = None if self.refused else seen.get("traceback")
        return ErrorDocument(
            text=error_text(seen),
            code=seen.get("code"),
            details=self._document(part.value.get("details"), (*part.path, "details"), part.name),
            traceback=read(str(traceback)) if traceback else None,
        )

    def _document(self, value: object, path: Path, name: str) -> Document | None:
        if self.refused or not value:
            return None
        seen = visible(self._run, value, path)
        hidden = self._may_reveal and seen != revealed(self._run, value, path)
        address = url_for(".payload", run_id=self._run.id, part=name)
        return _document(seen, name, address, self._reveal(name) if hidden else None)

    def _reveal(self, name: str) -> Button:
        return Button(_("Reveal").striptags(), url_for(".reveal", run_id=self._run.id, part=name), "small", "")
