"""What a list can be narrowed to, checked before any query."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import chain, product
from typing import TypedDict
from uuid import UUID

import sqlalchemy as sa

from ..definition import Workflow
from ..definition.values import is_storable
from ..engine.transitions import RUN_MOVES
from ..errors import FilterError, given
from ..storage.scope import Scope
from ..storage.tables import WorkflowRun
from .operator_status import OPERATOR_WORDS, STUCK_AFTER, moments, word_alternatives

NEEDS = ("decision", "resume", "interrupted", "incident", "failed", "compensation_failed")
_NO_STATUS = ("",)
_BEFORE_COMPLETION = tuple(status for status in RUN_MOVES if status != "completed")
_HIGHEST_CHARACTER = "\U0010ffff"

Condition = sa.ColumnElement[bool]


WorkflowFilter = str | type[Workflow] | Iterable[str]


class RunFilters(TypedDict, total=False):
    """What a list of runs can be narrowed to; what is None is left out.

    status, workflow, needs: a name or several; a workflow's class stands for all its names, and one that is not
    registered any more is found by the name it had. needs=True: whatever it needs. outcome: how a completed run says
    to have ended, a word or several. subject, run_id: how they begin.
    error: a fingerprint. step: where the run is. trigger: what started it. since, until: when the run was created,
    the latter excluded.
    """

    status: str | Iterable[str] | None
    workflow: WorkflowFilter | None
    needs: str | Iterable[str] | bool | None
    outcome: str | Iterable[str] | None
    subject: str | None
    run_id: str | UUID | None
    error: str | None
    step: str | None
    trigger: str | None
    since: datetime | None
    until: datetime | None


class Filters(RunFilters, total=False):
    """The filters that pages have beside those of Python calls.

    word: an operator word, which depends on `now`; stuck_after: seconds after which work that nobody takes is stuck.
    """

    word: str | None
    now: datetime | None
    stuck_after: float


@dataclass(frozen=True, slots=True)
class Selection:
    """Checked filters: the statuses and workflows they leave, empty for all, the word's alternatives, and the rest.

    scope: what of it all may be known of.
    """

    scope: Scope
    statuses: tuple[str, ...]
    workflows: tuple[str, ...]
    of_word: tuple[Condition, ...]
    others: tuple[Condition, ...]

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """All but the statuses."""
        workflow = [WorkflowRun.workflow.in_(self.workflows)] if self.workflows else []
        return (
            *self.scope.within(WorkflowRun),
            *workflow,
            *self.others,
            *([sa.or_(*self.of_word)] if self.of_word else []),
        )

    @property
    def parts(self) -> list[tuple[Condition, ...]]:
        """Conditions that share no run: for each status of each workflow, or for each alternative of the word."""
        by_workflow = [[WorkflowRun.workflow == name] for name in self.workflows] or [[]]
        narrowed = bool(self.workflows) or not self.scope.is_all
        statuses = self.statuses or (tuple(RUN_MOVES) if narrowed and not self.of_word else ())
        by_status = [[WorkflowRun.status == status] for status in statuses] or [[]]
        by_word = [[alternative] for alternative in self.of_word] or [[]]
        alternatives = product(self.scope.apart(WorkflowRun), by_workflow, by_status, by_word)
        return [(*chain(*part), *self.others) for part in alternatives]


def select_by(dialect: str, scope: Scope, filters: Filters) -> Selection:
    """Check the filters and turn them into SQL, which takes `moments_of` the filters. Raises FilterError."""
    unknown = set(filters) - Filters.__annotations__.keys()
    if unknown:
        known = ", ".join(Filters.__annotations__)
        raise FilterError(min(unknown), f"There is no filter {min(unknown)!r}. The filters are {known}.")
    asked = {name: value for name, value in filters.items() if value is not None}
    conditions = [make(asked[name], dialect) for name, make in _CONDITIONS.items() if name in asked]
    return Selection(scope, _statuses(asked), _workflows(asked), _word(asked), tuple(conditions))


def moments_of(filters: Filters) -> dict[str, datetime]:
    """The parameters of a selection's SQL. Raises FilterError where a word is given without the time."""
    now = filters.get("now")
    if now is not None:
        return moments(_moment("now", now), filters.get("stuck_after", STUCK_AFTER))
    if filters.get("word") is not None:
        raise FilterError("now", "word= depends on the time. Pass now= with it.")
    return {}


def _statuses(asked: Mapping[str, object]) -> tuple[str, ...]:
    chosen = _known("status", asked["status"], tuple(RUN_MOVES)) if "status" in asked else ()
    beside_step = chosen or (_BEFORE_COMPLETION if "step" in asked else ())
    if "word" not in asked:
        return beside_step
    possible = OPERATOR_WORDS[_one("word", _known("word", asked["word"], tuple(OPERATOR_WORDS)))]
    if not possible or not beside_step:
        return possible or chosen
    return tuple(status for status in possible if status in beside_step) or _NO_STATUS


def _word(asked: Mapping[str, object]) -> tuple[Condition, ...]:
    return tuple(word_alternatives(_one("word", _names("word", asked["word"])))) if "word" in asked else ()


def _names(filter: str, value: object) -> tuple[str, ...]:
    names = (value,) if isinstance(value, str) or not isinstance(value, Iterable) else tuple(value)
    if not names or not all(isinstance(name, str) and name for name in names):
        raise FilterError(filter, f"{filter}={given(value)} was given; expected a name, or several.")
    for name in names:
        if not is_storable(name):
            raise FilterError(filter, f"{filter}={given(name)} was given; it holds what no text in a database can.")
    return tuple(dict.fromkeys(names))


def _one(filter: str, names: tuple[str, ...]) -> str:
    if len(names) != 1:
        raise FilterError(filter, f"{filter}={given(names)} was given; expected one only.")
    return names[0]


def _known(filter: str, value: object, known: tuple[str, ...]) -> tuple[str, ...]:
    names = _names(filter, value)
    for name in names:
        if name not in known:
            raise FilterError(filter, f"There is no {filter} {given(name)}. It is one of {', '.join(known)}.")
    return names


def _moment(filter: str, value: object) -> datetime:
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise FilterError(filter, f"{filter}={given(value)} was given; expected an aware datetime, e.g. in UTC.")
    return value


def _workflows(asked: Mapping[str, object]) -> tuple[str, ...]:
    workflow = asked.get("workflow", ())
    if isinstance(workflow, type) and issubclass(workflow, Workflow) and "__squidmesh__" in vars(workflow):
        spec = workflow.__squidmesh__
        return spec.names
    return _names("workflow", workflow) if "workflow" in asked else ()


def _needs(value: object, _dialect: str) -> Condition:
    return WorkflowRun.needs.in_(NEEDS) if value is True else WorkflowRun.needs.in_(_known("needs", value, NEEDS))


def _subject(value: object, dialect: str) -> Condition:
    """Each database has its own way to find a prefix by index."""
    prefix = _one("subject", _names("subject", value))
    if dialect == "postgresql":
        return WorkflowRun.subject.startswith(prefix, autoescape=True)
    return WorkflowRun.subject.between(prefix, prefix + _HIGHEST_CHARACTER)


def _run_id(value: object, dialect: str) -> Condition:
    digits = str(value).replace("-", "").lower() if isinstance(value, str | UUID) else ""
    if not digits or len(digits) > 32 or set(digits) - set("0123456789abcdef"):
        raise FilterError("run_id", f"run_id={given(value)} was given; expected a run id, or how one begins.")
    first, last = (str(UUID(digits.ljust(32, filler))) for filler in "0f")
    few = WorkflowRun.id.between(first, last)
    # SQLite takes the beginning of an id to match every fourth run, and would rather read all runs of a status.
    return sa.func.likelihood(few, sa.literal_column("0.0001")) if dialect == "sqlite" else few


def _equals(
    column: sa.orm.InstrumentedAttribute[str] | sa.orm.InstrumentedAttribute[str | None], filter: str
) -> Callable[[object, str], Condition]:
    def condition(value: object, _dialect: str) -> Condition:
        return column.in_(_names(filter, value))

    return condition


_CONDITIONS: Mapping[str, Callable[[object, str], Condition]] = {
    "needs": _needs,
    "subject": _subject,
    "run_id": _run_id,
    "outcome": _equals(WorkflowRun.outcome, "outcome"),
    "error": _equals(WorkflowRun.error_fingerprint, "error"),
    "step": _equals(WorkflowRun.current_step, "step"),
    "trigger": _equals(WorkflowRun.trigger, "trigger"),
    "since": lambda given, _: WorkflowRun.created_at >= _moment("since", given),
    "until": lambda given, _: WorkflowRun.created_at < _moment("until", given),
}
