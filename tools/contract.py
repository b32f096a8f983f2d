"""Writes into docs/rules.md which tests hold each rule: those that are marked `@pytest.mark.rule("id-of-the-rule")`.

Everything else on that page is written by hand.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
PAGE: Final = ROOT / "docs" / "rules.md"
ROW: Final = re.compile(r"^\| `([a-z0-9-]+)` \|(.*)\|(.*)\|(.*)\|(.*)\|$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One row of the page."""

    name: str
    says: str
    decided_in: str
    held_by: str
    differs: str


def rules(page: str) -> Iterator[Rule]:
    """Every rule, in the order of the page."""
    for found in ROW.finditer(page):
        name, says, decided_in, held_by, differs = (cell.strip() for cell in found.groups())
        yield Rule(name=name, says=says, decided_in=decided_in, held_by=held_by, differs=differs)


def marked_tests() -> Mapping[str, Sequence[str]]:
    """The tests that are marked with each rule, as file::function."""
    marked = defaultdict(list)
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for test in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(test, ast.FunctionDef):
                for name in _rules_of(test):
                    marked[name].append(f"{path.relative_to(ROOT).as_posix()}::{test.name}")
    return marked


def with_tests(page: str, marked: Mapping[str, Sequence[str]]) -> str:
    """The page with the column of tests filled in."""

    def row(found: re.Match[str]) -> str:
        name, says, decided_in, _, differs = found.groups()
        tests = "<br>".join(f"`{test}`" for test in marked.get(name, ()))
        return f"| `{name}` |{says}|{decided_in}| {tests} |{differs}|"

    return ROW.sub(row, page)


def _rules_of(test: ast.FunctionDef) -> Iterator[str]:
    for decorator in test.decorator_list:
        if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "pytest.mark.rule":
            for argument in decorator.args:
                yield ast.literal_eval(argument)


if __name__ == "__main__":
    PAGE.write_text(with_tests(PAGE.read_text(encoding="utf-8"), marked_tests()), encoding="utf-8")
