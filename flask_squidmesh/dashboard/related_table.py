"""The runs that a run belongs with, as its page lists them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from flask import url_for
from markupsafe import Markup

from ..queries.related_runs import ChildCounts, RelatedRun
from ..queries.run_snapshot import RunSnapshot
from .layout import short
from .text.badges import Badge, badge_of_end, badge_of_run
from .text.language import _
from .text.run_text import rolled_up

ORDER = (
    *("completed", "rejected", "timed_out", "error_route", "failed", "cancelled"),
    *("running", "retrying", "paused", "cancelling", "pending"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RelatedRow:
    """A run that this one belongs with. tie: what it is to this one. mark, address: None where it is gone."""

    title: str
    tie: Markup
    mark: Badge | None
    address: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RelatedTable:
    """The runs that a run belongs with.

    rolled_up, bars: how its children fare, in words and as stretches of a bar that is 100 wide, each with its colour,
    beginning and length. left_out: how many children are not among the rows.
    """

    rows: list[RelatedRow]
    rolled_up: Markup | None
    bars: list[tuple[str, float, float]]
    left_out: int


def related_table(look: RunSnapshot) -> RelatedTable:
    """What the run belongs with, as far as the person may view it."""
    run, known, counts = look.run, look.related.known, look.related.counts
    again = run.replays or ([run.replayed_as_id] if run.replayed_as_id else [])
    ties = [
        *([(run.parent_run_id, _("started this run at {step}", step=run.parent_step))] if run.parent_run_id else []),
        *([(run.replayed_from_id, _("replayed by this run"))] if run.replayed_from_id else []),
        *((id, _("replays this run")) for id in again),
        *((id, _started_at(known.get(id))) for id in run.children),
    ]
    titles = Counter(each.run.title for each in known.values())
    return RelatedTable(
        rows=[_row(id, tie, known.get(id), titles) for id, tie in ties],
        rolled_up=rolled_up(counts) if counts else None,
        bars=list(_bars(counts)) if counts else [],
        left_out=counts.total.value - len(look.related.children) if counts else 0,
    )


def _started_at(child: RelatedRun | None) -> Markup:
    return _("started at {step}", step=child.run.parent_step) if child else _("started by this run")


def _row(id: str, tie: Markup, found: RelatedRun | None, titles: Mapping[str, int]) -> RelatedRow:
    """titles: how many runs have each; those of the same name are told apart by their ids."""
    if found is None:
        return RelatedRow(title=id, tie=Markup("{} {}").format(tie, _("(pruned)")), mark=None, address=None)
    run, address = found.run, url_for(".run", run_id=id)
    title = run.title if titles[run.title] == 1 else f"{run.title} {short(id)}"
    return RelatedRow(title=title, tie=tie, mark=badge_of_run(run, found.word), address=address)


def _bars(counts: ChildCounts) -> Iterator[tuple[str, float, float]]:
    total, x = sum(counts.by_status.values()), 0.0
    for status in ORDER:
        if width := 100 * counts.by_status.get(status, 0) / total:
            yield badge_of_end(status).shape, round(x, 2), round(width, 2)
            x += width
