"""The form of an option: drawn from the schema that was stored when it was asked, filled in, read and checked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, cast

from markupsafe import Markup
from pydantic import BaseModel

from ..definition.values import JsonObject, JsonValue
from ..engine.waits import options_of
from ..errors import PayloadError, UnknownWorkflowError
from ..queries.results import DecisionAsked, Run, StepRunView
from ..runtime.runtime import current_runtime
from . import payload_form
from .host_hooks import REDACTED, Path
from .payload_form import Field, FieldChange, JsonSchema
from .redacted_documents import form_sources, visible
from .text.explanation_text import name_of
from .text.language import _, in_english

PREFIX = "answer"


@dataclass(slots=True)
class AnswerForm:
    """What an option asks for. prefix: what the names of its fields in the page's form begin with, the same for all
    options that ask for the same. values: what its fields begin with. rest: what is wrong and belongs to no field."""

    prefix: str
    model: type[BaseModel] | None
    fields: list[Field]
    values: Mapping[str, JsonValue]
    rest: list[str] = field(default_factory=list)

    @property
    def is_wrong(self) -> bool:
        """Whether something has been noted."""
        return bool(self.rest) or any(each.problem for each in self.fields)

    @property
    def needs_filling(self) -> bool:
        """Whether something has to be filled in that is not."""
        return any(each.required and each.is_blank and not each.concealed for each in self.fields)

    def read(self, sent: payload_form.Form) -> JsonObject:
        """What was filled in; what cannot be read, or is missing, is noted with its field."""
        found = payload_form.read(self.fields, sent)
        for each in self.fields:
            if each.concealed and each.is_blank:
                found.pop(each.name, None)
            elif each.required and each.is_blank:
                each.problem = each.problem or payload_form.missing()
            elif each.is_blank and each.name in self.values:
                found[each.name] = _BLANK.get(each.kind)
        return found

    def note(self, error: PayloadError) -> None:
        """Note what the model says, each with its field; one that a deploy has added gets a field of its own."""
        said = {
            **dict.fromkeys(error.missing_fields, payload_form.missing()),
            **{name: in_english(text) for name, text in error.invalid_types.items()},
        }
        drawn = {each.name for each in self.fields}
        added = {path.partition(".")[0] for path in said} - drawn
        if self.model is not None and added:
            declared = payload_form.fields(self.model, current_runtime().hides)
            for each in declared:
                if each.name in added:
                    each.prefix = self.prefix
                    self.fields.append(each)
        gone = [_("The form does not take {name} any more.", name=name) for name in error.unknown_fields]
        self.rest += [*payload_form.note(self.fields, said), *gone]
        if not self.is_wrong:
            self.rest.append(in_english(str(error)))


_BLANK: Mapping[str, JsonValue] = {"text": "", "long": "", "lines": []}
"""What an emptied field says, of one that began with a value; the others say null."""


def form_of(run: Run, decision: DecisionAsked, step: str, option: str) -> AnswerForm | None:
    """The form of an option as it begins, for the person at the page; None where it has none."""
    kept = next((each for each in options_of(decision) if each["name"] == option), None)  # type: ignore[arg-type]
    if kept is None or "form" not in kept:
        return None
    values, hides = dict(decision.get("values") or {}), current_runtime().hides
    first = next(each["name"] for each in options_of(decision) if each.get("form") == kept["form"])  # type: ignore[arg-type]
    prefix = f"{PREFIX}.{step}.{first}."
    fields = payload_form.fields_of(cast(JsonSchema, kept["form"]), hides, prefix)
    sources = form_sources(run.workflow, step)
    for each in fields:
        if each.name not in values:
            continue
        secret = any(map(hides, (each.name, *sources.get(each.name, ()))))
        seen = REDACTED if secret else _seen(run, step, values[each.name], ("values", each.name))
        if payload_form.is_hidden(seen) or seen != values[each.name]:
            each.value, each.chosen, each.concealed = "", [], True
            continue
        payload_form.fill(each, seen)
        each.change = _change(run, step, each, values[each.name])
    return AnswerForm(prefix, _model(run, step, option), fields, values)


def _seen(run: Run, step: str, value: object, path: Path) -> object:
    """The value as far as the person may see it; it stands in the decision of the step's last visit."""
    visits = run.step_runs or ()
    index = max((at for at, each in enumerate(visits) if each.step == step), default=0)
    return visible(run, value, ("step_runs", index, "decision", *path))


def _model(run: Run, step: str, option: str) -> type[BaseModel] | None:
    """The form as it is deployed now."""
    try:
        declared = current_runtime().registry.get(run.workflow).steps.get(step)
    except UnknownWorkflowError:
        return None
    asked = declared.option(option) if declared else None
    return asked.form if asked else None


def _change(run: Run, step: str, drawn: Field, now: JsonValue) -> FieldChange | None:
    """What the value was when it was asked for before, and who has changed it, as the run's history tells it."""
    for before, at, visit in _earlier(run):
        answer, began = answer_of(visit), before.get("values") or {}
        old = began.get(drawn.name)
        if old is None or _same(old, now):
            continue
        seen = visible(run, old, ("step_runs", at, "decision", "values", drawn.name))
        if seen != old:
            return None
        changed_here = drawn.name in answer and _same(answer[drawn.name], now) and visit.manual is not None
        by = visit.manual if changed_here else None
        who = name_of(by.get("actor")) if by else None
        return FieldChange(_said(old), _said(now), who, datetime.fromisoformat(by["at"]) if by else None)
    return None


def _earlier(run: Run) -> Iterator[tuple[DecisionAsked, int, StepRunView]]:
    """The decisions that were taken, newest first."""
    for at, visit in reversed([*enumerate(run.step_runs or ())]):
        if visit.kind == "step" and visit.decision and visit.status == "completed":
            yield visit.decision, at, visit


def answer_of(visit: StepRunView) -> Mapping[str, JsonValue]:
    """What was filled in at a decision that was taken."""
    output: Mapping[str, Any] = visit.output or {}
    key = visit.decision["output_key"] if visit.decision else None
    record = output.get(key) if key else output
    answer = record.get("answer") if isinstance(record, Mapping) else None
    return answer if isinstance(answer, Mapping) else {}


def _same(one: JsonValue, other: JsonValue) -> bool:
    return one == other or str(one) == str(other)


def _said(value: JsonValue) -> str:
    if isinstance(value, bool):
        return str(Markup(_("yes") if value else _("no")))
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
