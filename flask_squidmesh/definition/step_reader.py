"""What reading a step of any kind has in common."""

from __future__ import annotations

from datetime import timedelta

from .class_body import read_max_visits
from .durations import read_duration
from .elements import StepElement
from .spec import Path
from .state_expressions import parse


class StepReader:
    """Reads one step; faults are noted under its name."""

    def __init__(self, name: str, problems: list[str]) -> None:
        self.name, self.problems = name, problems

    @property
    def place(self) -> str:
        """What each fault begins with."""
        return f"step {self.name}"

    def fault(self, text: str) -> None:
        """Note what is wrong with the step."""
        self.problems.append(f"{self.place}: {text}")

    def visits(self, element: StepElement) -> int | None:
        """How often a run may enter the step."""
        return read_max_visits(element.max_visits, f"{self.place}: max_visits", self.problems)

    def output(self, output: object) -> str | None:
        """The key that something is kept under."""
        if output is None or (isinstance(output, str) and output.isidentifier()):
            return output
        self.fault(f'output={output!r} must be a plain name; write output="account"')
        return None

    def positive(self, value: object, otherwise: str) -> timedelta | None:
        """A length of time, or None with the fault `otherwise`."""
        found = read_duration(value)
        if found is None:
            self.fault(otherwise)
        return found

    def path(self, value: object, argument: str, example: str) -> Path | None:
        """Where in the state a value is."""
        found = parse(value)
        if found is None:
            self.fault(f'{argument}={value!r} is no path; write names joined by dots, as {argument}="{example}"')
        return found

    def names(self, value: object, argument: str, example: str) -> tuple[str, ...]:
        """Several texts, each once."""
        if not isinstance(value, (list, tuple)) or not all(isinstance(each, str) for each in value):
            self.fault(f'{argument}={value!r} must be a tuple of names; write {argument}=("{example}",)')
            return ()
        for each in sorted({each for each in value if value.count(each) > 1}):
            self.fault(f"{argument}= names {each!r} twice; write it once")
        return tuple(dict.fromkeys(value))

    def within(self, within: object) -> tuple[timedelta | None, Path | None]:
        """How long it may take, or where in the state that is said."""
        if within is None:
            return None, None
        if isinstance(within, str):
            return None, self.path(within, "within", "order.due")
        found = self.positive(
            within, f"within={within!r} must be a positive time of at most 100 years; write within=timedelta(hours=4)"
        )
        return found, None

    def reminders(self, remind: object, within: timedelta | None) -> tuple[timedelta, ...]:
        """When people are reminded, in that order. within: when its time is over, as far as that is known here."""
        found: list[timedelta] = []
        for each in remind if isinstance(remind, (list, tuple)) else (remind,):
            after = self.positive(
                each,
                f"remind={each!r} must be a positive time of at most 100 years, or several; "
                "write remind=timedelta(hours=24)",
            )
            if after is None:
                continue
            if after in found:
                self.fault(f"remind= names {after} twice; write it once")
            elif within is not None and after >= within:
                self.fault(f"reminds after {after}, when its time is over, for within= is {within}; remind before that")
            found.append(after)
        return tuple(sorted(set(found)))
