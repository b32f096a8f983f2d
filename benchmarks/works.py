"""What is measured, by whom, and which figures are the goals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from .contenders.answering import SIZES

Place = Literal["new", "sqlite", "million"]
Relation = Literal["at least", "at most", "more than", "below"]

US: Final = "squidmesh"
LIMIT: Final = "psycopg"
QUICK: Final = 10
COUNTED: Final = ("commits_per_unit", "commits_per_run", "transactions_per_second")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One contender of a work.

    name: as the report has it. module: of `benchmarks.contenders`. work: as the module calls it. place: the database
    it gets: a new one, a new SQLite file, or the one with a million runs. size: where it differs from the work's.
    once: whether it takes part in the first round only, because it takes long.
    """

    name: str
    module: str
    work: str
    place: Place = "new"
    size: int | None = None
    once: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Something that contenders do in alternating rounds.

    figures: the columns of its table, see `Figure`. seconds: after which a measurement is given up.
    """

    name: str
    title: str
    figures: Sequence[str]
    entries: Sequence[Entry]
    size: int
    rounds: int = 5
    seconds: float = 400.0

    @property
    def counts_commits(self) -> bool:
        """Whether a figure depends on them."""
        return any(name in COUNTED for name in self.figures)

    def sized(self, entry: Entry, *, quick: bool) -> int:
        """How much of it the entry does."""
        size = entry.size or self.size
        return max(size // QUICK, 1) if quick else size


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One number of each measurement: `rate` and latencies `p50` and `p99`, or what the answer calls so."""

    work: str
    name: str
    entry: str = US


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """What our figure shall be: so many times the other figure, or so much by itself where there is no other."""

    ours: Figure
    relation: Relation
    factor: float
    other: Figure | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row of the table of goals."""

    title: str
    goals: Sequence[Goal]


def _by(work: str, *modules: str) -> list[Entry]:
    return [Entry(name=module, module=module, work=work) for module in modules]


RATE: Final = ("rate", "commits_per_unit", "wal_per_unit", "statements_per_unit")
LATENCY: Final = ("p50", "p99")

WORKS: Final = (
    Work(
        name="chain",
        title="Ten no-op steps in a chain, runs one after another, one worker",
        figures=RATE,
        size=SIZES["chain"],
        entries=[
            *_by("chain", US, LIMIT, "dbos", "absurd", "procrastinate", "celery"),
            Entry(name="prefect", module="prefect", work="chain", size=10, once=True),
        ],
    ),
    Work(
        name="chains",
        title="500 runs of ten steps queued, then drained by eight threads of one process",
        figures=RATE,
        size=SIZES["chains"],
        rounds=3,
        entries=_by("chains", US, LIMIT, "dbos", "absurd", "procrastinate", "celery"),
    ),
    Work(
        name="singles",
        title="2,000 one-step runs queued, then drained by one worker process of eight threads, and by two",
        figures=RATE,
        size=SIZES["singles"],
        rounds=3,
        entries=[
            *_by("singles", US, LIMIT, "dbos", "absurd", "procrastinate", "celery"),
            Entry(name="squidmesh, two", module=US, work="singles2"),
        ],
    ),
    Work(
        name="start",
        title="Starting a run while nothing works, ms",
        figures=LATENCY,
        size=SIZES["start"],
        entries=_by("start", US, LIMIT, "dbos", "absurd", "procrastinate", "celery"),
    ),
    Work(
        name="start_busy",
        title="Starting a run while a worker drains a queue, ms",
        figures=LATENCY,
        size=SIZES["start_busy"],
        rounds=3,
        entries=_by("start_busy", US, "dbos", "absurd", "procrastinate", "celery"),
    ),
    Work(
        name="latency",
        title="From the commit of a start to the first line of its step, idle worker, ms",
        figures=LATENCY,
        size=SIZES["latency"] // 2,
        rounds=3,
        entries=_by("latency", US, "dbos", "absurd", "procrastinate", "celery"),
    ),
    Work(
        name="event",
        title="An order that waits for its payment: from the call that sends the event to the first line of the next "
        "step, idle worker, ms",
        figures=LATENCY,
        size=SIZES["event"],
        rounds=3,
        entries=_by("event", US, "dbos", "absurd"),
    ),
    Work(
        name="idle",
        title="An idle worker process",
        figures=("queries_per_second", "transactions_per_second", "cpu_seconds_per_minute"),
        size=SIZES["idle"],
        rounds=1,
        entries=_by("idle", US, "dbos", "absurd", "procrastinate", "celery"),
    ),
    Work(
        name="counts",
        title="What a ten-step run asks of the database, its start included",
        figures=("commits_per_run", "statements_per_run", "statements_per_further_step"),
        size=500,
        rounds=1,
        entries=_by("counts", US),
    ),
    Work(
        name="sqlite_chain",
        title="The chain on SQLite",
        figures=("rate",),
        size=SIZES["sqlite_chain"],
        entries=[Entry(name=name, module=name, work="sqlite_chain", place="sqlite") for name in (US, "dbos")],
    ),
    Work(
        name="long_chain",
        title="A chain of 1,000 steps, each adding to the state: steps 6 to 15 and 990 to 999, ms each",
        figures=("early_ms", "late_ms", "growth"),
        size=3,
        rounds=3,
        entries=[
            *_by("long_chain", US),
            Entry(name="squidmesh, SQLite", module=US, work="long_chain", place="sqlite"),
        ],
    ),
    Work(
        name="fan_out",
        title="A fan-out of 10 and of 200 with a join, ms for each step",
        figures=("narrow_ms", "wide_ms", "growth"),
        size=2,
        rounds=3,
        entries=[*_by("fan_out", US), Entry(name="squidmesh, SQLite", module=US, work="fan_out", place="sqlite")],
    ),
    Work(
        name="stored",
        title="The chain on an empty database and beside 1,000,000 stored runs",
        figures=RATE,
        size=SIZES["chain"],
        entries=[
            Entry(name=US, module=US, work="chain"),
            Entry(name="squidmesh, million", module=US, work="chain", place="million"),
        ],
    ),
    Work(
        name="pages",
        title="Pages at 1,000,000 runs: inbox, list and a run",
        figures=("inbox_ms", "list_ms", "run_ms", "queries"),
        size=20,
        rounds=1,
        entries=[Entry(name=US, module=US, work="pages", place="million")],
    ),
    Work(
        name="memory",
        title="A worker of the example app over 100,000 runs, MiB",
        figures=("first_mib", "last_mib", "most_mib", "growth"),
        size=100_000,
        seconds=1200.0,
        rounds=1,
        entries=_by("memory", US),
    ),
)


def _times(work: str, figure: str, relation: Relation, factors: Mapping[str, float]) -> list[Goal]:
    """Goals against several others in the same work."""
    return [
        Goal(
            ours=Figure(work=work, name=figure),
            relation=relation,
            factor=factor,
            other=Figure(work=work, name=figure, entry=other),
        )
        for other, factor in factors.items()
    ]


def _alone(work: str, figure: str, most: float, relation: Relation = "at most") -> Goal:
    return Goal(ours=Figure(work=work, name=figure), relation=relation, factor=most)


ROWS: Final = (
    Row(
        title="ten no-op steps in a chain, runs one after another, one worker (steps/s)",
        goals=_times("chain", "rate", "at least", {"dbos": 5, "absurd": 2, LIMIT: 0.4}),
    ),
    Row(
        title="eight threads in one process, 500 runs of ten steps queued and drained (steps/s)",
        goals=_times("chains", "rate", "at least", {"dbos": 5, "absurd": 3}),
    ),
    Row(
        title="2,000 one-step runs queued, then drained by one worker process of eight threads (runs/s)",
        goals=[
            *_times("singles", "rate", "at least", {"dbos": 5, "absurd": 3}),
            *_times("singles", "rate", "more than", {"celery": 1, "procrastinate": 1}),
        ],
    ),
    Row(
        title="two worker processes against one (runs/s)",
        goals=[
            Goal(
                ours=Figure(work="singles", name="rate", entry="squidmesh, two"),
                relation="at least",
                factor=1.5,
                other=Figure(work="singles", name="rate"),
            )
        ],
    ),
    *(
        Row(
            title=f"`start_run`, {when}, {figure} (ms)",
            goals=[
                *_times(work, figure, "below", {"dbos": 1}),
                *_times(work, figure, "at most", {"absurd": 1.3}),
            ],
        )
        for work, when in (("start", "idle"), ("start_busy", "while a worker drains"))
        for figure in LATENCY
    ),
    Row(
        title="from the commit of `start_run` to the first line of the first step, idle worker, p50 (ms)",
        goals=[_alone("latency", "p50", 10, "below")],
    ),
    Row(title="commits per ten-step run", goals=[_alone("counts", "commits_per_run", 12)]),
    Row(title="statements per step", goals=[_alone("counts", "statements_per_further_step", 3)]),
    Row(
        title="the chain on SQLite (steps/s)",
        goals=_times("sqlite_chain", "rate", "at least", {"dbos": 4}),
    ),
    Row(
        title="a chain of 1,000 steps, each adding to the state: late steps against early ones",
        goals=[_alone("long_chain", "growth", 1.2)],
    ),
    Row(
        title="a fan-out of 200 with a join: cost of a step against a fan-out of 10",
        goals=[_alone("fan_out", "growth", 1.2)],
    ),
    Row(
        title="ten steps with a million stored runs against an empty table (ms/step)",
        goals=[
            Goal(
                ours=Figure(work="stored", name="ms_per_unit", entry="squidmesh, million"),
                relation="at most",
                factor=1.1,
                other=Figure(work="stored", name="ms_per_unit"),
            )
        ],
    ),
    *(
        Row(title=f"{page} at a million runs, median (ms)", goals=[_alone("pages", f"{key}_ms", 30, "below")])
        for page, key in (("inbox", "inbox"), ("list", "list"), ("run page", "run"))
    ),
    Row(title="queries of each of these pages", goals=[_alone("pages", "queries", 8)]),
    Row(
        title="worker memory over 100,000 runs: last 30,000 against the second to fourth 10,000",
        goals=[_alone("memory", "growth", 1.05)],
    ),
    Row(title="worker memory of the example app, most (MiB)", goals=[_alone("memory", "most_mib", 120, "below")]),
    Row(title="idle worker, queries a second", goals=[_alone("idle", "queries_per_second", 1)]),
    Row(title="idle worker, CPU seconds a minute", goals=[_alone("idle", "cpu_seconds_per_minute", 0.3)]),
)
