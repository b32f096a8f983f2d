"""The pages of the contract, the modules that decide its rules and the tests that hold them agree."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from itertools import chain
from pathlib import Path

import pytest

from tools import contract

pytestmark = pytest.mark.source

ROOT = Path(__file__).parent.parent
CONTRACT = (ROOT / "docs" / "contract.md").read_text(encoding="utf-8")
PROMISES = (ROOT / "docs" / "promises.md").read_text(encoding="utf-8")
PAGE = (ROOT / "docs" / "rules.md").read_text(encoding="utf-8")
RULES = list(contract.rules(PAGE))
MODULES = re.compile(r"`([\w/]+\.py)`")
SAID = re.compile(r"^- (.+\.)((?: `[a-z0-9-]+`)+)$", re.MULTILINE)
LARGEST = 51_200


def bullets(page: str, first: str, last: str) -> Iterator[str]:
    """What a page says, line by line, from its first section on, without its lists of links; last: says what is not."""
    _, _, said = page.partition(f"\n## {first}\n")
    said, _, _ = said.partition(f"\n## {last}\n")
    return (line for line in said.splitlines() if line.startswith("- "))


@cache
def functions_in(path: str) -> frozenset[str]:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef))


def test_every_row_is_a_rule_with_a_module() -> None:
    assert len(RULES) > 500
    rows = [line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith("| Rule | ")]
    assert len(rows) == len(RULES)
    assert [rule.name for rule in RULES if not rule.says or not MODULES.search(rule.decided_in)] == []


def test_a_rule_has_a_name_of_its_own() -> None:
    assert len({rule.name for rule in RULES}) == len(RULES)


def test_every_rule_is_held_by_a_test() -> None:
    marked = contract.marked_tests()
    assert [rule.name for rule in RULES if rule.name not in marked] == []


def test_every_marker_names_a_rule() -> None:
    assert sorted(set(contract.marked_tests()) - {rule.name for rule in RULES}) == []


def test_the_page_names_the_tests_that_are_marked() -> None:
    written = contract.rules(contract.with_tests(PAGE, contract.marked_tests()))
    assert [was.name for was, now in zip(RULES, written, strict=True) if was != now] == [], "run `make rules`"


def test_every_module_exists() -> None:
    named = set(chain.from_iterable(MODULES.findall(rule.decided_in) for rule in RULES))
    assert [module for module in sorted(named) if not (ROOT / "flask_squidmesh" / module).is_file()] == []


@pytest.mark.parametrize(
    ("page", "first", "last", "least"),
    [
        (CONTRACT, "Setting up", "Not yet", 200),
        (PROMISES, "How long an event is kept", "What is not promised", 30),
    ],
    ids=["contract", "promises"],
)
def test_everything_that_is_said_names_its_rules(page: str, first: str, last: str, least: int) -> None:
    said = list(bullets(page, first, last))
    assert len(said) > least
    assert [line for line in said if not SAID.match(line)] == []


@pytest.mark.parametrize("page", [CONTRACT, PROMISES], ids=["contract", "promises"])
def test_a_page_names_rules_that_exist_each_once(page: str) -> None:
    named = [name for _, names in SAID.findall(page) for name in re.findall(r"`(.+?)`", names)]
    assert len(set(named)) == len(named)
    assert sorted(set(named) - {rule.name for rule in RULES}) == []


def test_the_contract_can_be_read_at_one_sitting() -> None:
    assert len(CONTRACT.encode()) <= LARGEST


@pytest.mark.parametrize("page", [CONTRACT, PROMISES, PAGE], ids=["contract", "promises", "rules"])
def test_every_section_is_in_the_contents(page: str) -> None:
    sections = re.findall(r"^## (.+)$", page, re.MULTILINE)
    listed = re.findall(r"^- \[(.+)\]\(#", page.partition("## Questions")[0], re.MULTILINE)
    assert len(set(sections)) == len(sections)
    assert listed == [section for section in sections if section != "Contents"]
