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
PAGE = (ROOT / "docs" / "rules.md").read_text(encoding="utf-8")
RULES = list(contract.rules(PAGE))
MODULES = re.compile(r"`([\w/]+\.py)`")
SAID = re.compile(r"^- (.+\.)((?: `[a-z0-9-]+`)+)$", re.MULTILINE)
LARGEST = 51_200


def bullets() -> Iterator[str]:
    """What the contract says, line by line, without its lists of links."""
    _, _, said = CONTRACT.partition("\n## Setting up\n")
    said, _, _ = said.partition("\n## Not yet\n")
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


def test_everything_the_contract_says_names_its_rules() -> None:
    said = list(bullets())
    assert len(said) > 200
    assert [line for line in said if not SAID.match(line)] == []


def test_the_contract_names_rules_that_exist_each_once() -> None:
    named = [name for _, names in SAID.findall(CONTRACT) for name in re.findall(r"`(.+?)`", names)]
    assert len(set(named)) == len(named)
    assert sorted(set(named) - {rule.name for rule in RULES}) == []


def test_the_contract_can_be_read_at_one_sitting() -> None:
    assert len(CONTRACT.encode()) <= LARGEST


@pytest.mark.parametrize("page", [CONTRACT, PAGE], ids=["contract", "rules"])
def test_every_section_is_in_the_contents(page: str) -> None:
    sections = re.findall(r"^## (.+)$", page, re.MULTILINE)
    listed = re.findall(r"^- \[(.+)\]\(#", page.partition("## Questions")[0], re.MULTILINE)
    assert len(set(sections)) == len(sections)
    assert listed == [section for section in sections if section != "Contents"]
