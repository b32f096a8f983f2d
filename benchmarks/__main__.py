"""Everything that is measured, in alternating rounds: `python -m benchmarks`. Writes benchmarks/report.md."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from .measured import Results
from .million import RUNS, million_runs
from .report import HERE, report
from .running import MeasurementError, adopt_orphans, answer_of
from .servers import Servers, running_servers
from .surroundings import surroundings
from .works import QUICK, WORKS, Entry, Figure, Work


def main() -> int:
    """Measure, and write the report. Returns the exit code."""
    options = _options()
    unknown = set(options.only) - {work.name for work in WORKS}
    if unknown:
        print(f"--only: found {', '.join(sorted(unknown))}; expected some of {_names()}", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    adopt_orphans()
    try:
        text = _measured(options)
    except KeyboardInterrupt:
        print("Stopped; there is no report.", file=sys.stderr)
        return 130
    if options.output is None and (options.only or options.quick):
        print(text)
    else:
        (options.output or HERE / "report.md").write_text(text)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure this library and its peers.")
    parser.add_argument("--only", type=_words, default=[], help=f"works, with commas between: {_names()}")
    parser.add_argument("--rounds", type=int, help="instead of each work's own number")
    parser.add_argument("--quick", action="store_true", help="a tenth of everything, to try the benchmark itself")
    parser.add_argument(
        "--output",
        type=Path,
        help="the file for the report; without it a part of the works is reported on the terminal",
    )
    return parser.parse_args()


def _words(given: str) -> list[str]:
    return given.split(",")


def _names() -> str:
    return ",".join(work.name for work in WORKS)


def _measured(options: argparse.Namespace) -> str:
    with running_servers() as servers, ExitStack() as stack:
        around = list(surroundings(servers))
        bench = Bench(servers=servers, stack=stack, quick=options.quick)
        for work in WORKS:
            if not options.only or work.name in options.only:
                bench.measure(work, options.rounds or work.rounds)
        return report(bench.results, around, rounds=options.rounds, quick=options.quick)


@dataclass(kw_only=True)
class Bench:
    """Measurements on one pair of servers. stack: keeps the database with a million runs, made at first use."""

    servers: Servers
    stack: ExitStack
    quick: bool
    results: Results = field(default_factory=Results)
    _million: str | None = None

    def measure(self, work: Work, rounds: int) -> None:
        """Have every contender of the work take its turn, another one first in each round."""
        for round in range(1, rounds + 1):
            first = (round - 1) % len(work.entries)
            for entry in (*work.entries[first:], *work.entries[:first]):
                if round == 1 or not entry.once:
                    say(f"{work.name}, round {round} of {rounds}: {entry.name} {self._turn(work, entry, round)}")

    def _turn(self, work: Work, entry: Entry, round: int) -> str:
        """Measure once; what came of it, in words."""
        begun = time.monotonic()
        try:
            self._ask(work, entry, round)
        except MeasurementError as error:
            self.results.fail(work.name, entry.name, str(error))
            return f"failed: {error}"
        figure = Figure(work=work.name, name=work.figures[0], entry=entry.name)
        value = self.results.values(figure).get(round)
        told = "" if value is None else f"{work.figures[0]} {value:,.2f} "
        return f"{told}({time.monotonic() - begun:.0f} s)"

    def _ask(self, work: Work, entry: Entry, round: int) -> None:
        with ExitStack() as stack:
            url = self._url(entry) or stack.enter_context(self.servers.database(entry.place))
            words = [entry.work, "--database", url, "--size", str(work.sized(entry, quick=self.quick))]
            if self.servers.redis:
                words += ["--redis", self.servers.redis]
            module, counting = f"benchmarks.contenders.{entry.module}", round == 1 and work.counts_commits
            answer = answer_of(module, words, counting=counting, seconds=work.seconds)
            self.results.add(work.name, entry.name, round, answer)

    def _url(self, entry: Entry) -> str | None:
        if entry.place == "million" and self._million is None:
            runs = RUNS // QUICK if self.quick else RUNS
            say(f"making a database with {runs:,} runs")
            self._million = self.stack.enter_context(million_runs(self.servers, runs))
        return self._million if entry.place == "million" else None


def say(text: str) -> None:
    """Tell how far it is."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
