"""What was measured, as a page of Markdown."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from .measured import Results, Spread, Verdict
from .works import ROWS, WORKS, Entry, Figure, Goal, Row, Work

HERE: Final = Path(__file__).parent
FINDINGS: Final = HERE / "findings.md"
NOTHING: Final = "–"

COLUMNS: Final = {
    "rate": "a second",
    "commits_per_unit": "commits each",
    "wal_per_unit": "WAL each, KiB",
    "statements_per_unit": "statements each",
    "p50": "p50",
    "p99": "p99",
}


def report(results: Results, surroundings: Sequence[str], *, rounds: int | None, quick: bool) -> str:
    """The whole report.

    :param surroundings: Lines about the machine and the versions.
    :param rounds: How many were asked for instead of each work's own number.
    :param quick: Whether everything was a tenth of its size.
    """
    works = [work for work in WORKS if any((work.name, entry.name) in results.answers for entry in work.entries)]
    parts = [
        "# Benchmark",
        _how_to_read(rounds, quick),
        "## Surroundings",
        "\n".join(f"- {line}" for line in surroundings),
        "## Goals",
        "\n".join(_goals(results)),
        *(part for work in works for part in _work(results, work)),
        *_failures(results),
        "## How each was set up",
        *_set_up(works),
        FINDINGS.read_text().strip(),
    ]
    return "\n\n".join(parts) + "\n"


def _how_to_read(rounds: int | None, quick: bool) -> str:
    told = (
        "Made by `make bench`. Contenders take turns in every round, each in a process of its own on a database of its "
        "own. A figure is the median of the rounds [range]; a ratio is taken within each round, and its median counts. "
        "Compare rows; the absolute figures are those of this machine at that time."
    )
    if rounds is not None:
        told += f" Rounds: {rounds}."
    return told + (" **Everything was a tenth of its size**: this is a trial, not a result." if quick else "")


def _goals(results: Results) -> Iterator[str]:
    yield "| Work | Goal | Ours | The other | Compared | |"
    yield "|---|---|--:|--:|--:|---|"
    for row in ROWS:
        yield from _row(row, [results.verdict(goal) for goal in row.goals])


def _row(row: Row, verdicts: Sequence[Verdict]) -> Iterator[str]:
    for number, verdict in enumerate(verdicts):
        cells = (
            row.title if number == 0 else "",
            _wish(verdict.goal),
            shown(verdict.ours),
            shown(verdict.other) if verdict.goal.other else "",
            shown(verdict.compared, "×") if verdict.goal.other else "",
            {True: "met", False: "**not met**", None: "not measured"}[verdict.met],
        )
        yield _line(cells)


def _wish(goal: Goal) -> str:
    if goal.other is None:
        return f"{goal.relation} {goal.factor:g}"
    other = goal.other.entry if goal.other.work == goal.ours.work else f"{goal.other.entry}, {goal.other.work}"
    return f"{goal.relation} {other}" if goal.factor == 1 else f"{goal.relation} {goal.factor:g} × {other}"


def _work(results: Results, work: Work) -> Iterator[str]:
    yield f"## {work.title}"
    columns = [name for name in work.figures if any(_spread(results, work, entry, name) for entry in work.entries)]
    lines = [_line(("", *(COLUMNS.get(name, name.replace("_", " ")) for name in columns)))]
    lines.append("|---|" + "--:|" * len(columns))
    for entry in work.entries:
        lines.append(_line((entry.name, *(shown(_spread(results, work, entry, name)) for name in columns))))
    yield "\n".join(lines)
    notes = [note for entry in work.entries for note in _notes(results, work, entry)]
    if notes:
        yield "\n".join(notes)


def _spread(results: Results, work: Work, entry: Entry, figure: str) -> Spread | None:
    return results.spread(Figure(work=work.name, name=figure, entry=entry.name))


def _notes(results: Results, work: Work, entry: Entry) -> Iterator[str]:
    answers = results.answers.get((work.name, entry.name), {}).values()
    for note in dict.fromkeys(answer["note"] for answer in answers if answer.get("note")):
        yield f"- {entry.name}: {note}"


def _failures(results: Results) -> Iterator[str]:
    if results.failures:
        yield "## Not measured"
        yield "\n".join(f"- {work}, {entry}: {reason}" for (work, entry), reason in results.failures.items())


def _set_up(works: Sequence[Work]) -> Iterator[str]:
    for module in dict.fromkeys(entry.module for work in works for entry in work.entries):
        yield f"**{module}**: {_docstring(module)}"


def _docstring(module: str) -> str:
    """Read, not imported: a peer may be missing, and what it imports is of no use here."""
    place = HERE / "contenders" / module
    file = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
    return ast.get_docstring(ast.parse(file.read_text())) or NOTHING if file.exists() else NOTHING


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def shown(spread: Spread | None, sign: str = "") -> str:
    """A figure with its range, which is left out where there is none."""
    if spread is None:
        return NOTHING
    middle = _number(spread.middle) + sign
    if spread.least == spread.most:
        return middle
    return f"{middle} [{_number(spread.least)}–{_number(spread.most)}]"


def _number(value: float) -> str:
    """Three figures that count, and no more decimals than they need."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
