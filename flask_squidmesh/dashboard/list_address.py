"""What the address of the Runs page selects, the search box included, and the addresses that select something else."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta

from markupsafe import Markup

from ..queries.run_filters import Filters as Selection
from ..queries.run_list import Sort
from ..runtime.runtime import current_runtime
from .endpoints import LONGEST_NAME, url_of, whole
from .text.badges import badge_of, badge_of_outcome
from .text.language import N_, _

PERIODS: Mapping[str, tuple[timedelta | None, str]] = {
    "": (None, N_("Any time")),
    "1h": (timedelta(hours=1), N_("1 hour")),
    "24h": (timedelta(days=1), N_("24 hours")),
    "7d": (timedelta(days=7), N_("7 days")),
    "30d": (timedelta(days=30), N_("30 days")),
}
OLDEST = "oldest"
NEEDS: Mapping[str, str] = {
    "decision": N_("a decision"),
    "resume": N_("somebody to resume it"),
    "interrupted": N_("somebody to say what happened"),
    "incident": N_("somebody to put it right"),
    "failed": N_("somebody to look after the failure"),
    "compensation_failed": N_("somebody to look after what could not be undone"),
}


@dataclass(frozen=True, slots=True)
class ActiveFilter:
    """One filter that is set, and the address without it."""

    name: Markup
    value: str
    without: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterBar:
    """The filters of the Runs page; empty text sets none. size: rows on a page, None for the default."""

    word: str = ""
    workflow: str = ""
    q: str = ""
    since: str = ""
    step: str = ""
    error: str = ""
    outcome: str = ""
    needs: str = ""
    sort: str = ""
    size: int | None = None

    @classmethod
    def of(cls, given: Mapping[str, str], sizes: tuple[int, ...]) -> FilterBar:
        """The filters in a query; what is unknown there is left out."""
        names = ("word", "workflow", "q", "step", "error", "outcome")
        texts = {name: given.get(name, "").strip()[:LONGEST_NAME] for name in names}
        since, needs = given.get("since", ""), given.get("needs", "")
        size = whole(given.get("size"))
        return cls(
            **texts,
            since=since if since in PERIODS else "",
            needs=needs if needs in NEEDS else "",
            sort=OLDEST if given.get("sort") == OLDEST else "",
            size=size if size in sizes else None,
        )

    @property
    def query(self) -> dict[str, str | int]:
        """What is set, for an address."""
        return {name: value for name, value in asdict(self).items() if value}

    @property
    def active(self) -> list[ActiveFilter]:
        """What narrows the list, each with the address without it."""
        return [
            ActiveFilter(_(_NAMES[name]), _said(name, str(value)), self._without(name).address())
            for name, value in self.query.items()
            if name in _NAMES
        ]

    def address(self, **more: str | None) -> str:
        """The page with these filters."""
        return url_of(".runs", {**self.query, **more})

    def with_word(self, word: str) -> FilterBar:
        """The same for another state."""
        return replace(self, word=word)

    @property
    def turned(self) -> str:
        """The page with these filters, sorted the other way round."""
        return replace(self, sort="" if self.sort else OLDEST).address()

    @property
    def order(self) -> Sort:
        """How the list is sorted."""
        return "oldest" if self.sort else "newest"

    def _without(self, name: str) -> FilterBar:
        texts = {each: getattr(self, each) for each in _NAMES}
        return FilterBar(**{**texts, name: ""}, sort=self.sort, size=self.size)

    def started_after(self, now: datetime) -> datetime | None:
        """The earliest start that counts."""
        period = PERIODS[self.since][0]
        return now - period if period else None


_NAMES: Mapping[str, str] = {
    "word": N_("status"),
    "workflow": N_("workflow"),
    "q": N_("search"),
    "since": N_("started within"),
    "step": N_("step"),
    "error": N_("error"),
    "outcome": N_("outcome"),
    "needs": N_("needs somebody"),
}


def _said(name: str, value: str) -> str:
    if name == "word":
        return badge_of(value).label
    if name == "outcome":
        return badge_of_outcome(value).label
    if name == "needs":
        return _(NEEDS[value])
    return _(PERIODS[value][1]) if name == "since" else value


def periods() -> list[tuple[str, Markup]]:
    """The choices of the period, with their names."""
    return [(value, _(label)) for value, (_period, label) in PERIODS.items()]


_ID = re.compile(r"[0-9a-f]{8}[0-9a-f-]{0,28}", re.IGNORECASE)
_SHORT_ID = re.compile(r"([0-9a-f]{8}-[0-9a-f]{4})…[0-9a-f]{4}", re.IGNORECASE)
QUALIFIERS = frozenset({"step", "error", "outcome", "workflow"})


def selected(text: str) -> Selection:
    """The filters that a search means: a run id or its beginning, `step:` and its like, else a subject's beginning."""
    text = text.strip()
    shortened = _SHORT_ID.fullmatch(text)
    if shortened:
        return {"run_id": shortened[1]}
    if _ID.fullmatch(text):
        return {"run_id": text}
    qualifier, colon, value = text.partition(":")
    if colon and qualifier.lower() in QUALIFIERS and value.strip():
        return _qualified(qualifier.lower(), value.strip())
    return {"subject": text} if text else {}


def _qualified(qualifier: str, value: str) -> Selection:
    match qualifier:
        case "step":
            return {"step": value}
        case "error":
            return {"error": value}
        case "outcome":
            return {"outcome": value}
        case _:
            return {"workflow": value}


def selection(filters: FilterBar) -> Selection:
    """What the filters of a page select."""
    now = current_runtime().clock.now()
    chosen: Selection = {**selected(filters.q)}
    if filters.word:
        chosen |= {"word": filters.word, "now": now}
    if filters.workflow:
        chosen |= {"workflow": filters.workflow}
    if filters.step:
        chosen |= {"step": filters.step}
    if filters.error:
        chosen |= {"error": filters.error}
    if filters.outcome:
        chosen |= {"outcome": filters.outcome}
    if filters.needs:
        chosen |= {"needs": filters.needs}
    if filters.since:
        chosen |= {"since": filters.started_after(now)}
    return chosen
